//! The limit on processes, as it is written in config.json.

use serde::Deserialize;

/// Whether config.json gives a limit in `linux.resources.pids`: 0 is one (config-linux.md, PIDs), and the types read a missing
/// one as 0. Only worth asking where they have a 0.
pub fn pids_limit_is_given(config: &str) -> bool {
    #[derive(Default, Deserialize)]
    struct Config {
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    struct Linux {
        resources: Option<Resources>,
    }
    #[derive(Deserialize)]
    struct Resources {
        pids: Option<Pids>,
    }
    #[derive(Deserialize)]
    struct Pids {
        limit: Option<i64>,
    }
    let config: Config = serde_json::from_str(config).unwrap_or_default();
    let pids = config.linux.and_then(|linux| linux.resources?.pids);
    pids.is_some_and(|pids| pids.limit.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_told_from_none() {
        let with =
            |pids| format!(r#"{{"process": {{}}, "linux": {{"resources": {{"pids": {pids}}}}}}}"#);
        assert!(pids_limit_is_given(&with(r#"{"limit": 0}"#)));
        for none in ["{}", "null", r#"{"limit": null}"#] {
            assert!(!pids_limit_is_given(&with(none)), "{none}");
        }
        assert!(!pids_limit_is_given(r#"{"linux": null}"#));
    }
}
