//! One piece of work for each of the names on a command line, side by side.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many at a time: most of them only wait.
const AT_ONCE: usize = 32;

/// Does the work for every name, on threads of their own where there are several. Returns what it returned, and what
/// went wrong, in the order of the names.
///
/// A thread of its own also is what a start needs: it makes a mount namespace, and the next must not inherit it.
pub fn each(
    names: &[String],
    work: impl Fn(&str) -> Result<Option<String>> + Sync,
) -> (Vec<String>, Vec<Error>) {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for result in results(names, &work) {
        match result {
            Ok(line) => done.extend(line),
            Err(error) => errors.push(error),
        }
    }
    (done, errors)
}

fn results<T: Send>(names: &[String], work: &(impl Fn(&str) -> T + Sync)) -> Vec<T> {
    if let [name] = names {
        return vec![work(name)];
    }
    let next = AtomicUsize::new(0);
    let finished = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(at) else { break };
                    let result = work(name);
                    finished.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    finished.sort_by_key(|(at, _)| *at);
    finished.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_names_and_an_error_stops_nobody() {
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let (done, errors) = each(&names, |name| match name {
            "7" => Err(Error::NoSuchContainer(name.to_owned())),
            "8" => Ok(None),
            name => Ok(Some(name.to_owned())),
        });
        let expected: Vec<&String> = names.iter().filter(|n| *n != "7" && *n != "8").collect();
        assert_eq!(done.iter().collect::<Vec<_>>(), expected);
        assert_eq!(errors.len(), 1);
    }
}
