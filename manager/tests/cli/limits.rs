//! Resource limits, as the kernel has them.

use super::world::World;
use nconform::fixture::cgroups;

#[test]
fn memory_and_cpu_limits_are_in_the_cgroup() {
    let world = World::new();
    let options = ["-d", "--name", "small", "-m", "64m", "--cpus", "0.5", "--cpuset-cpus", "0"];
    world.run(&options, &["sleep", "1000"]).ok();
    let id = world.inspect("small", "/Id");
    let read = |file: &str| cgroups::read(id.as_str().unwrap(), file);
    if cgroups::unified() {
        assert_eq!(read("memory.max").as_deref(), Some("67108864"));
        assert_eq!(read("cpu.max").as_deref(), Some("50000 100000"));
    } else {
        assert_eq!(read("memory.limit_in_bytes").as_deref(), Some("67108864"));
        assert_eq!(read("cpu.cfs_quota_us").as_deref(), Some("50000"));
    }
    assert_eq!(read("cpuset.cpus").as_deref(), Some("0"));
    world.nman(["rm", "-f", "small"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed() {
    let world = World::new();
    world.shell(&["-m", "16m"], "exec tail -c 200000000 /dev/zero").exits(137);
    world.assert_no_container();
}
