//! SIGKILL under load: the survivors go on, see the death, repair, and nothing is lost.

use std::io;
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
    const KILLS: usize = 30;
    let segment = segment(64);
    let mut random = Random(2026);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let mut survivor = member(segment.name());
        let victim = || {
            let mut victim = member(segment.name());
            victim.send("load 1000000000");
            victim
        };
        let mut victims = [victim(), victim()];
        let mut kills = 0;
        // Some deaths are within a lock; it goes on until there were a few.
        while kills < KILLS || (board.deaths.load(Ordering::Relaxed) < 3 && kills < 20 * KILLS) {
            wait_for_changes(board, 200 + random.draw() % 500);
            victims[kills % 2].kill();
            // Another process goes on, and so does this one, with the other victim still at it.
            survivor.ask("load 300");
            let (pair, _) = board.pair(s).unwrap();
            assert_eq!(pair.other, !pair.one);
            drop(pair);
            let (words, _) = board.words(s).unwrap();
            assert!(words.iter().all(|(word, times)| word.starts_with("word ") && *times > 0));
            drop(words);
            segment.check().unwrap();
            victims[kills % 2] = victim();
            kills += 1;
        }
        victims.iter_mut().for_each(Process::kill);
        drop(board.pair(s).unwrap());
        drop(board.words(s).unwrap());
        survivor.end();
        let deaths = board.deaths.load(Ordering::Relaxed);
        println!("{deaths} of {} deaths were within a lock", kills + 2);
        assert!(deaths >= 3);
    });
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
        let (mut killed, mut published) = (0, 0);
        while published < SLOTS - 100 {
            let mut victims = [member(segment.name()), member(segment.name())];
            for victim in &mut victims {
                victim.send(&format!("slots {}", published + 100));
            }
            while board.slots[published].get().is_none() {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_micros(random.draw() % 100));
            victims.iter_mut().for_each(Process::kill);
            killed += victims.len();
            published = board.slots.iter().take_while(|slot| slot.get().is_some()).count();
        }
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

/// A process that another one steps, instruction by instruction.
struct Traced<'p>(&'p mut Process);

impl Traced<'_> {
    fn request(&self, request: libc::c_uint) -> io::Result<()> {
        // SAFETY: these requests take no memory of this process.
        match unsafe { libc::ptrace(request, self.0.id(), 0, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// The signal at which it stopped.
    fn stopped(&self) -> i32 {
        let mut status = 0;
        // SAFETY: it is a child, and `status` is valid for the call.
        let pid = unsafe { libc::waitpid(self.0.id() as i32, &mut status, 0) };
        assert!(pid > 0 && libc::WIFSTOPPED(status), "it stops, and does not end: {status:#x}");
        libc::WSTOPSIG(status)
    }

    /// Executes one instruction; false at the second of the two stops.
    fn step(&self) -> bool {
        self.request(libc::PTRACE_SINGLESTEP).unwrap();
        self.stopped() != libc::SIGSTOP
    }
}

/// A publisher is stepped until it has changed what others see so many times, and a few
/// instructions further; then it is killed. The survivor publishes, and no block is missing.
#[test]
fn publication_loses_no_block_at_any_change_of_what_others_see() {
    let segment = segment(4);
    segment.enter(|s| {
        let board = Board::of(s).unwrap();
        let mut number = 0;
        for further in [0, 1, 3, 10, 50, 200] {
            for changes in 1.. {
                let before = segment.stat().unwrap().blocks;
                let slot = &board.slots[number];
                let mut victim = member(segment.name());
                let traced = Traced(&mut victim);
                if let Err(error) = traced.request(libc::PTRACE_SEIZE) {
                    println!("skipped: no process may be traced here: {error}");
                    return;
                }
                traced.0.send(&format!("publish-stepped {number}"));
                assert_eq!(traced.stopped(), libc::SIGSTOP);
                let seen = || (segment.stat().unwrap().blocks, slot.get().is_some());
                let (mut last, mut changed) = (seen(), 0);
                while changed < changes && traced.step() {
                    changed += i32::from(seen() != last);
                    last = seen();
                }
                let killed = changed == changes && (0..further).all(|_| traced.step());
                victim.kill();
                slot.get_or_init(s, || [number as u64; 8]).unwrap();
                segment.reap().unwrap();
                let after = segment.stat().unwrap().blocks;
                assert_eq!(after, before + 1, "killed {further} after change {changes}");
                number += 1;
                if !killed {
                    assert!(changes > 2, "a block appears, and a value");
                    break;
                }
            }
        }
        println!("{number} publishers were killed");
    });
    segment.check().unwrap();
}
