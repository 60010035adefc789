//! config.md, Linux process: what security modules make of the container's process.

use crate::fixture::apparmor::Profile;
use crate::fixture::unique_name;
use crate::suite::case::{Topic, contract, must};
use crate::suite::expect::{has, same};
use crate::suite::facts::{APPARMOR, NO_APPARMOR, NO_SELINUX};
use crate::suite::trial::fails;

pub(super) const LABELS: Topic = Topic {
    name: "labels",
    title: "profiles of AppArmor, labels of SELinux",
    section: "config.md#linux-process",
    cases: &[
        must("the process is confined by the configured profile", |t| {
            let profile = Profile::load();
            let bundle = t.bundle().set("/process/apparmorProfile", profile.name.as_str());
            let script = "cat /proc/self/attr/current; cat /etc/group >/dev/null || echo denied";
            let expected = format!("{} (enforce)\ndenied", profile.name);
            same("profile and what it denies", expected.as_str(), t.shell(bundle, script)?.as_str())
        })
        .needs(&[APPARMOR]),
        must("a process of exec is confined, too", |t| {
            let profile = Profile::load();
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/process/apparmorProfile", profile.name.as_str());
            let live = t.start(&bundle)?;
            let seen = live.exec(&["cat", "/proc/self/attr/current"])?.text();
            same("the profile", format!("{} (enforce)", profile.name).as_str(), seen.as_str())
        })
        .needs(&[APPARMOR]),
        must("without a profile the process has the caller's", |t| {
            let own = std::fs::read_to_string("/proc/self/attr/apparmor/current");
            has(&t.observe(t.bundle())?, "/apparmor", own.unwrap_or_default().trim())
        })
        .needs(&[APPARMOR]),
        must("a profile that is not loaded is refused", |t| {
            let bundle = t.bundle().set("/process/apparmorProfile", unique_name());
            let output = t.run(&bundle)?;
            fails("a failure", &output)
        })
        .needs(&[APPARMOR]),
        contract("a profile is refused where there is no AppArmor", |t| {
            let bundle = t.bundle().set("/process/apparmorProfile", "anything");
            t.refused(&bundle, "it would not be confined").map(drop)
        })
        .rootless()
        .needs(&[NO_APPARMOR]),
        contract("a label of SELinux is refused where there is no SELinux", |t| {
            let label = "system_u:system_r:container_t:s0:c1,c2";
            let bundle = t.bundle().set("/process/selinuxLabel", label);
            t.refused(&bundle, "it would not be confined").map(drop)
        })
        .rootless()
        .needs(&[NO_SELINUX]),
    ],
};
