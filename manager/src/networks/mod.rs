//! `nman network`: networks as objects that are made, listed, shown and removed.

mod create;
mod filter;
mod inspect;
mod list;
mod reload;
mod remove;

pub use create::create;
pub use inspect::inspect;
pub(crate) use inspect::one as object;
pub use list::list;
pub use reload::reload;
pub use remove::{Prune, rm};

use crate::container::{ContainerId, Containers};
use crate::network::NetworkPlan;
use crate::settings::Settings;

/// What a connected container is called now: it may have been renamed.
fn name_of(settings: &Settings, plan: &NetworkPlan) -> String {
    let record = |id: &ContainerId| {
        Containers::open(&settings.containers()).and_then(|all| all.dir(id).record())
    };
    record(&plan.container).map_or(plan.container_name.clone(), |record| record.name.to_string())
}
