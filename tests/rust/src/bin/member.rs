//! A process that does what its input says to the [`Board`] of a segment, one line at a time.

use std::io::Write;
use std::sync::atomic::Ordering;

use psm_tests::{Board, Pair, Random, SLOTS};
use psmalloc::{Error, HashMap, LockError, Scope, Segment, Shareable, String};

/// A constant of this program, whose address differs from process to process.
static CONSTANT: u64 = 1;

fn say(words: &[u64]) {
    let mut line = std::string::String::from("ok");
    for word in words {
        line += &format!(" {word}");
    }
    println!("{line}");
    std::io::stdout().flush().expect("somebody listens");
}

fn main() {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("it is text"));
    let open = lines.next().expect("the first line opens");
    let name = open.strip_prefix("open ").expect("the first line opens");
    let name_and_way: Vec<&str> = name.split(' ').collect();
    let read_only = name_and_way.get(1) == Some(&"read-only");
    let segment = Segment::options().join(true).read_only(read_only).open(name_and_way[0]);
    let segment = segment.unwrap_or_else(|error| panic!("{error}"));
    say(&[segment.base().addr() as u64, (&raw const CONSTANT).addr() as u64]);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        let done = segment.enter(|s| obey(&segment, s, words[0], &numbers));
        match done {
            Ok(answer) => say(&answer),
            Err(error) => println!("error {error:?}"),
        }
    }
}

fn obey(segment: &Segment, s: Scope<'_>, word: &str, numbers: &[u64]) -> Result<Vec<u64>, Error> {
    Ok(match word {
        "count" => count(s, numbers[0], numbers[1])?,
        "sum" => sum(s)?,
        "publish" => publish_table(s, numbers[0])?,
        "look-up" => look_up(s, numbers[0])?,
        "empty-make" => empty_make(s)?,
        "empty-use" => empty_use(s)?,
        "load" => load(s, numbers[0])?,
        "slots" => slots(s, numbers[0])?,
        "publish-stepped" => publish_stepped(s, numbers[0])?,
        "hold" => hold(s)?,
        "cell" => cell(s, numbers[0])?,
        "copy" => copy(s)?,
        "other-layout" => other_layout(s),
        "root" => vec![u64::from(s.root::<Board>()?.is_some())],
        "fork" => fork(segment)?,
        "leak" => leak(s)?,
        "exit" => std::process::exit(0), // without leaving
        _ => panic!("what is {word}?"),
    })
}

/// Counts words under the lock, one at a time.
fn count(s: Scope<'_>, words: u64, times: u64) -> Result<Vec<u64>, Error> {
    let board = Board::of(s)?;
    for number in 0..times {
        let word = String::from_str_in(&format!("word {}", number % words), s.alloc())?;
        *board.words(s)?.0.entry(word)?.or_insert(0) += 1;
        board.changes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(vec![times])
}

fn sum(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let (words, _) = Board::of(s)?.words(s)?;
    Ok(vec![words.values().sum()])
}

fn publish_table(s: Scope<'_>, entries: u64) -> Result<Vec<u64>, Error> {
    let table = Board::of(s)?.table.get_or_try_init(s, || -> Result<_, Error> {
        let mut table = HashMap::with_capacity_in(entries as usize, s.alloc())?;
        for number in 0..entries {
            table.insert(number, number * number)?;
        }
        Ok(table)
    })?;
    Ok(vec![table.len() as u64])
}

/// Looks every number up, without a lock.
fn look_up(s: Scope<'_>, entries: u64) -> Result<Vec<u64>, Error> {
    let table = Board::of(s)?.table.get().expect("it was published");
    let right = (0..entries).filter(|number| table.get(number) == Some(&(number * number)));
    Ok(vec![right.count() as u64, u64::from(table.get(&entries).is_some())])
}

/// Puts a map of this process's making in place of the empty one.
fn empty_make(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let mut map = HashMap::with_capacity_in(1000, s.alloc())?;
    map.insert(1, 1)?;
    map.remove(&1);
    map.shrink_to_fit();
    *Board::of(s)?.empty.lock(s)? = map;
    Ok(vec![])
}

/// Looks into an empty map, fills it and empties it again.
fn empty_use(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let mut map = Board::of(s)?.empty.lock(s)?;
    let found = map.get(&1).is_some() || map.iter().next().is_some();
    for number in 0..100 {
        map.insert(number, number)?;
    }
    map.clear();
    map.shrink_to_fit();
    Ok(vec![u64::from(found), map.len() as u64, u64::from(map.capacity() > 0)])
}

/// Changes everything, until it is killed or has done so many changes.
fn load(s: Scope<'_>, rounds: u64) -> Result<Vec<u64>, Error> {
    let board = Board::of(s)?;
    let mut random = Random(u64::from(std::process::id()));
    let mut died = 0;
    for _ in 0..rounds {
        let text = format!("word {}", random.draw() % 500);
        let word = String::from_str_in(&text.repeat((random.draw() % 20 + 1) as usize), s.alloc())?;
        let (mut words, replaced) = board.words(s)?;
        died += u64::from(replaced);
        match random.draw() % 4 {
            0 => drop(words.remove(word.as_str())),
            1 => words.shrink_to_fit(),
            _ => *words.entry(word)?.or_insert(0) += 1,
        }
        drop(words);
        let (mut pair, repaired) = board.pair(s)?;
        died += u64::from(repaired);
        assert_eq!(pair.other, !pair.one, "the pair is whole under the lock");
        // Volatile, so that there is a time at which one is new and the other old.
        let (one, other) = (&raw mut pair.one, &raw mut pair.other);
        // SAFETY: both are fields of what the guard lends for writing.
        unsafe {
            one.write_volatile(one.read_volatile() + 1);
            other.write_volatile(!one.read_volatile());
        }
        drop(pair);
        board.changes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(vec![died])
}

/// Publishes into all slots from the first that is empty, forwards.
fn slots(s: Scope<'_>, up_to: u64) -> Result<Vec<u64>, Error> {
    let board = Board::of(s)?;
    let mut sum = 0;
    for (number, slot) in board.slots.iter().enumerate().take(up_to as usize) {
        sum += slot.get_or_init(s, || [number as u64; 8])?.iter().sum::<u64>();
        board.changes.fetch_add(1, Ordering::Relaxed);
    }
    assert!(up_to as usize <= SLOTS);
    Ok(vec![sum])
}

/// Publishes into one slot between two stops, for a tracer.
fn publish_stepped(s: Scope<'_>, number: u64) -> Result<Vec<u64>, Error> {
    let slot = &Board::of(s)?.slots[number as usize];
    // What a thread does at its first allocation is not what is looked at.
    drop(psmalloc::Box::new_in([0u64; 8], s.alloc()));
    // SAFETY: it stops this process; whoever traces it lets it go on.
    unsafe { libc::raise(libc::SIGSTOP) };
    let published = slot.get_or_init(s, || [number; 8]);
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGSTOP) };
    Ok(vec![published?[0]])
}

/// Takes both locks and says so; they are held until the end, which does not come by itself.
fn hold(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let board = Board::of(s)?;
    let (mut words, _) = board.words(s)?;
    words.clear();
    let (mut pair, _) = board.pair(s)?;
    pair.one += 1;
    say(&[]);
    loop {
        std::thread::park();
    }
}

fn cell(s: Scope<'_>, rounds: u64) -> Result<Vec<u64>, Error> {
    let board = Board::of(s)?;
    for one in 0..rounds {
        board.cell.set(Pair { one, other: !one });
    }
    let seen = board.cell.get();
    Ok(vec![seen.one])
}

/// For members that only read.
fn copy(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let pair = s.copy_root::<Pair>()?.expect("there is a root");
    let refused = matches!(s.root::<psmalloc::SharedCell<Pair>>(), Err(Error::ReadOnly(_)));
    let full = matches!(String::from_str_in("text", s.alloc()), Err(Error::ReadOnly(_)));
    Ok(vec![pair.one, u64::from(refused), u64::from(full)])
}

fn other_layout(s: Scope<'_>) -> Vec<u64> {
    /// It has the name of the root, and other fields.
    #[derive(Shareable)]
    struct Board {
        changes: u64,
    }
    match s.root::<Board>() {
        Err(Error::Layout(_)) => vec![1],
        _ => vec![0],
    }
}

/// A child by fork counts, while this process holds on; both are members.
fn fork(segment: &Segment) -> Result<Vec<u64>, Error> {
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let counted = segment.enter(|s| count(s, 10, 1000));
        let mine = segment.id();
        drop(segment.clone());
        // SAFETY: the child ends without unwinding its parent's frames; it counts as dead.
        unsafe { libc::_exit(i32::from(counted.is_err() || mine.is_err())) };
    }
    assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
    segment.enter(|s| count(s, 10, 1000))?;
    let mut status = 0;
    // SAFETY: it is a child, and `status` is valid for the call.
    unsafe { libc::waitpid(child, &mut status, 0) };
    segment.reap()?;
    let mut cursor = 0;
    let dead = segment.deaths(&mut cursor)?;
    let known = dead.iter().any(|member| member.pid == child as u32);
    Ok(vec![status as u64, segment.members()?.len() as u64, u64::from(known)])
}

/// A vector that only this process knows.
fn leak(s: Scope<'_>) -> Result<Vec<u64>, Error> {
    let mut bytes = psmalloc::Vec::new_in(s.alloc());
    bytes.push(1u8);
    let place = bytes.as_ptr().addr() as u64;
    std::mem::forget(bytes);
    if let Err(LockError::Failed(error)) = Board::of(s)?.words.lock(s) {
        return Err(error);
    }
    Ok(vec![place])
}
