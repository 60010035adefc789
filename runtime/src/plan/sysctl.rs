//! Kernel parameters of the container's namespaces.

use super::op::{Op, Step};
use super::{Error, c_string};
use oci_spec::runtime::Linux;

/// Plans `linux.sysctl`, in the order of the names: a map has none of its own, and a plan must not depend on chance.
///
/// A dot separates components, unless the name contains a slash: then a dot belongs to a component (sysctl(8)), as in
/// `net/ipv4/conf/eth0.1/forwarding`. Which parameters a container may set was decided by the check of config.json.
///
/// # Errors
/// For a component that would lead out of /proc/sys.
pub(super) fn plan(linux: Option<&Linux>) -> Result<Vec<Step>, Error> {
    let Some(parameters) = linux.and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(Vec::new());
    };
    let mut parameters: Vec<_> = parameters.iter().collect();
    parameters.sort();
    let step = |(name, value): (&String, &String)| {
        let pointer = format!("/linux/sysctl/{}", name.replace('/', "~1"));
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        if path.split('/').any(|component| component.is_empty() || component == "..") {
            return Err(Error::new(
                pointer,
                format!("`{name}` is not the name of a kernel parameter"),
            ));
        }
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
    fn dots_separate_unless_there_is_a_slash() {
        let planned =
            paths(r#"{"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1"}"#)
                .unwrap();
        assert_eq!(
            planned,
            ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"]
        );
    }

    #[test]
    fn a_name_cannot_lead_out_of_proc_sys() {
        for name in ["net/../../sysrq-trigger", "../x", "net..x", "/etc/passwd", ""] {
            assert!(paths(&format!(r#"{{"{name}": "1"}}"#)).is_err(), "{name}");
        }
    }
}
