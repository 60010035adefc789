//! `nman __complete`: what the completion scripts call, with the names of what there is.

use crate::cli::completion::{Candidate, Proposal, Subject, propose};
use crate::container::Containers;
use crate::error::Result;
use crate::network::definition;
use crate::settings::Settings;
use crate::store::Store;
use clap::Command;

/// One line for each word that could come: the word, a tab and what it means; or `:files` and `:directories`.
pub fn complete(settings: &Settings, mut root: Command, words: &[String]) -> String {
    root.build();
    let Proposal { mut candidates, subject, begun, before } = propose(&root, words);
    match subject {
        Some(Subject::File) => return ":files\n".to_owned(),
        Some(Subject::Directory) => return ":directories\n".to_owned(),
        // A name that cannot be found out is not completed; there is nobody to tell.
        Some(subject) => candidates.extend(
            names(settings, subject)
                .unwrap_or_default()
                .into_iter()
                .filter(|name| name.word.starts_with(&begun))
                .map(|name| Candidate { word: format!("{before}{}", name.word), ..name }),
        ),
        None => {}
    }
    let line = |Candidate { word, help }: &Candidate| match help.is_empty() {
        true => format!("{word}\n"),
        false => format!("{word}\t{help}\n"),
    };
    candidates.iter().map(line).collect()
}

fn names(settings: &Settings, subject: Subject) -> Result<Vec<Candidate>> {
    let plain = |word: String| Candidate { word, help: String::new() };
    Ok(match subject {
        Subject::Container => Containers::open(&settings.containers())?
            .list()?
            .into_iter()
            .map(|(record, state)| Candidate {
                word: record.name.to_string(),
                help: format!("{}, {}", record.image.name, state.sentence()),
            })
            .collect(),
        Subject::Image => {
            let images = Store::open(&settings.root)?.list()?;
            let names = images.iter().flat_map(|image| &image.names);
            // The name of a list stands for one of its images.
            let lists = self::names(settings, Subject::List)?;
            names.map(|name| plain(name.to_string())).chain(lists).collect()
        }
        Subject::List => Store::open(&settings.root)?
            .lists()?
            .iter()
            .flat_map(|list| &list.names)
            .map(|name| plain(name.to_string()))
            .collect(),
        Subject::Object => {
            let mut all = names(settings, Subject::Container)?;
            all.extend(names(settings, Subject::Image)?);
            all
        }
        Subject::Network => {
            let mut all = vec![plain("host".to_owned()), plain("none".to_owned())];
            let own = definition::list(&settings.root)?;
            all.extend(own.iter().map(|network| plain(network.name.to_string())));
            all
        }
        Subject::Volume => std::fs::read_dir(settings.volumes())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(plain)
            .collect(),
        Subject::File | Subject::Directory => Vec::new(),
    })
}
