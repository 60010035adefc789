//! On plain directories that look like the file system: no machine for tests has the real one.

use super::*;
use serde_json::json;
use tempfile::TempDir;

/// What a mounted resctrl shows, with one class that somebody has prepared.
fn resctrl() -> (TempDir, Facts) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in ["info/L3", "info/MB", "mon_groups", "mon_data", "gold/mon_groups"] {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }
    std::fs::write(root.join("schemata"), "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n").unwrap();
    std::fs::write(root.join("gold/schemata"), "    L3:0=00ff0;1=0000f\n    MB:0= 20;1=100\n")
        .unwrap();
    std::fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
    let facts = read(root).unwrap();
    (directory, facts)
}

fn rdt(json: &str) -> LinuxIntelRdt {
    serde_json::from_str(json).unwrap()
}

fn planned(json: &str, facts: &Facts) -> std::result::Result<GroupPlan, String> {
    plan(&rdt(json), "web", Some(facts)).map_err(|error| error.to_string())
}

#[test]
fn the_facts_are_read_from_the_file_system() {
    let (_directory, facts) = resctrl();
    assert!(facts.cache && facts.bandwidth);
    assert_eq!(facts.classes.keys().collect::<Vec<_>>(), ["/", "gold"]);
    let line = "36 29 0:32 / /mnt/resctrl rw,relatime shared:9 - resctrl resctrl rw";
    assert_eq!(mounted_at(line), Some("/mnt/resctrl".into()));
    assert_eq!(mounted_at("36 29 0:32 / /resctrl rw - tmpfs resctrl rw"), None);
}

#[test]
fn without_the_file_system_or_its_resources_it_is_refused_by_name() {
    let error = plan(&rdt("{}"), "web", None).unwrap_err().to_string();
    assert!(error.starts_with("config.json /linux/intelRdt: needs the `resctrl`"), "{error}");
    let (_directory, facts) = resctrl();
    let bare = Facts { cache: false, bandwidth: false, ..facts };
    for (json, field) in [
        (r#"{"l3CacheSchema": "L3:0=f"}"#, "/linux/intelRdt/l3CacheSchema"),
        (r#"{"memBwSchema": "MB:0=20"}"#, "/linux/intelRdt/memBwSchema"),
    ] {
        assert!(planned(json, &bare).unwrap_err().contains(field));
    }
}

#[test]
fn the_class_bears_the_containers_id_and_goes_with_it_unless_it_is_named() {
    let (_directory, facts) = resctrl();
    let schemas = r#""memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f", "schemata": ["L2:0=1"]"#;
    let own = planned(&format!("{{{schemas}}}"), &facts).unwrap();
    assert_eq!(own.group.directory, facts.root.join("web"));
    assert!(own.make && own.group.own);
    assert_eq!(own.schemata, "L3:0=f\nMB:0=20\nL2:0=1\n", "in the order of the specification");
    let named = planned(&format!(r#"{{"closID": "silver", {schemas}}}"#), &facts).unwrap();
    assert!(named.make && !named.group.own);
    let root = planned(r#"{"closID": "/"}"#, &facts).unwrap();
    assert_eq!(root.group.directory, facts.root);
    assert!(!root.make && !root.group.own && root.schemata.is_empty());
    let text = own.to_string();
    assert!(text.starts_with("make resource class ") && text.contains("\n  MB:0=20\n"), "{text}");
}

#[test]
fn a_class_that_is_named_has_to_be_there_or_be_described() {
    let (_directory, facts) = resctrl();
    assert!(!planned(r#"{"closID": "gold"}"#, &facts).unwrap().make);
    assert!(
        planned(r#"{"closID": "lead"}"#, &facts).unwrap_err().contains("/linux/intelRdt/closID")
    );
    assert!(planned(r#"{"closID": "info"}"#, &facts).is_err());
}

#[test]
fn schemas_have_to_agree_with_a_class_that_is_there() {
    let (_directory, facts) = resctrl();
    let gold = |schema: &str| planned(&format!(r#"{{"closID": "gold", {schema}}}"#), &facts);
    for schema in [
        r#""l3CacheSchema": "L3:0=ff0;1=f""#,
        r#""l3CacheSchema": "L3:1=0xF""#,
        r#""memBwSchema": "MB:1=100;0=20""#,
        r#""l3CacheSchema": "L3:0=0ff0", "memBwSchema": "MB:0=20""#,
    ] {
        gold(schema).unwrap();
    }
    for (schema, field) in [
        (r#""l3CacheSchema": "L3:0=ff""#, "l3CacheSchema"),
        (r#""l3CacheSchema": "L3:2=ff0""#, "l3CacheSchema"),
        (r#""l3CacheSchema": "L3:0=ff0", "memBwSchema": "MB:0=30""#, "memBwSchema"),
        (r#""l3CacheSchema": "L3""#, "l3CacheSchema"),
    ] {
        assert!(gold(schema).unwrap_err().contains(field), "{schema}");
    }
}

#[test]
fn a_group_is_made_entered_and_removed() {
    let (_directory, facts) = resctrl();
    let plan = planned(r#"{"l3CacheSchema": "L3:0=f"}"#, &facts).unwrap();
    let group = Group::create(&plan).unwrap();
    let file = |name: &str| facts.root.join("web").join(name);
    assert_eq!(std::fs::read_to_string(file("schemata")).unwrap(), "L3:0=f\n");
    group.add(Pid::from_raw(7).unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(file("tasks")).unwrap(), "7");
    let change = Change::asked(Some(&group), Some(""), Some("MB:0=50")).unwrap().unwrap();
    change.make().unwrap();
    assert_eq!(std::fs::read_to_string(file("schemata")).unwrap(), "MB:0=50\n");
    // In the real one a class goes with its files.
    for name in ["schemata", "tasks"] {
        std::fs::remove_file(file(name)).unwrap();
    }
    group.remove().unwrap();
    assert!(!facts.root.join("web").exists());
    group.remove().unwrap();
}

#[test]
fn a_monitoring_group_is_the_containers_own_in_any_class() {
    let (_directory, facts) = resctrl();
    let plan = planned(r#"{"closID": "gold", "enableMonitoring": true}"#, &facts).unwrap();
    let group = Group::create(&plan).unwrap();
    let monitoring = facts.root.join("gold/mon_groups/web");
    group.add(Pid::from_raw(7).unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(monitoring.join("tasks")).unwrap(), "7");
    assert_eq!(std::fs::read_to_string(facts.root.join("gold/tasks")).unwrap(), "7");
    assert!(Group::create(&plan).is_err(), "it is somebody else's");
    assert!(monitoring.exists());
    std::fs::remove_file(monitoring.join("tasks")).unwrap();
    group.remove().unwrap();
    assert!(!monitoring.exists() && facts.root.join("gold").exists());
}

#[test]
fn what_was_made_is_taken_back_on_failure_with_the_kernels_own_words() {
    let (_directory, facts) = resctrl();
    std::fs::write(facts.root.join("info/last_cmd_status"), "out of CLOSIDs\n").unwrap();
    let plan = planned(r#"{"enableMonitoring": true}"#, &facts).unwrap();
    // Without `mon_groups` in the new class, its monitoring group cannot be made.
    let error = Group::create(&plan).unwrap_err().to_string();
    assert!(error.contains("the kernel says `out of CLOSIDs`"), "{error}");
    assert!(!facts.root.join("web").exists());
}

#[test]
fn only_a_container_with_a_class_is_updated() {
    assert!(Change::asked(None, None, Some("")).unwrap().is_none());
    let (_directory, facts) = resctrl();
    std::fs::remove_dir(facts.root.join("info/MB")).unwrap();
    let group = Group { directory: facts.root.join("gold"), ..Group::default() };
    assert!(Change::asked(Some(&group), Some("L3:0=f"), None).unwrap().is_some());
    let error = Change::asked(Some(&group), None, Some("MB:0=50")).unwrap_err().to_string();
    assert_eq!(error, "Intel RDT/MBA: memory bandwidth schema is not enabled");
    // Without a class of the container's own, the host's file system is asked first.
    let error = Change::asked(None, Some("L3:0=f"), None).unwrap_err().to_string();
    let expected = match probe().unwrap().is_some_and(|facts| facts.cache) {
        true => "updating a non-existent Intel RDT configuration is not supported",
        false => "Intel RDT/CAT: l3 cache schema is not enabled",
    };
    assert_eq!(error, expected);
}

#[test]
fn what_a_class_has_and_its_group_has_counted_is_told_in_the_form_of_runc() {
    let (_directory, facts) = resctrl();
    let root = &facts.root;
    let group = planned(r#"{"closID": "gold", "enableMonitoring": true}"#, &facts).unwrap().group;
    let show = || serde_json::to_value(group.stats().unwrap()).unwrap();
    assert_eq!(show(), json!({}), "nothing is divided or counted here");
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), text).unwrap();
    };
    for (path, text) in [
        ("info/L3/cbm_mask", "fffff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/delay_linear", "1\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/MB/num_closids", "8\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ("gold/mon_groups/web/mon_data/mon_L3_01/llc_occupancy", "4096\n"),
        ("gold/mon_groups/web/mon_data/mon_L3_01/mbm_total_bytes", "7\n"),
        ("gold/mon_groups/web/mon_data/mon_L3_01/mbm_local_bytes", "5\n"),
        ("gold/mon_groups/web/mon_data/mon_L3_00/llc_occupancy", "Unavailable\n"),
    ] {
        write(path, text);
    }
    let expected = json!({
        "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=fffff;1=fffff",
        "l3_cache_schema": "L3:0=00ff0;1=0000f",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0= 20;1=100",
        "mbm_stats": [{"mbm_total_bytes": 0, "mbm_local_bytes": 0}, {"mbm_total_bytes": 7, "mbm_local_bytes": 5}],
        "cmt_stats": [{"llc_occupancy": 0}, {"llc_occupancy": 4096}],
    });
    assert_eq!(show(), expected);
}
