//! `nman history`: the steps by which an image was made.

use crate::cli::HistoryArgs;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::image;
use crate::listing::{Column, List, ListArgs, Row, human_size};
use crate::settings::Settings;
use crate::store::{Image, Store};
use crate::table::{plain, shorten};

const LIST: List = List {
    columns: &[
        Column::new("ID", "IMAGE"),
        Column::new("CreatedSince", "CREATED"),
        Column::new("CreatedAt", "CREATED AT"),
        Column::new("CreatedBy", "CREATED BY"),
        Column::new("Size", "SIZE"),
        Column::new("Comment", "COMMENT"),
    ],
    table: &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
    quiet: "ID",
    filters: &[],
};

/// With `--human=false`, when instead of how long ago.
const EXACT: [&str; 5] = ["ID", "CreatedAt", "CreatedBy", "Size", "Comment"];

/// As much of a command as is shown.
const SHORT: usize = 45;

/// The list as text, the newest step first.
pub fn history(settings: &Settings, args: &HistoryArgs) -> Result<String> {
    let list = ListArgs {
        format: args.format.clone(),
        no_trunc: args.no_trunc,
        quiet: args.quiet,
        ..ListArgs::default()
    };
    let view = if args.human { LIST.view(&list)? } else { LIST.view_of(&list, &EXACT)? };
    let store = Store::open(&settings.root)?;
    let image = image::find(&store, &args.image, args.platform.as_ref())?;
    let mut rows = steps(&store, &image, args);
    rows.reverse();
    view.render(&rows)
}

/// The steps in the order in which they were made; those that made a layer have its size.
fn steps(store: &Store, image: &Image, args: &HistoryArgs) -> Vec<Row> {
    let mut sizes = image.chain_ids.iter().zip(&image.layers).map(|(chain, layer)| {
        store.snapshots().record(chain).map_or_else(|_| layer.size(), |record| record.size)
    });
    let history = image.config.history().clone().unwrap_or_default();
    let last = history.len().saturating_sub(1);
    let steps = history.iter().enumerate().map(|(at, step)| {
        let made_layer = !step.empty_layer().unwrap_or(false);
        let size = if made_layer { sizes.next().unwrap_or(0) } else { 0 };
        let time = step.created().as_deref().and_then(Timestamp::parse_known);
        // An image that was made here says of itself what the same content always says.
        let time = image.made.filter(|_| at == last).or(time);
        let by = plain(step.created_by().as_deref().unwrap_or_default()).replace('\t', " ");
        let id = match (at == last, args.no_trunc) {
            (true, true) => image.id.to_string(),
            (true, false) => image.id.short().to_owned(),
            (false, _) => "<missing>".to_owned(),
        };
        let at = time.map_or_else(|| "N/A".to_owned(), |time| time.to_string());
        Row::new([("ID", id), ("CreatedAt", at)])
            .with("CreatedSince", super::since(time))
            .with("CreatedBy", if args.no_trunc { by } else { shorten(&by, SHORT) })
            .with("Size", if args.human { human_size(size) } else { size.to_string() })
            .with("Comment", step.comment().clone().unwrap_or_default())
    });
    steps.collect()
}
