use super::*;

#[test]
fn a_snapshots_name_cannot_leave_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(directory.path()).unwrap();
    for name in ["", ".", "..", "a/b", "../x", ".hidden", "a\0b", "a b"] {
        assert!(matches!(snapshots.remove(name), Err(Error::Name(_))), "{name:?}");
    }
}

#[test]
fn a_layer_that_is_not_unpacked_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(directory.path()).unwrap();
    let chain = ChainId::from(bundle::digest::Digest::of(b"layer"));
    let error =
        snapshots.prepare(std::slice::from_ref(&chain), "c1", &Owners::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("layer `{chain}` is not unpacked"));
    assert_eq!(entries(&directory.path().join(ACTIVE)).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_container_has_one_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(directory.path()).unwrap();
    snapshots.prepare(&[], "c1", &Owners::default()).unwrap();
    assert!(matches!(snapshots.prepare(&[], "c1", &Owners::default()), Err(Error::Exists(_))));
    snapshots.remove("c1").unwrap();
    snapshots.prepare(&[], "c1", &Owners::default()).unwrap();
}

#[test]
fn snapshots_below_an_active_one_are_not_collected() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(directory.path()).unwrap();
    let chains: Vec<ChainId> = [b"a", b"b"].map(|c| bundle::digest::Digest::of(c).into()).to_vec();
    for chain in &chains {
        let staged = directory.path().join("active/staged");
        fs::create_dir_all(staged.join(FILES)).unwrap();
        Snapshots::describe(&staged, &LayerRecord::default()).unwrap();
        snapshots.commit(&staged, chain).unwrap();
    }
    snapshots.prepare(&chains[..1], "c1", &Owners::default()).unwrap();
    let record = directory.path().join("active/c1").join(CHAIN);
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "").unwrap();
    assert_eq!(snapshots.collect(&|_| false).unwrap(), 0);
    assert!(chains.iter().all(|chain| snapshots.contains(chain)), "it may stand on any");
    fs::write(&record, whole).unwrap();
    snapshots.collect(&|_| false).unwrap();
    assert!(snapshots.contains(&chains[0]));
    assert!(!snapshots.contains(&chains[1]));
}

#[test]
fn a_tree_is_removed_with_what_comes_into_it_meanwhile_and_one_that_is_gone_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                let _ = fs::write(tree.join("lock"), "");
                std::thread::yield_now();
            }
        });
        remove_tree(&tree).unwrap();
    });
    assert!(!tree.exists());
    remove_tree(&tree).unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = remove_tree(&file).unwrap_err().to_string();
    assert_eq!(refused, format!("cannot remove `{}`: not a directory", file.display()));
}
