use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

fn record(id: u64) -> Record {
    let (mut record, _) = crate::bundle::tests::record(&["image", "true"], "{}").unwrap();
    record.id = ContainerId::parse(&format!("{id:064x}")).unwrap();
    record.name = ContainerName::parse(&format!("name_{id}")).unwrap();
    record
}

fn entries(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn whoever_lists_sees_a_container_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let records: Vec<Record> = (0..300).map(record).collect();
    let done = AtomicBool::new(false);
    let come_and_go = |record: &Record| {
        let (dir, _guard) = containers.reserve(record)?;
        (0..20).try_for_each(|n| dir.write(&format!("file{n}"), &n))?;
        containers.hide(&record.id)?;
        containers.discard(&record.id)
    };
    let list = || {
        while !done.load(Ordering::Relaxed) {
            containers.list()?;
        }
        Ok::<(), Error>(())
    };
    // Nor does whoever looks for what was left keep one from going.
    let take_stock = || {
        while !done.load(Ordering::Relaxed) {
            containers.census()?;
            drop(containers.cut_short());
        }
        Ok::<(), Error>(())
    };
    std::thread::scope(|scope| {
        let (lister, census) = (scope.spawn(list), scope.spawn(take_stock));
        let removed = records.iter().try_for_each(come_and_go);
        done.store(true, Ordering::Relaxed);
        removed.unwrap();
        lister.join().unwrap().unwrap();
        census.join().unwrap().unwrap();
    });
}

#[test]
fn what_a_killed_remover_has_hidden_is_found_by_who_removes_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (dir, guard) = containers.reserve(&record(1)).unwrap();
    let hidden = containers.hidden(&record(1).id);
    fs::rename(dir.path(), hidden.path()).unwrap();
    // For as long as its remover lives, it is the remover's, and what it has is not nobody's.
    assert!(containers.cut_short().is_empty());
    assert_eq!(containers.census().unwrap().left, [""; 0].map(PathBuf::from));
    drop(guard);
    let name = root.path().join("names/name_1");
    assert_eq!(containers.census().unwrap().left, [name, hidden.path().to_owned()]);
    let cut = containers.cut_short();
    assert_eq!(
        cut.iter().map(|(id, dir, _)| (id, dir)).collect::<Vec<_>>(),
        [(&record(1).id, &hidden)]
    );
    // Once, whoever comes first.
    assert!(containers.cut_short().is_empty());
    containers.discard(&record(1).id).unwrap();
    assert!(!hidden.path().exists());
    assert_eq!(entries(&root.path().join("names")), [""; 0]);
}

#[test]
fn what_was_removed_since_it_was_found_is_no_such_container() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (dir, _guard) = containers.reserve(&record(1)).unwrap();
    let found = containers.find("name_1").unwrap();
    assert_eq!(found, dir);
    containers.hide(&record(1).id).unwrap();
    containers.discard(&record(1).id).unwrap();
    assert!(matches!(found.record(), Err(Error::NoSuchContainer(_))));
    assert!(matches!(found.state(), Err(Error::NoSuchContainer(_))));
    assert_eq!(entries(&root.path().join("names")), [""; 0]);
    assert!(
        entries(root.path())
            .iter()
            .all(|name| matches!(name.as_str(), "names" | "lock" | "unfinished"))
    );
    assert_eq!(entries(&root.path().join("unfinished")), [""; 0]);
}

#[test]
fn a_name_that_a_killed_rename_has_left_keeps_neither_its_container_nor_another_from_it() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (dir, _guard) = containers.reserve(&record(1)).unwrap();
    let new = ContainerName::parse("new").unwrap();
    let link = root.path().join("names/new");
    std::os::unix::fs::symlink(record(1).id.as_str(), &link).unwrap();
    containers.rename(&dir, &new).unwrap();
    assert_eq!(dir.record().unwrap().name, new);
    assert_eq!(entries(&root.path().join("names")), ["new"]);
    // Two at once with the same name.
    containers.rename(&dir, &new).unwrap();
    assert_eq!(entries(&root.path().join("names")), ["new"]);

    std::os::unix::fs::symlink(record(1).id.as_str(), root.path().join("names/name_2")).unwrap();
    let (other, _guard) = containers.reserve(&record(2)).unwrap();
    assert_eq!(containers.find("name_2").unwrap(), other);
    // What is somebody's stays, also if its record does not read back.
    assert!(matches!(containers.rename(&other, &new), Err(Error::NameTaken { .. })));
    fs::write(dir.join("container.json"), "").unwrap();
    assert!(matches!(containers.rename(&other, &new), Err(Error::NameTaken { .. })));
}

#[test]
fn who_was_killed_while_it_made_a_container_is_told_from_who_has_finished_it() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let unfinished = || -> Vec<String> {
        containers.unfinished().iter().map(|(dir, _)| dir.id().to_owned()).collect()
    };
    let (_, made) = containers.reserve(&record(1)).unwrap();
    let (_, cut) = containers.reserve(&record(2)).unwrap();
    let (run, has_run) = containers.reserve(&record(3)).unwrap();
    // Whoever makes it is at work.
    assert_eq!(unfinished(), [""; 0]);
    containers.finished(&record(1).id).unwrap();
    run.set_state(&State { status: Status::Exited, ..State::created() }).unwrap();
    drop((made, cut, has_run));
    assert_eq!(unfinished(), [record(2).id.as_str()]);
    // A note without a container is nobody's.
    let stray = root.path().join("unfinished").join(record(4).id.as_str());
    fs::write(&stray, "").unwrap();
    assert_eq!(unfinished(), [record(2).id.as_str()]);
    drop(containers.reserve(&record(5)).unwrap());
    assert!(!stray.exists());
}

#[test]
fn a_record_that_does_not_read_back_is_left_out_and_told_and_keeps_what_is_its_own() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (whole, _guard) = containers.reserve(&record(1)).unwrap();
    let (wreck, guard) = containers.reserve(&record(2)).unwrap();
    drop(guard);
    for content in ["", "{\"id\":", "{}"] {
        fs::write(wreck.join("container.json"), content).unwrap();
        let listed = containers.list().unwrap();
        assert_eq!(
            listed.iter().map(|(record, _)| &record.id).collect::<Vec<_>>(),
            [&record(1).id]
        );
        assert_eq!(containers.unreadable().unwrap(), [record(2).id]);
        let told = notice::take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(wreck.path().to_str().unwrap()), "{told:?}");
        assert!(told[0].contains("`nman rm -f 000000000000`"), "{told:?}");
        // What a newer `nman` may have written is no wreck.
        assert_eq!(wreck.record().unwrap_err().is_wreck(), content != "{}");
    }
    fs::remove_file(wreck.join("container.json")).unwrap();
    assert_eq!(containers.unreadable().unwrap(), [record(2).id]);
    assert_eq!(containers.find("name_2").unwrap(), wreck);
    assert!(whole.state_damage().is_none());
}

#[test]
fn a_state_that_does_not_read_back_is_unknown_until_it_is_written_anew() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (dir, guard) = containers.reserve(&record(1)).unwrap();
    fs::write(dir.join("state.json"), "").unwrap();
    assert_eq!(dir.state().unwrap().status, Status::Running, "somebody holds it");
    drop(guard);
    assert_eq!(dir.state().unwrap().status, Status::Exited);
    assert_eq!(containers.list().unwrap().len(), 1);
    assert!(notice::take()[0].contains("the state of container `name_1` is not known"));
    dir.set_state(&State::unknown(false)).unwrap();
    assert!(dir.state_damage().is_none());
}

#[test]
fn a_whole_id_is_that_containers_although_another_has_it_for_a_name() {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    let (dir, _guard) = containers.reserve(&record(1)).unwrap();
    let mut named = record(2);
    named.name = ContainerName::parse(record(1).id.as_str()).unwrap();
    let (other, _guard) = containers.reserve(&named).unwrap();
    assert_eq!(containers.find(record(1).id.as_str()).unwrap(), dir);
    // Once that is gone, it is a name as any other.
    fs::rename(dir.path(), root.path().join("gone")).unwrap();
    assert_eq!(containers.find(record(1).id.as_str()).unwrap(), other);
}
