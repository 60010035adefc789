//! What an ordinary user needs of a host, in the place of what root does: networks in a namespace of the user's, and cgroups where they are
//! delegated.

use super::judge::{Finding, Verdict, finding};
use super::probe::number;
use crate::connection;
use crate::network::Carrier;
use crate::rootless::{self, Delegation, Plan, User};
use rustix::fs::{Access, AtFlags, CWD, accessat};

/// The facts.
#[derive(Clone, Debug)]
pub struct UserFacts {
    /// Who asks.
    pub name: String,
    /// Which ids its containers get.
    pub ids: Plan,
    /// What keeps users from making user namespaces, as the advice about it.
    pub forbidden: Option<&'static str>,
    /// The cgroups that it may make, or why it may make none.
    pub cgroups: Result<Delegation, String>,
    /// What connects its containers.
    pub carrier: Option<Carrier>,
    /// Whether the user may open /dev/net/tun.
    pub tun: bool,
    /// How many network namespaces there may be.
    pub network_namespaces: u64,
}

impl UserFacts {
    /// Looks. It has to be the user who calls, not root of the user's namespace.
    #[must_use]
    pub(super) fn probe() -> Self {
        let user = User::of_caller();
        let both = Access::READ_OK | Access::WRITE_OK;
        Self {
            ids: Plan::probe(&user),
            name: user.name,
            forbidden: rootless::what_forbids_namespaces(),
            cgroups: Delegation::probe(),
            carrier: connection::carrier(),
            network_namespaces: number("/proc/sys/user/max_net_namespaces"),
            tun: accessat(CWD, "/dev/net/tun", both, AtFlags::EACCESS).is_ok(),
        }
    }
}

/// The checks of root that these take the place of.
pub(super) const INSTEAD_OF: [&str; 2] = ["root", "user namespaces"];

/// The controllers that root's systemd gives to users, if nothing is said (user@.service).
const USUAL: [&str; 3] = ["cpu", "memory", "pids"];

/// What a user can limit.
pub(crate) fn of_delegation(cgroups: &Result<Delegation, String>) -> Finding {
    let (good, found, advice) = match cgroups {
        Ok(own) => {
            let lacking: Vec<&str> = USUAL
                .into_iter()
                .filter(|name| !own.controllers.iter().any(|known| known == name))
                .collect();
            let there = format!("by {}: {}", own.manager.as_str(), own.controllers.join(" "));
            match lacking.as_slice() {
                [] => (true, there, "limits of them are ignored"),
                lacking => (
                    false,
                    format!("{there}, without {}", lacking.join(" ")),
                    "limits of what is missing are ignored: let root put `Delegate=cpu cpuset io memory pids` below `[Service]` of /etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and log in anew",
                ),
            }
        }
        Err(lack) => (
            false,
            format!("none: {lack}"),
            "limits are ignored, and `pause`, `stats` and `update` refused: they take cgroup v2 and a systemd of the user's, which runs for whoever is logged in, or always with `loginctl enable-linger`",
        ),
    };
    finding("delegated cgroup", good, Verdict::Limited, found, advice)
}

/// Every finding about a user.
pub(super) fn findings(user: &UserFacts, user_namespaces: u64) -> Vec<Finding> {
    let allowed = user.forbidden.is_none();
    let (ids, lack) = match &user.ids {
        Plan::Ranges { uids, gids } => {
            let count = |lines: &[crate::id_map::Mapping]| -> u64 {
                lines.iter().map(|line| u64::from(line.size)).sum()
            };
            (format!("{} users, {} groups", count(&uids.1), count(&gids.1)), "")
        }
        Plan::Own { lack } => ("the user's own alone".to_owned(), lack.as_str()),
    };
    vec![
        finding(
            "user namespaces",
            allowed,
            Verdict::Missing,
            match allowed {
                true => format!("for user `{}`, at most {user_namespaces}", user.name),
                false => "not for users without root".to_owned(),
            },
            user.forbidden.unwrap_or_default(),
        ),
        finding(
            "ids",
            lack.is_empty(),
            Verdict::Limited,
            ids,
            format!("images with files of several users cannot be unpacked: {lack}"),
        ),
        of_delegation(&user.cgroups),
        finding(
            "user network",
            user.carrier.is_some(),
            Verdict::Limited,
            user.carrier.map_or("neither pasta nor slirp4netns", Carrier::program),
            "containers are connected by one of them: let root install the package `passt`",
        ),
        finding(
            "tun device",
            user.tun,
            Verdict::Limited,
            if user.tun { "open to the user" } else { "/dev/net/tun is not open to the user" },
            "containers are connected by it: let root run `modprobe tun; chmod 666 /dev/net/tun`",
        ),
        finding(
            "network namespaces",
            user.network_namespaces > 0,
            Verdict::Limited,
            format!("at most {}", user.network_namespaces),
            "networks with a bridge stand in one: let root run `sysctl user.max_net_namespaces=15000`",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootless::delegation::Manager;

    fn delegation(controllers: &[&str]) -> Delegation {
        Delegation {
            manager: Manager::Systemd,
            group: "/user.slice".into(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            swap: true,
        }
    }

    fn good() -> UserFacts {
        let line = crate::id_map::Mapping { inside: 0, outside: 1000, size: 65_537 };
        let part = || ("/usr/bin/newuidmap".into(), vec![line]);
        let ids = Plan::Ranges { uids: part(), gids: part() };
        UserFacts {
            name: "eve".to_owned(),
            ids,
            forbidden: None,
            cgroups: Ok(delegation(&USUAL)),
            carrier: Some(Carrier::Pasta),
            tun: true,
            network_namespaces: 1000,
        }
    }

    #[test]
    fn what_a_user_lacks_is_told_with_what_root_can_do() {
        let all = findings(&good(), 1000);
        assert!(
            all.iter().all(|one| one.verdict == Verdict::Good && one.advice.is_none()),
            "{all:?}"
        );
        let finds = |user: UserFacts, check: &str, verdict: Verdict, advice: &str| {
            let mut all = findings(&user, 1000);
            all.retain(|one| one.verdict != Verdict::Good);
            let [one] = &all[..] else { panic!("{all:?}") };
            assert_eq!((one.check, one.verdict), (check, verdict));
            assert!(one.advice.as_deref().unwrap().contains(advice), "{one:?}");
        };
        let forbidden = UserFacts { forbidden: Some("sysctl x=1"), ..good() };
        finds(forbidden, "user namespaces", Verdict::Missing, "sysctl x=1");
        let own = Plan::Own { lack: "install `uidmap`".to_owned() };
        finds(UserFacts { ids: own, ..good() }, "ids", Verdict::Limited, "install `uidmap`");
        let none = Err("nobody listens".to_owned());
        finds(
            UserFacts { cgroups: none, ..good() },
            "delegated cgroup",
            Verdict::Limited,
            "enable-linger",
        );
        let some = Ok(delegation(&["memory", "pids"]));
        finds(
            UserFacts { cgroups: some, ..good() },
            "delegated cgroup",
            Verdict::Limited,
            "Delegate=cpu",
        );
        finds(UserFacts { carrier: None, ..good() }, "user network", Verdict::Limited, "passt");
        let without = UserFacts { network_namespaces: 0, ..good() };
        finds(without, "network namespaces", Verdict::Limited, "max_net_namespaces");
        finds(UserFacts { tun: false, ..good() }, "tun device", Verdict::Limited, "/dev/net/tun");
    }
}
