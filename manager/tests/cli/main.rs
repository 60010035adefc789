//! `nman` as a user has it: the built program, real images, a real runtime.
//!
//! Every test has network and mount namespaces of its own, directories of its own and a cgroup of its own, and fails
//! if a container leaves anything behind. They need root, busybox-static, and a runtime: the one that
//! `NMAN_TEST_RUNTIME` names, else `nrun` beside the tests, else runc.

mod apparmor;
mod attach;
mod bridges;
mod build;
mod build_caches;
mod build_mounts;
mod build_outputs;
mod build_results;
mod build_sources;
mod collectors;
mod compressed;
mod counts;
mod crash;
mod create;
mod damage;
mod disk;
mod endpoints;
mod faithful;
mod files;
mod fluentd;
mod health;
mod interchange;
mod isolation;
mod joined;
mod lifecycle;
mod limits;
mod lists;
mod log_drivers;
mod logs;
mod manual;
mod monitor;
mod names;
mod network;
mod networks;
mod options;
mod plugins;
mod pressure;
mod refusals;
mod restart;
mod run;
#[path = "../saved/mod.rs"]
mod saved;
mod screen;
mod selinux;
#[allow(dead_code, reason = "the tests of registries ask more of it")]
#[path = "../server/mod.rs"]
mod server;
mod slow_collectors;
mod stats;
mod terminal;
mod unwatched;
mod user_namespaces;
mod volumes;
mod watching;
mod world;
