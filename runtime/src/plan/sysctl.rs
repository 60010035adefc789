//! Kernel parameters of the container's namespaces.

use super::op::{Op, Step};
use super::{Error, c_string};
use oci_spec::runtime::Linux;

/// Plans `linux.sysctl`, in the order of the names: a map has none of its own, and a plan must not depend on chance.
///
/// The path is the one that the check of config.json judged, made by the same function: two readings of a name would let one
/// parameter be judged and another be set.
///
/// # Errors
/// For a name that is none.
pub(super) fn plan(linux: Option<&Linux>) -> Result<Vec<Step>, Error> {
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
        let path = c_string(format!("/proc/sys/{path}").as_bytes(), &pointer)?;
        Ok(Step { op: Op::WriteProc { path, value: value.clone() }, pointer })
    };
    parameters.into_iter().map(step).collect()
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
        Ok(plan(Some(&linux))?.into_iter().map(path).collect())
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
