//! Podman's pods, also as Kubernetes describes them: containers that join the namespaces of another one, by path, and its cgroup.

use std::path::{Path, PathBuf};

use super::life::MEMORY_LIMIT;
use super::trial::{IMAGE, Operation, Ran, Trial, operation};
use crate::fixture::cgroups;
use crate::managers::Kind;

/// The image of the container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/nconform/pause:test";

/// Where podman puts the pods of `kube play`, which takes no other place.
const KUBE_CGROUP: &str = "libpod_parent";

/// The default of a million open files may be more than root has.
pub(super) const LIMITS: [&str; 2] = ["nofile=1024:1024", "nproc=4096:4096"];

pub(super) fn operations() -> Vec<Operation> {
    [sharing(), living(), playing()].concat().into_iter().map(|o| o.only(Kind::Podman)).collect()
}

/// What podman reads for itself, because the container that holds a pod's namespaces takes no options.
pub(super) fn write_configuration(directory: &Path) -> PathBuf {
    let path = directory.join("containers.conf");
    let limits = LIMITS.map(|limit| format!("{limit:?}")).join(", ");
    let text = format!(
        "[containers]\ndefault_ulimits = [{limits}]\n[engine]\ninfra_image = \"{PAUSE}\"\n"
    );
    std::fs::write(&path, text).expect("write podman's configuration");
    path
}

/// A pod, named as the operation's container is. It is removed when it is dropped, with all that is in it.
struct Pod<'t, 'a>(&'t Trial<'a>);

impl<'t, 'a> Pod<'t, 'a> {
    fn create(t: &'t Trial<'a>, options: &[&str]) -> Result<Self, String> {
        let pod = Pod(t);
        let parent = t.cgroup_parent();
        let words = ["pod", "create", "--name", t.name(), "--network", "none"];
        t.call(words.iter().chain(&["--cgroup-parent", &parent]).chain(options))?.ok()?;
        Ok(pod)
    }

    fn run(&self, command: &[&str]) -> Result<Ran, String> {
        self.0.call(["run", "--rm", "--pod", self.0.name(), IMAGE].iter().chain(command))
    }

    /// Starts a container that waits, and returns its name.
    fn sleeper(&self, name: &str) -> Result<String, String> {
        let name = format!("{}-{name}", self.0.name());
        let words = ["run", "-d", "--pod", self.0.name(), "--name", &name, IMAGE, "sleep", "600"];
        self.0.call(words)?.ok()?;
        Ok(name)
    }

    /// `pod WORD`
    fn call(&self, words: &[&str]) -> Result<Ran, String> {
        self.0.call(["pod"].iter().chain(words).chain(&[self.0.name()]))?.ok()
    }

    fn is(&self, state: &str) -> Result<(), String> {
        self.call(&["inspect", "--format", "{{.State}}"])?.prints(state)
    }
}

impl Drop for Pod<'_, '_> {
    fn drop(&mut self) {
        let id = self.call(&["inspect", "--format", "{{.ID}}"]).map(|ran| ran.text());
        let _ = self.0.call(["pod", "rm", "-f", "-t", "0", self.0.name()]);
        // Podman leaves them on a host with v1 and v2. What anybody is in stays.
        for directory in cgroups::named(KUBE_CGROUP) {
            let _ = id.as_ref().map(|id| std::fs::remove_dir(directory.join(id)));
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// Prints the namespaces of these kinds, one a line.
fn namespaces_of(kinds: &str) -> String {
    format!("for kind in {kinds}; do readlink /proc/self/ns/$kind; done")
}

fn sharing() -> Vec<Operation> {
    vec![
        operation("a pod shares network, IPC and host name", |t| {
            let pod = Pod::create(t, &["--share", "net,ipc,uts", "--hostname", "pod"])?;
            let other = pod.sleeper("other")?;
            for (kinds, shared) in [("net ipc uts", true), ("pid mnt", false)] {
                let script = namespaces_of(kinds);
                let one = pod.run(&["sh", "-c", &script])?.ok()?.text();
                let two = t.call(["exec", &other, "sh", "-c", &script])?.ok()?.text();
                let common = one.lines().filter(|line| two.contains(line)).count();
                let expected = if shared { one.lines().count() } else { 0 };
                if common != expected {
                    return Err(format!("{kinds}: {one:?} and {two:?}"));
                }
            }
            pod.run(&["hostname"])?.prints("pod")
        }),
        operation("a pod shares its processes", |t| {
            let pod = Pod::create(t, &["--share", "pid"])?;
            let _other = pod.sleeper("other")?;
            let seen = pod.run(&["ps", "-o", "args"])?.ok()?.text();
            match seen.lines().filter(|line| line.starts_with("sleep 600")).count() {
                1 => Ok(()),
                _ => Err(format!("a container sees {seen:?}")),
            }
        }),
        operation("a pod with mapped ids", |t| {
            let pod = Pod::create(t, &["--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"])?;
            let map = pod.run(&["cat", "/proc/self/uid_map"])?.ok()?.text();
            match map.split_whitespace().collect::<Vec<_>>()[..] {
                ["0", "100000", "1000"] => Ok(()),
                _ => Err(format!("the map is {map:?}")),
            }
        }),
        operation("a pod's kernel parameter", |t| {
            let pod = Pod::create(t, &["--share", "net", "--sysctl", "net.ipv4.ip_forward=1"])?;
            pod.run(&["cat", "/proc/sys/net/ipv4/ip_forward"])?.prints("1")
        }),
    ]
}

fn living() -> Vec<Operation> {
    vec![
        operation("a pod stops and starts again", |t| {
            let pod = Pod::create(t, &[])?;
            let one = pod.sleeper("one")?;
            pod.is("Running")?;
            pod.call(&["stop", "-t", "0"])?;
            pod.is("Exited")?;
            pod.call(&["start"])?;
            t.call(["exec", &one, "echo", "again"])?.prints("again")
        }),
        operation("a pod is paused as a whole", |t| {
            let pod = Pod::create(t, &[])?;
            let one = pod.sleeper("one")?;
            pod.call(&["pause"])?;
            t.call(["exec", &one, "true"])?.fails_with(&["paused", "can only create exec"])?;
            pod.call(&["unpause"])?;
            t.call(["exec", &one, "echo", "awake"])?.prints("awake")
        }),
        operation("a pod's limit on memory", |t| {
            let pod = Pod::create(t, &["--memory", "64m"])?;
            let one = pod.sleeper("one")?;
            let own = t.call(["inspect", "--format", "{{.State.CgroupPath}}", &one])?.ok()?.text();
            let pods = Path::new(&own).parent().and_then(|path| path.strip_prefix("/").ok());
            let pods = pods.ok_or_else(|| format!("{one} is in {own:?}"))?;
            let files = ["memory.limit_in_bytes", "memory.max"];
            let paths = cgroups::hierarchies().into_iter();
            let paths = paths.flat_map(|path| files.map(|file| path.join(pods).join(file)));
            let limits: Vec<_> =
                paths.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
            match &limits[..] {
                [limit] if limit.trim() == "67108864" => Ok(()),
                limits => Err(format!("the limits of {} are {limits:?}", pods.display())),
            }
        }),
    ]
}

/// A pod with a container that prepares what another one reads, as Kubernetes describes it.
fn description(t: &Trial) -> String {
    let (name, shared) = (t.name(), t.scratch().display().to_string());
    format!(
        r#"apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  hostname: kube
  restartPolicy: Never
  initContainers:
  - name: init
    image: {IMAGE}
    command: [sh, -c, "echo prepared >/shared/file"]
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  containers:
  - name: main
    image: {IMAGE}
    command: [sleep, "600"]
    resources: {{limits: {{memory: 64Mi, cpu: "0.5"}}}}
    securityContext:
      runAsUser: 1000
      runAsGroup: 2000
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {{drop: [ALL], add: [NET_BIND_SERVICE]}}
    volumeMounts: [{{name: shared, mountPath: /shared, readOnly: true}}]
  volumes:
  - name: shared
    hostPath: {{path: {shared}, type: Directory}}
"#
    )
}

fn playing() -> Vec<Operation> {
    vec![operation("a pod of Kubernetes's YAML", |t| {
        let file = t.scratch().with_extension("yaml");
        std::fs::write(&file, description(t)).map_err(|error| error.to_string())?;
        let _pod = Pod(t);
        let file = file.display().to_string();
        t.call(["kube", "play", "--network", "none", &file])?.ok()?;
        let main = format!("{}-main", t.name());
        let exec = |script: &str| t.call(["exec", &main, "sh", "-c", script]);
        exec("id -u; id -g; hostname; cat /shared/file")?.prints("1000\n2000\nkube\nprepared")?;
        exec(MEMORY_LIMIT)?.prints("67108864")?;
        exec("touch /file")?.fails_with(&["read-only"])?;
        exec("touch /shared/other")?.fails_with(&["read-only"])?;
        let status = exec("grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status")?;
        status.shows(&["CapBnd:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2"])
    })]
}
