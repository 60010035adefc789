//! The system calls that rustix does not have: the only unsafe code of the workspace
