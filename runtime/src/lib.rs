//! A runc-compatible, low-level OCI runtime
