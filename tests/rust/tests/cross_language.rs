//! Rust shares a segment with C and Python: each reads, changes and frees what another built.
//! The peers of the other languages are those of the Python tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use psm_tests::{Process, compile, file, name, python, root};
use psmalloc::{HashMap, Segment, Shareable, String, Vec};

const SIZE: usize = 16 << 20;

fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

fn c_peer() -> &'static PathBuf {
    static PEER: OnceLock<PathBuf> = OnceLock::new();
    PEER.get_or_init(|| compile(&root().join("tests/python/peer.c"), &program("peer")))
}

/// A peer; `None` if this machine has no Python for it.
fn peer(language: &str) -> Option<Process> {
    let mut command = match language {
        "rust" => Command::new(env!("CARGO_BIN_EXE_peer")),
        "c" => Command::new(c_peer()),
        _ => {
            let mut command = Command::new(&*python()?);
            command.arg(root().join("tests/python/peer.py"));
            command
        }
    };
    Some(Process::start(&mut command))
}

fn close(mut peer: Process) {
    peer.ask("close");
    peer.end();
}

fn letters(texts: impl Iterator<Item = std::string::String>) -> u64 {
    texts.flat_map(|text| text.into_bytes()).map(u64::from).sum()
}

fn expected(count: u64) -> [u64; 3] {
    [count, (0..count).sum(), letters((0..count).map(|number| format!("w{number}")))]
}

/// Each bucket is newest first; every second word of it has been doubled.
fn expected_after_change(count: u64) -> u64 {
    let bucket = |first: u64| (first..count).step_by(64).collect::<std::vec::Vec<_>>();
    let changed = |words: std::vec::Vec<u64>| {
        words
            .into_iter()
            .rev()
            .enumerate()
            .map(|(k, value)| value * (1 + k as u64 % 2))
            .sum::<u64>()
    };
    (0..64).map(|first| changed(bucket(first))).sum()
}

/// One builds; the other walks, changes and frees.
fn build_and_change(builder: &str, reader: &str) {
    let name = name();
    let (Some(mut builder), Some(mut reader)) = (peer(builder), peer(reader)) else { return };
    let base = builder.ask(&format!("open {name} {SIZE}"));
    assert_eq!(reader.ask(&format!("open {name} {SIZE}")), base);
    let segment = Segment::options().join(true).open(&name).unwrap();
    builder.ask("build 1000");
    assert_eq!(segment.stat().unwrap().blocks, 2001);
    assert_eq!(reader.ask("walk"), expected(1000));
    assert!(reader.ask("change")[0] > 400);
    for peer in [&mut builder, &mut reader] {
        let [words, _, letters] = expected(1000);
        assert_eq!(peer.ask("walk"), [words, expected_after_change(1000), letters]);
    }
    assert_eq!(reader.ask("clear"), [1000]);
    assert_eq!(segment.stat().unwrap().blocks, 0);
    segment.check().unwrap();
    close(builder);
    close(reader);
    drop(segment);
    assert!(!file(&name).exists());
}

#[test]
fn a_map_of_rust_is_read_changed_and_freed_by_c() {
    build_and_change("rust", "c");
}

#[test]
fn a_map_of_c_is_read_changed_and_freed_by_rust() {
    build_and_change("c", "rust");
}

#[test]
fn a_map_of_rust_is_read_changed_and_freed_by_python() {
    build_and_change("rust", "python");
}

#[test]
fn a_map_of_python_is_read_changed_and_freed_by_rust() {
    build_and_change("python", "rust");
}

#[test]
fn a_map_of_rust_is_read_changed_and_freed_by_rust() {
    build_and_change("rust", "rust");
}

/// All at once on the same slots, with the same lock.
fn under_load(languages: &[(&str, u64)]) {
    let name = name();
    let mut peers = std::vec::Vec::new();
    for (language, rounds) in languages {
        let Some(mut peer) = peer(language) else { return };
        peer.ask(&format!("open {name} {SIZE}"));
        peers.push((peer, *rounds));
    }
    peers[0].0.ask("build 0");
    for (seed, (peer, rounds)) in peers.iter_mut().enumerate() {
        peer.send(&format!("load {rounds} {seed}"));
    }
    let mut opened = 0;
    for (peer, _) in &mut peers {
        let answer = peer.receive();
        opened += answer[0];
        assert_eq!(answer[1], 0, "nobody died");
    }
    opened += peers[0].0.ask("empty")[0];
    assert_eq!(opened, languages.iter().map(|(_, rounds)| rounds).sum::<u64>());
    peers[1].0.ask("clear");
    let segment = Segment::options().join(true).open(&name).unwrap();
    assert_eq!(segment.stat().unwrap().blocks, 0);
    segment.check().unwrap();
    for (peer, _) in peers {
        close(peer);
    }
}

#[test]
fn rust_and_c_work_at_once() {
    under_load(&[("rust", 10_000), ("c", 10_000), ("rust", 10_000), ("c", 10_000)]);
}

#[test]
fn rust_c_and_python_work_at_once() {
    under_load(&[("python", 1000), ("rust", 10_000), ("c", 10_000)]);
}

/// The lock's next owner, in another language, learns of the death.
fn owner_dies(owner: &str, next: &str) {
    let name = name();
    let (Some(mut owner), Some(mut next)) = (peer(owner), peer(next)) else { return };
    next.ask(&format!("open {name} {SIZE}"));
    next.ask("build 10");
    owner.ask(&format!("open {name} {SIZE}"));
    assert_eq!(owner.ask("lock"), [0]);
    next.send("lock");
    owner.kill();
    assert_eq!(next.receive(), [1]);
    assert_eq!(next.ask("unlock"), [0]);
    assert_eq!(next.ask("walk"), expected(10));
    close(next);
}

#[test]
fn the_death_of_a_rust_owner_is_seen_in_c() {
    owner_dies("rust", "c");
}

#[test]
fn the_death_of_a_c_owner_is_seen_in_rust() {
    owner_dies("c", "rust");
}

#[test]
fn the_death_of_a_rust_owner_is_seen_in_python() {
    owner_dies("rust", "python");
}

/// One word of a map, as C sees it.
#[derive(Shareable)]
#[repr(C)]
struct Entry {
    text: AtomicPtr<u8>,
    length: u64,
    count: AtomicPtr<AtomicU64>,
}

#[derive(Shareable)]
#[repr(C)]
struct View {
    entries: u64,
    entry: AtomicPtr<Entry>,
}

/// The values of a `hashbrown` map, changed in place by other languages through a view of it.
#[test]
fn a_hash_map_is_read_and_changed_through_a_view_of_it() {
    let name = name();
    let segment = Segment::options().size(1 << 20).open(&name).unwrap();
    segment.enter(|s| {
        let mut map = HashMap::new_in(s.alloc()).unwrap();
        for number in 0..300u64 {
            let text = String::from_str_in(&format!("w{number}"), s.alloc()).unwrap();
            map.insert(text, AtomicU64::new(number)).unwrap();
        }
        // The map does not change while the view is in use, so what it points to stays.
        let mut entries = Vec::new_in(s.alloc());
        entries.extend(map.iter().map(|(text, count)| Entry {
            text: AtomicPtr::new(text.as_ptr().cast_mut()),
            length: text.len() as u64,
            count: AtomicPtr::new((&raw const *count).cast_mut()),
        }));
        let view = View { entries: 300, entry: AtomicPtr::new(entries.as_mut_ptr()) };
        let mut view = psmalloc::Box::try_new_in(view, s.alloc()).unwrap();
        // SAFETY: both programs take the word for the address of a view.
        let word = unsafe { s.user_word::<View>() };
        word.store(&raw mut *view, Relaxed);

        let answer = expected(300);
        let program = compile(&root().join("tests/rust/tests/view.c"), &program("view"));
        let mut c = Process::start(Command::new(program).arg(&name));
        assert_eq!(c.receive(), [answer[0], answer[2]]);
        c.end();
        let mut more = 0;
        if let Some(python) = python() {
            let script = root().join("tests/rust/tests/view.py");
            let mut python = Process::start(Command::new(&*python).arg(script).arg(&name));
            assert_eq!(python.receive(), [answer[0], answer[2]]);
            python.end();
            more = 1;
        }
        for number in 0..300u64 {
            let count = &map[format!("w{number}").as_str()];
            assert_eq!(count.load(Relaxed), 2 * number + more);
        }
        word.store(std::ptr::null_mut(), Relaxed);
    });
    assert_eq!(segment.stat().unwrap().blocks, 0);
}
