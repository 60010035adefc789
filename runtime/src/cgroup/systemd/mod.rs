//! systemd as the one who makes a container's cgroup: a transient scope unit.
//!
//! A scope is made around a process that exists, so the container's first process waits ([`crate::plan::op::Barrier::Cgroup`])
//! until systemd has put it there. What the unit is called, where it lies and which properties it gets is planned purely; this
//! module's other half speaks D-Bus (the crate `systemd`), and only when systemd is asked for. Limits are given to systemd and written to the files too:
//! systemd does not know them all, and would take back those that it does not know of. See docs/cgroups.md.

mod annotation;
mod cpu_list;
mod manager;
mod properties;
mod unit;

pub use ::systemd::{Property, Value};
pub use manager::{Facts, probe, set_resources};
pub use properties::round_quota;
pub(super) use properties::round_up_quota;
pub(super) use unit::plan;
pub use unit::{Unit, UnitPlan};
