//! What a `create` may cost, in counts that do not depend on the machine's speed.

use nconform::bench::{Calls, count_create};
use nconform::fixture::{BundleDir, Runtime, Sandbox};

#[test]
fn create_makes_few_system_calls_in_two_tasks_and_reads_no_mount_table() {
    let _sandbox = Sandbox::enter();
    let counted = count_create(&Runtime::under_test(), &BundleDir::new());
    let Calls { calls, tasks, mountinfo } = counted;
    assert!(calls > 50, "too few system calls to be true: {calls}");
    assert!(calls <= 330, "{calls} system calls in a create, 330 are the bar");
    assert_eq!(mountinfo, 0, "opened a table of mounts, whose size is the host's affair");
    assert_eq!(tasks, 2, "the caller and the container's process are all it takes");
}
