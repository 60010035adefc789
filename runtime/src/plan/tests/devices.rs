//! What is made in `/dev`, and where nothing is.

use super::{hybrid, options, plan};
use crate::plan::op::Op;
use serde_json::{Value, json};

/// Whether devices are made in a `/dev` that is the host's, bound at this destination. `ROOT` stands for the path of the root.
fn are_made_with(destination: &str) -> bool {
    let edit = |config: &mut Value| {
        let bundle = std::env::temp_dir().join("bundle-with-a-dev");
        let root = bundle.join("rootfs");
        std::fs::create_dir_all(&root).unwrap();
        config["root"]["path"] = json!(root);
        let destination = destination.replace("ROOT", root.to_str().unwrap());
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({"destination": destination, "type": "bind", "source": "/dev", "options": ["rbind"]}));
    };
    let plan = plan(&hybrid(), &options(), edit).unwrap();
    plan.steps.iter().any(|step| matches!(step.op, Op::Device(_) | Op::Symlink { .. }))
}

#[test]
fn a_dev_that_is_bound_is_left_as_it_is_under_each_of_its_names() {
    for destination in ["/dev", "/dev/", "dev", "//./dev", "/srv/../dev", "ROOT/dev"] {
        assert!(!are_made_with(destination), "{destination}");
    }
    for destination in ["/dev2", "/srv/dev", "/dev/shm"] {
        assert!(are_made_with(destination), "{destination}");
    }
}
