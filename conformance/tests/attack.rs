//! The attacks find what they look for: Debian 12's crun lacks defences that nrun has.

use nconform::fixture::{Capture, binary, tool};

#[test]
fn attacks_work_on_a_runtime_without_the_defence_and_not_on_ours() {
    for (filter, count) in [
        ("behind a descriptor", 2),
        ("/dev of the image", 1),
        ("covers", 3),
        ("user id", 1),
        ("monstrous", 1),
        ("are FIFOs", 1),
        ("leads to the host", 1),
    ] {
        let report = Capture::of(binary("nconform"))
            .args(["attack", "--json", "--filter", filter, "--runtime"])
            .args([binary("nrun")])
            .args(["--runtime".as_ref(), tool("crun").as_os_str()])
            .run()
            .ok()
            .json();
        let rows = report["rows"].as_array().expect("rows").clone();
        assert_eq!(rows.len(), count, "{filter}");
        for row in rows {
            assert_eq!(row["verdicts"][0], "safe", "{row}");
            assert!(row["verdicts"][1]["broken"].is_string(), "{row}");
        }
    }
}
