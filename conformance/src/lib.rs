//! Conformance tests and benchmarks for any OCI runtime, and the fixtures they are made of
