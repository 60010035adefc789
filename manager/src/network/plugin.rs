//! Plug-ins that are not built in: programs of CNI_PATH, called as the CNI specification says.
//!
//! What a plug-in reads is part of the plan, so it is on record before the plug-in runs, and `DEL` is called for it
//! whatever happened since. The last answer is kept beside the record, because `DEL` is to be given it.

use super::definition::{Definition, ForeignPlugin};
use super::error::{Error, Result};
use super::ipam::LeasedAddress;
use super::plan::{NetworkPlan, Plugin, Step};
use super::subnet::Subnet;
use crate::process::Process;
use bundle::reason::reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use serde_json::{Map, Value, json};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where plug-ins are looked for unless CNI_PATH says otherwise.
const PATH: &str = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni";
/// Where a plug-in looks for programs of its own, such as `iptables`.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a plug-in may take: one that asks a DHCP server takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const LONGEST: u64 = 1024 * 1024;

/// The directories in which plug-ins are looked for.
#[must_use]
pub(super) fn search_path() -> String {
    std::env::var("CNI_PATH").ok().filter(|path| !path.is_empty()).unwrap_or_else(|| PATH.into())
}

/// What a plug-in is to read: pure.
pub(super) fn prepare(
    plan: &NetworkPlan,
    definition: &Definition,
    plugin: &ForeignPlugin,
    wanted: &[IpAddr],
) -> Plugin {
    let mut config = Map::new();
    config.insert("cniVersion".into(), definition.version.clone().into());
    config.insert("name".into(), definition.name.as_str().into());
    config.extend(plugin.config.as_object().cloned().unwrap_or_default());
    let capabilities = config.remove("capabilities").unwrap_or_default();
    let capable = |name: &str| capabilities.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut runtime = Map::new();
    if capable("portMappings") && !plan.ports.is_empty() {
        let mappings = plan.ports.iter().map(|port| {
            json!({
                "hostPort": port.host_port, "containerPort": port.container_port,
                "protocol": port.protocol.to_string(), "hostIP": port.host_address.to_string(),
            })
        });
        runtime.insert("portMappings".into(), mappings.collect());
    }
    if let (true, Some(mac)) = (capable("mac"), plan.mac) {
        runtime.insert("mac".into(), mac.to_string().into());
    }
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    if capable("ips") && !wanted.is_empty() {
        runtime.insert("ips".into(), json!(wanted));
    }
    if !runtime.is_empty() {
        config.insert("runtimeConfig".into(), runtime.into());
    }
    if !wanted.is_empty() {
        // What `host-local` goes by.
        config.insert("args".into(), json!({ "cni": { "ips": wanted } }));
    }
    let mac = plan.mac.map(|mac| format!(";MAC={mac}")).unwrap_or_default();
    let args = format!("IgnoreUnknown=1{mac}");
    let unchecked = !definition.is_checked;
    Plugin { kind: plugin.kind.clone(), config: config.into(), args, unchecked }
}

/// What the built-in plug-ins would have answered, for the first that comes after them: pure.
fn answer_of_bridge(plan: &NetworkPlan, version: &str, netns: &str) -> Value {
    let links = plan.steps.iter().find_map(|step| match step {
        Step::Veth { name, mac, bridge, .. } => Some((name, mac, bridge)),
        _ => None,
    });
    let Some((veth, mac, bridge)) = links else { return Value::Null };
    let interfaces = json!([
        { "name": bridge, "mac": super::plan::bridge_mac(bridge) },
        { "name": veth, "mac": mac },
        { "name": plan.interface, "mac": plan.mac, "sandbox": netns },
    ]);
    let address = |leased: &LeasedAddress| {
        let mut object = json!({
            "interface": 2,
            "address": format!("{}/{}", leased.address, leased.subnet.prefix()),
            "gateway": leased.gateway,
        });
        if version.starts_with("0.") {
            object["version"] = if leased.address.is_ipv4() { "4" } else { "6" }.into();
        }
        object
    };
    let routes = plan.steps.iter().filter_map(|step| match step {
        Step::Route { destination, gateway, .. } => {
            Some(json!({ "dst": destination, "gw": gateway }))
        }
        _ => None,
    });
    json!({
        "cniVersion": version, "interfaces": interfaces,
        "ips": plan.addresses.iter().map(address).collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(), "dns": {},
    })
}

/// The addresses in a plug-in's answer, and the container's link address: pure.
pub(super) fn read_answer(
    plan: &NetworkPlan,
    answer: &Value,
) -> (Vec<LeasedAddress>, Option<String>) {
    let list = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let address = |ip: &Value| {
        let text = ip.get("address")?.as_str()?;
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let none: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let gateway = ip.get("gateway").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let subnet = Subnet::of(address, prefix.parse().ok()?)?;
        Some(LeasedAddress { address, subnet, gateway: gateway.unwrap_or(none) })
    };
    let addresses = list("ips").iter().filter_map(address).collect();
    let own = list("interfaces").into_iter().find(|interface| {
        interface["name"] == plan.interface.as_str() && interface.get("sandbox").is_some()
    });
    let mac = own.and_then(|own| own["mac"].as_str().map(str::to_owned));
    (addresses, mac)
}

/// One plug-in of one container's connection.
pub(super) struct Call<'a> {
    pub(super) plan: &'a NetworkPlan,
    pub(super) plugin: &'a Plugin,
    /// The container's namespace, unless it is gone.
    pub(super) netns: Option<BorrowedFd<'a>>,
}

impl Call<'_> {
    /// Connects; returns the plug-in's answer.
    pub(super) fn add(&self, previous: Option<Value>) -> Result<Value> {
        let previous = previous.or_else(|| {
            Some(answer_of_bridge(self.plan, self.version(), &self.netns()))
                .filter(|answer| !answer.is_null())
        });
        let said = self.run("ADD", previous)?;
        serde_json::from_str(&said)
            .map_err(|error| self.failed("ADD", format!("its answer is not JSON: {error}")))
    }

    /// Asks whether the connection still is as `answer` has it, unless that is not to be asked.
    pub(super) fn check(&self, answer: Option<Value>) -> Result<()> {
        match self.plugin.unchecked || !has_check(self.version()) {
            true => Ok(()),
            false => self.run("CHECK", answer).map(drop),
        }
    }

    /// Disconnects; a plug-in takes it for success that there is nothing left.
    pub(super) fn delete(&self, answer: Option<Value>) -> Result<()> {
        self.run("DEL", answer).map(drop)
    }

    fn version(&self) -> &str {
        self.plugin.config["cniVersion"].as_str().unwrap_or_default()
    }

    /// The namespace's path, as another process can open it while this one lives.
    fn netns(&self) -> String {
        let path =
            |fd: BorrowedFd<'_>| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        self.netns.map(path).unwrap_or_default()
    }

    fn failed(&self, command: &'static str, reason: String) -> Error {
        Error::Plugin {
            kind: self.plugin.kind.clone(),
            command,
            network: self.plan.network.to_string(),
            reason,
        }
    }

    fn run(&self, command: &'static str, previous: Option<Value>) -> Result<String> {
        let mut config = self.plugin.config.clone();
        if let Some(previous) = previous {
            config["prevResult"] = previous;
        }
        let mut program = program(&self.plugin.kind)?;
        program
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", self.plan.container.as_str())
            .env("CNI_NETNS", self.netns())
            .env("CNI_IFNAME", self.plan.interface.as_str())
            .env("CNI_ARGS", &self.plugin.args);
        let (success, said) = converse(program, &config.to_string(), PATIENCE)
            .map_err(|error| self.failed(command, reason(&error)))?;
        if success { Ok(said) } else { Err(self.failed(command, complaint(&said))) }
    }
}

/// Whether that version of CNI has `CHECK`, as those from 0.4.0 on: a plug-in refuses it in an older one.
fn has_check(version: &str) -> bool {
    let is_older = ["0.1.", "0.2.", "0.3."].iter().any(|older| version.starts_with(older));
    !version.is_empty() && !is_older
}

/// Finds out whether a plug-in is there and speaks that version of CNI.
///
/// # Errors
/// [`Error::NoPlugin`], or it does not.
pub fn check(kind: &str, version: &str) -> Result<()> {
    let failed = |reason: String| Error::Plugin {
        kind: kind.to_owned(),
        command: "VERSION",
        network: String::new(),
        reason,
    };
    let mut program = program(kind)?;
    program.env("CNI_COMMAND", "VERSION");
    let question = json!({ "cniVersion": version }).to_string();
    let (success, said) =
        converse(program, &question, PATIENCE).map_err(|error| failed(reason(&error)))?;
    if !success {
        return Err(failed(complaint(&said)));
    }
    let answer: Value = serde_json::from_str(&said).map_err(|error| failed(error.to_string()))?;
    let spoken = answer["supportedVersions"].as_array().cloned().unwrap_or_default();
    if spoken.iter().any(|spoken| spoken == version) {
        return Ok(());
    }
    Err(failed(format!("it speaks {answer}, and not CNI {version}")))
}

/// The program of a plug-in, with nothing of our own environment but where programs are.
fn program(kind: &str) -> Result<Command> {
    let path = search_path();
    // A plug-in's type is a plain file name: the conflist's parser has seen to that.
    let found = path.split(':').map(|directory| PathBuf::from(directory).join(kind));
    let Some(found) = found.into_iter().find(|program| program.is_file()) else {
        return Err(Error::NoPlugin { kind: kind.to_owned(), path });
    };
    let mut command = Command::new(found);
    let programs = std::env::var("PATH").unwrap_or_else(|_| PROGRAMS.into());
    command.env_clear().env("PATH", programs).env("CNI_PATH", path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

/// Runs a program on a text; returns whether it succeeded, and what it said.
fn converse(mut program: Command, text: &str, patience: Duration) -> io::Result<(bool, String)> {
    let deadline = Instant::now() + patience;
    let late = |what| {
        let text = format!("it has not {what} within {} s", patience.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let mut child = program.spawn()?;
    let said =
        talk(&mut child, text, deadline).and_then(|said| said.ok_or_else(|| late("answered")));
    // One that has said all that it has to say may go on all the same.
    let said = said.and_then(|said| match has_ended(&child, deadline)? {
        true => Ok(said),
        false => Err(late("ended")),
    });
    if said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    Ok((status.success(), said?))
}

/// Gives a program its text, and reads what it says to that; `None` if that takes until the deadline.
fn talk(child: &mut Child, text: &str, deadline: Instant) -> io::Result<Option<String>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(String::new())) };
    let (mut stdin, mut unsent) = (child.stdin.take(), text.as_bytes());
    if let Some(stdin) = &stdin {
        // A pipe takes 64 KiB, and the rest when the program reads: one that does not is not waited for longer than any other.
        ioctl_fionbio(stdin, true)?;
    }
    let mut said = Vec::new();
    loop {
        let Some([speaks, listens]) = look(&stdout, stdin.as_ref(), deadline)? else {
            return Ok(None);
        };
        if let Some(pipe) = stdin.as_mut().filter(|_| listens) {
            match pipe.write(unsent) {
                Ok(length) => unsent = &unsent[length..],
                Err(error) if is_passing(&error) => {}
                // One that does not read its configuration says itself why not.
                Err(_) => unsent = &[],
            }
            if unsent.is_empty() {
                stdin = None;
            }
        }
        if speaks {
            let mut chunk = [0; 4096];
            let length = stdout.read(&mut chunk)?;
            said.extend_from_slice(&chunk[..length]);
            if length == 0 || said.len() as u64 > LONGEST {
                return String::from_utf8(said).map(Some).map_err(io::Error::other);
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits for the end of a program, until the deadline.
fn has_ended(child: &Child, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Nobody else has its id before we have collected it.
    let process = i32::try_from(child.id()).ok().and_then(|id| Process::open(id, |_| true));
    Ok(process.ok_or(Errno::SRCH)?.wait_for_exit(Some(left))?)
}

/// Whether a program has something to say, and whether it takes something; `None` if it does neither until the deadline.
fn look(
    stdout: &ChildStdout,
    stdin: Option<&ChildStdin>,
    deadline: Instant,
) -> io::Result<Option<[bool; 2]>> {
    let mut watched = vec![PollFd::new(stdout, PollFlags::IN)];
    watched.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&left)) {
            Err(Errno::INTR) => continue,
            ready if ready? == 0 => return Ok(None),
            _ => {}
        }
        let is_ready = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
        return Ok(Some([is_ready(0), is_ready(1)]));
    }
}

/// What a plug-in says went wrong: `msg` and `details` of its JSON, or the text itself.
fn complaint(said: &str) -> String {
    let json: Value = serde_json::from_str(said).unwrap_or_default();
    let part = |key: &str| json[key].as_str().filter(|text| !text.is_empty());
    match (part("msg"), part("details")) {
        (Some(message), Some(details)) => format!("{message}: {details}"),
        (Some(message), None) => message.to_owned(),
        _ if said.trim().is_empty() => "it failed without a word".to_owned(),
        _ => said.trim().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Appearance;
    use crate::network::{HostFacts, definition, ipam};

    fn plan_of(plugins: &str) -> NetworkPlan {
        let root = tempfile::tempdir().unwrap();
        let text = format!(r#"{{"cniVersion":"0.4.0","name":"web","plugins":{plugins}}}"#);
        definition::write_new(root.path(), &"web".parse().unwrap(), &text).unwrap();
        let facts = HostFacts::default();
        let network = definition::load(root.path(), &"web".parse().unwrap(), &facts).unwrap();
        let state = crate::network::State::open(root.path()).unwrap();
        let id = crate::container::ContainerId::random();
        let lease =
            ipam::reserve(&state, &network, &id, &[], &std::collections::BTreeSet::new()).unwrap();
        let ports = ["127.0.0.1:8080:80".parse().unwrap()];
        let appearance = Appearance {
            mac: Some("02:00:00:00:00:07".to_owned().try_into().unwrap()),
            addresses: vec!["10.1.0.7".parse().unwrap()],
            ..Appearance::default()
        };
        crate::network::plan(&network, &lease, &appearance, &ports, &facts).unwrap()
    }

    fn plugins(plan: &NetworkPlan) -> Vec<&Plugin> {
        let steps = plan.steps.iter();
        steps
            .filter_map(|step| if let Step::Plugin(plugin) = step { Some(plugin) } else { None })
            .collect()
    }

    #[test]
    fn a_plugin_reads_its_own_keys_and_what_its_capabilities_ask_for() {
        let plan = plan_of(
            r#"[{"type":"macvlan","master":"up0","capabilities":{"mac":true,"ips":true}},
                {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]"#,
        );
        let calls = plugins(&plan);
        assert_eq!(calls[0].config["cniVersion"], "0.4.0");
        assert_eq!(calls[0].config["name"], "web");
        assert_eq!(calls[0].config["master"], "up0");
        assert_eq!(calls[0].config["runtimeConfig"]["mac"], "02:00:00:00:00:07");
        assert_eq!(calls[0].config["runtimeConfig"]["ips"][0], "10.1.0.7");
        assert_eq!(calls[0].args, "IgnoreUnknown=1;MAC=02:00:00:00:00:07");
        let mapping = &calls[1].config["runtimeConfig"]["portMappings"][0];
        assert_eq!((&mapping["hostPort"], &mapping["hostIP"]), (&json!(8080), &json!("127.0.0.1")));
        assert!(calls.iter().all(|call| call.config.get("capabilities").is_none()));
    }

    #[test]
    fn a_plugin_after_the_bridge_is_told_what_the_bridge_did() {
        let ipam = r#"{"type":"host-local","subnet":"10.1.0.0/24"}"#;
        let plan = plan_of(&format!(
            r#"[{{"type":"bridge","isGateway":true,"ipam":{ipam}}},{{"type":"portmap"}},{{"type":"tuning"}}]"#
        ));
        assert_eq!(plugins(&plan).len(), 1);
        let answer = answer_of_bridge(&plan, "0.4.0", "/ns");
        assert_eq!(
            answer["interfaces"][2],
            json!({ "name": "eth0", "mac": plan.mac, "sandbox": "/ns" })
        );
        assert_eq!(answer["ips"][0]["address"], "10.1.0.2/24");
        assert_eq!(answer["ips"][0]["version"], "4");
        let (addresses, mac) = read_answer(&plan, &answer);
        assert_eq!((addresses, mac), (plan.addresses.clone(), plan.mac.map(String::from)));
        let answer = answer_of_bridge(&plan, "1.0.0", "/ns");
        assert!(answer["ips"][0].get("version").is_none());
    }

    #[test]
    fn only_versions_that_have_it_are_asked_to_check() {
        assert!(["0.4.0", "1.0.0", "1.1.0"].into_iter().all(has_check));
        assert!(!["", "0.1.0", "0.2.0", "0.3.0", "0.3.1"].into_iter().any(has_check));
    }

    #[test]
    fn a_plugin_is_not_waited_for_longer_than_it_may_take() {
        let tell = |text: &str, script: &str| {
            let mut program = Command::new("/bin/sh");
            program.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            converse(program, text, Duration::from_secs(1))
        };
        let shell = |script: &str| tell("{}", script);
        let said = |script: &str| shell(script).unwrap_err().to_string();
        assert_eq!(said("exec sleep 1000"), "it has not answered within 1 s");
        // Also one that has said everything and closed its output.
        assert_eq!(said("echo '{}'; exec sleep 1000 >&-"), "it has not ended within 1 s");
        assert_eq!(shell("echo '{}'; exit 3").unwrap(), (false, "{}\n".to_owned()));
        // Neither is one that does not read what no pipe holds, and one that says much before it reads gets all of it.
        let long = "x".repeat(300_000);
        let unread = tell(&long, "exec sleep 1000").unwrap_err().to_string();
        assert_eq!(unread, "it has not answered within 1 s");
        assert_eq!(tell(&long, "echo '{}'; exit 3").unwrap(), (false, "{}\n".to_owned()));
        let (_, said) = tell(&long, "head -c 200000 /dev/zero | tr '\\0' y; wc -c").unwrap();
        assert_eq!((said.len(), said.trim_end().ends_with("y300000")), (200_007, true));
    }

    #[test]
    fn a_plugins_complaint_is_in_its_own_words() {
        let json = r#"{"cniVersion":"1.0.0","code":7,"msg":"bad master","details":"up9"}"#;
        assert_eq!(complaint(json), "bad master: up9");
        assert_eq!(complaint("panic: x\nmore"), "panic: x");
        assert_eq!(complaint(" "), "it failed without a word");
    }
}
