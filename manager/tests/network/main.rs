//! Containers connected for real: each test makes a namespace that plays the host and one that plays the world
//! outside, so that tests run side by side and the machine's own links, routes and rules are never touched.
//!
//! Needs root. `ip` and `nft` are used as independent witnesses only.

mod borrowed;
mod cleanup;
mod exposure;
mod ipv6;
mod measure;
mod rules;
mod shared;
mod traffic;
mod world;
