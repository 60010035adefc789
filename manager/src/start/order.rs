//! Which of several containers start at the same time: who joins a namespace of another comes after it.

use crate::container::{ContainerId, Containers, Dir};
use std::collections::BTreeSet;

/// The named containers in groups, of which each is started when the one before it runs. Several that join each other in a circle, and
/// names of none, are for their start to refuse.
pub(super) fn waves(containers: &Containers, names: &[String]) -> Vec<Vec<String>> {
    if names.len() < 2 {
        return vec![names.to_vec()];
    }
    let mut waiting: Vec<Waiting> =
        names.iter().map(|name| Waiting::find(containers, name)).collect();
    let mut waves = Vec::new();
    while !waiting.is_empty() {
        let ids: BTreeSet<ContainerId> = waiting.iter().filter_map(|one| one.id.clone()).collect();
        let (later, mut now): (Vec<Waiting>, Vec<Waiting>) =
            waiting.into_iter().partition(|one| one.donors.iter().any(|donor| ids.contains(donor)));
        waiting = later;
        if now.is_empty() {
            now = std::mem::take(&mut waiting);
        }
        waves.push(now.into_iter().map(|one| one.name).collect());
    }
    waves
}

struct Waiting {
    name: String,
    id: Option<ContainerId>,
    /// Whose namespaces it joins.
    donors: Vec<ContainerId>,
}

impl Waiting {
    fn find(containers: &Containers, name: &str) -> Self {
        let id = |dir: &Dir| ContainerId::parse(dir.id());
        let dir = containers.find(name).ok();
        let record = dir.as_ref().and_then(|dir| dir.record().ok());
        let modes = record.iter().flat_map(|record| {
            let config = &record.host_config;
            [&record.network.network, &config.pid_mode, &config.ipc_mode]
        });
        let donors = modes.filter_map(|mode| mode.strip_prefix("container:"));
        let donors = donors.filter_map(|donor| id(&containers.find(donor).ok()?)).collect();
        Self { name: name.to_owned(), id: dir.as_ref().and_then(id), donors }
    }
}
