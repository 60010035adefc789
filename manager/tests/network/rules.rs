//! The table as `nft` reads it: a golden copy, so that a change of a rule is seen in review.

use crate::world::{HOST, World, converse, output, run, to};

#[test]
fn the_table_is_exactly_this() {
    let world = World::new();
    let _container = world.connect(&["8080:80", "127.0.0.1:5353:53/udp"]);
    assert_eq!(output("nft list table ip nman"), include_str!("table.nft"));
}

#[test]
fn a_table_that_was_saved_and_loaded_by_nft_still_works() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let server = container.serve(80);
    let saved = world.root.path().join("saved.nft");
    let before = output("nft list ruleset");
    std::fs::write(&saved, &before).unwrap();
    run("nft flush ruleset");
    run(&format!("nft -f {}", saved.display()));
    assert_eq!(output("nft list ruleset"), before);
    converse(Some(&world.outside), to(HOST, 8080), &server);
    // And is still ours to change.
    let another = world.connect(&["8081:80"]);
    another.disconnect(&world);
    assert_eq!(output("nft list ruleset"), before);
}
