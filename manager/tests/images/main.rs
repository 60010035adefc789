//! Images, from a registry or an archive to a mounted root file system.
//!
//! Every test has network and mount namespaces of its own, in which Debian's docker-registry or a
//! server that lies answers on loopback. They need root.

mod archives;
mod first_run;
mod flaky;
mod hostile;
mod images;
mod imports;
mod lists;
mod logins;
mod lying;
mod mirrors;
mod program;
mod pushes;
mod registries;
#[path = "../server/mod.rs"]
mod server;
mod sessions;
mod storage;
