//! seccomp(2): see the emitter.
