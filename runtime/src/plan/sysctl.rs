//! Kernel parameters of the container's namespaces.

use super::op::{Op, Step};
use super::{Error, c_string};
use oci_spec::runtime::Linux;
use sys::namespace::Kinds;

/// Plans `linux.sysctl`, in the order of the names: a map has none of its own, and a plan must not depend on chance.
///
/// The path is the one that the check of config.json judged, made by the same function: two readings of a name would let one
/// parameter be judged and another be set.
///
/// # Errors
/// For a name that is none; for a parameter of a namespace that is joined and is nrun's `own`, outside of the container.
pub(super) fn plan(linux: Option<&Linux>, own: Kinds) -> Result<Vec<Step>, Error> {
    let Some(parameters) = linux.and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(Vec::new());
    };
    let mut parameters: Vec<_> = parameters.iter().collect();
    parameters.sort_unstable();
    let step = |(name, value): (&String, &String)| {
        let pointer = format!("/linux/sysctl/{}", name.replace('/', "~1"));
        let Some(path) = bundle::config::sysctl_path(name) else {
            return Err(Error::new(
                pointer,
                format!("`{name}` is not the name of a kernel parameter"),
            ));
        };
        let (kind, label) = namespace_of(&path);
        if own.contains(kind) {
            // runc's words.
            let message = format!(
                "sysctl `{name}` not allowed in host {label} namespace, which is joined by its path"
            );
            return Err(Error::new(pointer, message));
        }
        let path = c_string(format!("/proc/sys/{path}").as_bytes(), &pointer)?;
        Ok(Step { op: Op::WriteProc { path, value: value.clone() }, pointer })
    };
    parameters.into_iter().map(step).collect()
}

/// The namespace that a parameter belongs to. The check of config.json lets those of these four through, and no others.
fn namespace_of(path: &str) -> (Kinds, &'static str) {
    match path.split('/').next() {
        Some("net") => (Kinds::NETWORK, "network"),
        Some("user") => (Kinds::USER, "user"),
        _ if matches!(path, "kernel/domainname" | "kernel/hostname") => (Kinds::UTS, "uts"),
        _ => (Kinds::IPC, "ipc"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(json: &str) -> Result<Vec<String>, Error> {
        let linux: Linux = serde_json::from_str(&format!(r#"{{"sysctl": {json}}}"#)).unwrap();
        let path = |step: Step| match step.op {
            Op::WriteProc { path, .. } => path.into_string().unwrap(),
            op => panic!("{op:?}"),
        };
        Ok(plan(Some(&linux), Kinds::NONE)?.into_iter().map(path).collect())
    }

    #[test]
    fn a_parameter_of_a_namespace_that_is_not_the_containers_is_refused() {
        let table = [
            ("net.ipv4.ip_forward", Kinds::NETWORK),
            ("user/max_user_namespaces", Kinds::USER),
            ("kernel.domainname", Kinds::UTS),
            ("kernel.shmmax", Kinds::IPC),
            ("fs.mqueue.msg_max", Kinds::IPC),
        ];
        let kinds = [Kinds::NETWORK, Kinds::USER, Kinds::UTS, Kinds::IPC];
        for (name, belongs_to) in table {
            let json = format!(r#"{{"sysctl": {{"{name}": "1"}}}}"#);
            let linux: Linux = serde_json::from_str(&json).unwrap();
            for own in kinds {
                let planned = plan(Some(&linux), own);
                assert_eq!(planned.is_err(), own == belongs_to, "{name} {own:?}");
            }
        }
    }

    #[test]
    fn the_first_separator_decides_which_one_separates() {
        let planned =
            paths(r#"{"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1", "net.x.eth1/2": "1"}"#)
                .unwrap();
        assert_eq!(
            planned,
            [
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/net/x/eth1.2",
                "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
            ]
        );
    }

    #[test]
    fn a_name_cannot_lead_out_of_proc_sys() {
        for name in ["net/../../sysrq-trigger", "../x", "net..x", "/etc/passwd", ""] {
            assert!(paths(&format!(r#"{{"{name}": "1"}}"#)).is_err(), "{name}");
        }
    }
}
