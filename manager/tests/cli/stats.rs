//! `nman stats` on a terminal, where it draws its table anew every second.

use super::screen::Screen;
use super::world::World;
use std::os::unix::process::ExitStatusExt as _;

const HEAD: &str =
    "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS";

/// The names in the next table that is drawn, one or more of them; what else it must have is looked at.
#[track_caller]
fn next_names(screen: &mut Screen) -> Vec<String> {
    let frame = screen.up_to("\x1b[J");
    // It begins in the corner, and whatever stood in a line or below it is cleared.
    let table = frame.strip_prefix("\x1b[H").unwrap_or_else(|| panic!("{frame:?}"));
    let lines: Vec<&str> = table.split_terminator("\r\n").collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_suffix("\x1b[K").unwrap()).collect();
    assert_eq!(lines[0].trim_end(), HEAD, "{frame:?}");
    let name = |line: &&str| line.split_whitespace().nth(1).unwrap().to_owned();
    lines[1..].iter().map(name).collect()
}

#[test]
fn a_table_is_drawn_anew_with_who_has_come_and_without_who_has_gone_until_it_is_interrupted() {
    let world = World::new();
    world.run(&["-d", "--name", "early"], &["sleep", "1000"]).ok();
    let mut screen = Screen::open_controlled(&world, &["stats"]);
    assert_eq!(next_names(&mut screen), ["early"]);
    world.run(&["-d", "--name", "late"], &["sleep", "1000"]).ok();
    // A table may have been begun before that.
    while next_names(&mut screen) != ["late", "early"] {}
    world.nman(["rm", "-f", "early"]).ok();
    while next_names(&mut screen) != ["late"] {}
    world.nman(["kill", "late"]).ok();
    while !next_names(&mut screen).is_empty() {}
    screen.type_in("\x03");
    assert_eq!(screen.child.wait().unwrap().signal(), Some(2));
    world.nman(["rm", "late"]).ok();
    world.assert_no_container();
}

#[test]
fn who_asks_for_one_container_sees_it_alone_and_no_more_when_it_is_removed() {
    let world = World::new();
    world.run(&["-d", "--name", "other"], &["sleep", "1000"]).ok();
    world.run(&["-d", "--rm", "--name", "asked"], &["sleep", "1000"]).ok();
    let mut screen = Screen::open_controlled(&world, &["stats", "asked"]);
    assert_eq!(next_names(&mut screen), ["asked"]);
    world.nman(["kill", "asked"]).ok();
    while !next_names(&mut screen).is_empty() {}
    assert_eq!(screen.code(), Some(0));
    world.nman(["rm", "-f", "other"]).ok();
    world.assert_no_container();
}
