//! SIGKILL under load: the survivors go on, see the death, repair, and nothing is lost.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use psm_tests::{Board, Process, Random, SLOTS, name};
use psmalloc::{Error, LockError, Segment};

fn member(name: &str) -> Process {
    let mut process = Process::start(&mut Command::new(env!("CARGO_BIN_EXE_member")));
    process.ask(&format!("open {name}"));
    process
}

fn segment(mebibytes: usize) -> Segment {
    Segment::options().size(mebibytes << 20).exclusive(true).open(&name()).unwrap()
}

/// Waits until the board has had so many more changes, by whoever makes them.
fn wait_for_changes(board: &Board<'_>, more: u64) {
    let from = board.changes.load(Ordering::Relaxed);
    while board.changes.load(Ordering::Relaxed) < from + more {
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn an_owner_that_is_killed_leaves_an_orphan_until_it_is_repaired() {
    let segment = segment(4);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let mut owner = member(segment.name());
        owner.ask("count 5 50");
        owner.ask("hold");
        owner.kill();

        // Who does not repair it passes it on, and so does this process's other lock.
        for _ in 0..3 {
            let error = Error::from(board.words.lock(s).unwrap_err());
            assert!(matches!(&error, Error::OwnerDied(_)), "{error}");
        }
        let mut other = member(segment.name());
        assert_eq!(other.ask("sum"), [0], "it put an empty map there");
        assert!(board.words.lock(s).unwrap().is_empty());

        let Err(LockError::OwnerDied(orphan)) = board.pair.lock(s) else {
            panic!("nobody repaired it")
        };
        // SAFETY: two numbers are sound in any state.
        let pair = unsafe { orphan.as_ptr().read() };
        assert_eq!((pair.one, pair.other), (1, !0), "it was killed in between");
        drop(orphan);
        assert_eq!(*board.pair(s).unwrap().0, psm_tests::Pair { one: 1, other: !1 });
        assert!(!board.pair(s).unwrap().1, "it is repaired once");
        other.end();
    });
    segment.check().unwrap();
}

#[test]
fn members_are_killed_under_load_and_survivors_go_on() {
    let segment = segment(64);
    let mut random = Random(2026);
    let kills = 30;
    let deaths_seen = segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let mut survivor = member(segment.name());
        let mut victims: Vec<Process> = (0..2).map(|_| member(segment.name())).collect();
        for victim in &mut victims {
            victim.send("load 1000000000");
        }
        let mut seen = 0;
        for turn in 0..kills {
            wait_for_changes(board, 200 + random.draw() % 500);
            victims[turn % 2].kill();
            // Another process goes on, and so does this one, with the other victim still at it.
            seen += survivor.ask("load 300")[0];
            let (pair, repaired) = board.pair(s).unwrap();
            assert_eq!(pair.other, !pair.one);
            seen += u64::from(repaired);
            drop(pair);
            let (words, replaced) = board.words(s).unwrap();
            assert!(words.iter().all(|(word, times)| word.starts_with("word ") && *times > 0));
            seen += u64::from(replaced);
            drop(words);
            segment.check().unwrap();
            victims[turn % 2] = member(segment.name());
            victims[turn % 2].send("load 1000000000");
        }
        for victim in &mut victims {
            victim.kill();
        }
        drop(board.pair(s).unwrap());
        drop(board.words(s).unwrap());
        survivor.end();
        seen
    });
    println!("{deaths_seen} of {kills} deaths were within a lock and not yet dealt with");
    segment.reap().unwrap();
    segment.check().unwrap();
    assert_eq!(segment.members().unwrap().len(), 1);
}

#[test]
fn publication_loses_no_block_however_it_is_killed() {
    let segment = segment(16);
    let mut random = Random(7);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let before = segment.stat().unwrap().blocks;
        let mut killed = 0;
        while board.slots[SLOTS - 100].get().is_none() {
            let mut victims: Vec<Process> = (0..2).map(|_| member(segment.name())).collect();
            for victim in &mut victims {
                victim.send(&format!("slots {SLOTS}"));
            }
            let published = board.slots.iter().take_while(|slot| slot.get().is_some()).count();
            let until = published + (random.draw() % 60) as usize;
            while board.slots[until.min(SLOTS - 1)].get().is_none() {
                std::hint::spin_loop();
            }
            for victim in &mut victims {
                victim.kill();
                killed += 1;
            }
        }
        assert!(killed > 0);
        // Whoever comes next publishes the rest, into the blocks that are there.
        let mut survivor = member(segment.name());
        let sum: u64 = (0..SLOTS as u64).map(|number| 8 * number).sum();
        assert_eq!(survivor.ask(&format!("slots {SLOTS}")), [sum]);
        survivor.end();
        segment.reap().unwrap();
        assert_eq!(segment.stat().unwrap().blocks, before + SLOTS as u64, "{killed} kills");
        println!("{killed} processes were killed");
    });
    segment.check().unwrap();
}
