//! Several processes on one segment: what one makes the others find, and may change.

use std::process::Command;

use psm_tests::{Board, Pair, Process, file, name};
use psmalloc::{Segment, SharedCell};

fn member(name: &str) -> (Process, Vec<u64>) {
    let mut process = Process::start(&mut Command::new(env!("CARGO_BIN_EXE_member")));
    let places = process.ask(&format!("open {name}"));
    (process, places)
}

fn segment(mebibytes: usize) -> Segment {
    Segment::options().size(mebibytes << 20).exclusive(true).open(&name()).unwrap()
}

#[test]
fn two_processes_have_one_address_and_one_map() {
    let segment = segment(4);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let (mut other, places) = member(segment.name());
        assert_eq!(places[0], segment.base().addr() as u64);
        assert_eq!(other.ask("count 10 1000"), [1000]);
        {
            let (mut words, _) = board.words(s).unwrap();
            assert_eq!((words.len(), words.get("word 3")), (10, Some(&100)));
            *words.get_mut("word 3").unwrap() = 1;
            words.remove("word 4").unwrap(); // the other process allocated it
        }
        assert_eq!(other.ask("sum"), [801]);
        other.end();
        assert_eq!(board.words(s).unwrap().0.len(), 9, "the maker is gone, what it made stays");
    });
    segment.check().unwrap();
    let file = file(segment.name());
    drop(segment);
    assert!(!file.exists());
}

#[test]
fn four_processes_count_together_and_read_without_a_lock() {
    let segment = segment(16);
    let mut others: Vec<Process> = (0..4).map(|_| member(segment.name()).0).collect();
    for other in &mut others {
        other.send("count 97 20000");
    }
    for other in &mut others {
        assert_eq!(other.receive(), [20_000]);
    }
    assert_eq!(others[0].ask("sum"), [80_000]);
    assert_eq!(segment.members().unwrap().len(), 5);

    // All of them at once: one makes the table, the others find it.
    for other in &mut others {
        other.send("publish 5000");
    }
    for other in &mut others {
        assert_eq!(other.receive(), [5000]);
    }
    for other in &mut others {
        other.send("look-up 5000");
    }
    for other in &mut others {
        assert_eq!(other.receive(), [5000, 0]);
    }
    for other in others {
        other.end();
    }
    assert_eq!(segment.members().unwrap().len(), 1);
    segment.check().unwrap();
}

#[test]
fn processes_that_race_for_the_root_find_one() {
    for _ in 0..10 {
        let segment = segment(4);
        let mut others: Vec<Process> = (0..4).map(|_| member(segment.name()).0).collect();
        for other in &mut others {
            other.send("count 1 10");
        }
        for other in &mut others {
            other.receive();
        }
        assert_eq!(others[0].ask("sum"), [40]);
        drop(others);
    }
}

/// An empty `hashbrown` map points to a constant of the program that made it. These processes have
/// their constants at different addresses, and use each other's empty maps.
#[test]
fn an_empty_map_of_one_process_serves_another() {
    let segment = segment(4);
    segment.enter(|s| {
        let (mut one, first) = member(segment.name());
        let (mut other, second) = member(segment.name());
        assert_ne!(first[1], second[1], "the constants lie at different places");
        let board = Board::of(s).unwrap();
        for _ in 0..3 {
            for process in [&mut one, &mut other] {
                process.ask("empty-make");
                assert_eq!(board.empty.lock(s).unwrap().get(&1), None);
            }
            for process in [&mut other, &mut one] {
                assert_eq!(process.ask("empty-use"), [0, 0, 1]);
                assert!(board.empty.lock(s).unwrap().is_empty());
            }
        }
        one.end();
        other.end();
        // The makers are gone; the table is in the segment.
        assert_eq!(board.empty.lock(s).unwrap().insert(1, 1).unwrap(), None);
    });
    segment.check().unwrap();
}

#[test]
fn a_process_with_another_layout_gets_an_error() {
    let segment = segment(4);
    segment.enter(|s| {
        Board::of(s).unwrap();
        let (mut other, _) = member(segment.name());
        assert_eq!(other.ask("other-layout"), [1]);
        assert_eq!(other.ask("root"), [1]);
        other.end();
    });
}

#[test]
fn cells_do_not_tear_below_eight_bytes_and_readers_only_copy() {
    let segment = segment(4);
    segment.enter(|s| {
        let root = s.root_or_init(|| SharedCell::new(Pair { one: 7, other: !7 })).unwrap();
        let mut reader = Process::start(&mut Command::new(env!("CARGO_BIN_EXE_member")));
        reader.ask(&format!("open {} read-only", segment.name()));
        assert_eq!(reader.ask("copy"), [7, 1, 1]);
        root.set(Pair { one: 8, other: !8 });
        assert_eq!(reader.ask("copy"), [8, 1, 1]);
        reader.end();
    });
    let segment = self::segment(4);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let (mut writer, _) = member(segment.name());
        writer.send("cell 300000");
        let mut last = 0;
        for _ in 0..300_000 {
            let seen = board.cell.get().one;
            assert!(seen >= last && seen < 300_000, "each half is one that was written, in order");
            last = seen;
        }
        assert_eq!(writer.receive(), [299_999]);
        writer.end();
    });
}

#[test]
fn a_child_by_fork_is_a_member() {
    let segment = segment(4);
    let (mut other, _) = member(segment.name());
    // The child succeeded, two are left of three, and the third is known to have died.
    assert_eq!(other.ask("fork"), [0, 2, 1]);
    assert_eq!(other.ask("sum"), [2000]);
    other.end();
    segment.check().unwrap();
}

#[test]
fn what_only_an_ended_process_knew_stays_allocated() {
    let segment = segment(4);
    segment.enter(|s| {
        Board::of(s).unwrap();
    });
    let before = segment.stat().unwrap().blocks;
    let (mut other, _) = member(segment.name());
    other.ask("leak");
    other.send("exit");
    other.end();
    segment.reap().unwrap();
    assert_eq!(segment.stat().unwrap().blocks, before + 1);
    assert_eq!(segment.members().unwrap().len(), 1);
    let dead = segment.deaths(&mut 0).unwrap();
    assert_eq!(dead.len(), 1, "who exits without leaving counts as dead");
}
