//! Several processes index words into one table: see ../c/words.h for the table.
//!
//! Each prints one JSON object per line. `create` and `join` announce themselves
//! with "ready", begin at a line (or the end) of their standard input, and say
//! "done"; so a script can let several begin at once.
//!
//! The twin of ../c/words.c: the same roles, the same functions, the same structs.

use std::alloc::Layout;
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use psmalloc::allocator_api2::alloc::Allocator;
use psmalloc::{Error, LockGuard, Scope, Segment, SharedCell};

mod table;
use table::{
    BUCKETS, Counts, List, PLACES, Place, Plainly, ROWS, Row, Table, Word, follow, hash_of,
    in_this_order, list_bytes, word_bytes,
};

const USAGE: &str = "\
usage: words create NAME SIZE FILE   create a segment of SIZE MiB and index FILE into it
       words join NAME FILE          index FILE into a segment that exists
       words watch NAME ROW          say when that process is half-way
       words check NAME [INDEX]      check the table, and write it to the file INDEX";

// ---- Small things ---------------------------------------------------------------

/// What failed, and why.
struct Failure(String, String);

type Outcome<T> = Result<T, Failure>;

/// Names what a failure is about.
trait What<T> {
    fn what(self, what: &str) -> Outcome<T>;
}

impl<T, E: std::fmt::Display> What<T> for Result<T, E> {
    fn what(self, what: &str) -> Outcome<T> {
        self.map_err(|why| Failure(what.to_owned(), why.to_string()))
    }
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn pause_briefly() {
    std::thread::sleep(Duration::from_micros(200));
}

fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// The end of the input counts as a line.
fn wait_for_line() {
    let _ = std::io::stdin().read_line(&mut String::new());
}

// ---- Changing the table ---------------------------------------------------------

/// This process's use of the table.
#[derive(Clone, Copy)]
struct Job<'s> {
    s: Scope<'s>,
    table: &'s Table,
    row: u32,
}

impl<'s> Job<'s> {
    fn row(&self) -> &'s Row {
        &self.table.rows[self.row as usize]
    }

    fn give_back<T>(&self, place: &AtomicPtr<T>) -> Outcome<()> {
        // SAFETY: what is given back is not in the table, or not any more.
        unsafe { self.s.free_from(place) }.what("cannot free")
    }

    /// Does what the journal says. Doing it again changes nothing.
    fn finish(&self) -> Outcome<()> {
        let j = &self.table.journal;
        if let (Some(bucket), Some(word)) = (follow(&j.bucket), follow(&j.word)) {
            bucket.set(j.first.get());
            word.list.set(j.list.get());
            word.count.set(j.count.get());
        }
        self.table.rows[j.row.get() as usize].counts.set(j.counts.get());
        j.fresh_word.set(ptr::null_mut());
        j.fresh_list.set(ptr::null_mut());
        self.give_back(&j.stale)?;
        in_this_order();
        j.committed.set(0);
        Ok(())
    }

    fn commit(&self) -> Outcome<()> {
        in_this_order();
        self.table.journal.committed.set(1);
        in_this_order();
        self.finish()
    }

    /// Finishes a change that was left half-way, or undoes it; gives the count of such.
    fn settle(&self) -> Outcome<&'s AtomicU32> {
        let j = &self.table.journal;
        let done = if j.committed.get() != 0 {
            self.finish()?;
            &self.table.finished
        } else if follow(&j.fresh_word).is_some() || follow(&j.fresh_list).is_some() {
            self.give_back(&j.fresh_word)?;
            self.give_back(&j.fresh_list)?;
            &self.table.undone
        } else {
            &self.table.intact
        };
        j.stale.set(ptr::null_mut());
        Ok(done)
    }

    /// Locks the table, and repairs it after the death of the lock's owner.
    fn lock(&self) -> Outcome<LockGuard<'s>> {
        let guard = self.table.lock.lock(self.s).what("cannot lock the table")?;
        if guard.owner_died() {
            self.s.reap().what("cannot reap")?; // before anything is allocated to the same places
            let done = self.settle()?;
            done.set(done.get() + 1);
            self.table.repairer.set(std::process::id());
        }
        Ok(guard)
    }

    /// Allocates into the journal, and counts it there.
    fn allocate<T>(
        &self,
        bytes: usize,
        place: &AtomicPtr<T>,
        counts: &mut Counts,
    ) -> Outcome<*mut T> {
        self.s.alloc_to(bytes, place).what("cannot allocate")?;
        counts.blocks += 1;
        counts.bytes += bytes as u64;
        Ok(place.get())
    }

    /// Prepares a word without a list, in front of the others in its bucket.
    fn new_word(
        &self,
        next: *mut Word,
        hash: u32,
        text: &[u8],
        counts: &mut Counts,
    ) -> Outcome<&'s Word> {
        let block =
            self.allocate(word_bytes(text.len()), &self.table.journal.fresh_word, counts)?;
        counts.distinct += 1;
        // SAFETY: the block is new and has room for the word's fields and its text.
        unsafe {
            (&raw mut (*block).next).write(AtomicPtr::new(next));
            (&raw mut (*block).list).write(AtomicPtr::new(ptr::null_mut()));
            (&raw mut (*block).count).write(AtomicU32::new(0));
            (&raw mut (*block).hash).write(hash);
            (&raw mut (*block).length).write(text.len() as u32);
            let place = block.cast::<u8>().add(offset_of!(Word, text));
            place.copy_from_nonoverlapping(text.as_ptr(), text.len());
            Ok(&*block)
        }
    }

    /// Prepares a larger list with the places of `old`, which becomes stale.
    fn larger_list(&self, old: Option<&List>, counts: &mut Counts) -> Outcome<&'s List> {
        let j = &self.table.journal;
        let capacity = old.map_or(PLACES, |old| 2 * old.capacity);
        let block = self.allocate(list_bytes(capacity), &j.fresh_list, counts)?;
        // SAFETY: the block is new and has room for the head and its places.
        let list = unsafe {
            block.write(List { capacity, row: self.row, places: [] });
            &*block
        };
        if let Some(old) = old {
            for (new, old) in list.places().iter().zip(old.places()) {
                new.set(old.get());
            }
            counts.freed_blocks += 1;
            counts.freed_bytes += list_bytes(old.capacity) as u64;
            counts.foreign += u64::from(old.row != self.row);
        }
        j.stale.set(old.map_or(ptr::null_mut(), |old| ptr::from_ref(old).cast_mut()));
        Ok(list)
    }

    fn add(&self, text: &[u8], number: u32) -> Outcome<()> {
        let guard = self.lock()?;
        let added = self.prepare(text, number).and_then(|()| self.commit());
        if added.is_err() {
            self.settle()?;
        }
        drop(guard);
        added
    }

    fn prepare(&self, text: &[u8], number: u32) -> Outcome<()> {
        let (j, hash) = (&self.table.journal, hash_of(text));
        let mut counts = self.row().counts.get();
        let bucket = &self.table.buckets[hash as usize % BUCKETS];
        let mut found = follow(bucket);
        while let Some(word) = found.filter(|word| word.hash != hash || word.text() != text) {
            found = follow(&word.next);
        }
        let mut first = bucket.get();
        let word = match found {
            Some(word) => word,
            None => {
                let word = self.new_word(first, hash, text, &mut counts)?;
                first = ptr::from_ref(word).cast_mut();
                word
            }
        };
        let count = word.count.get();
        let list = match follow(&word.list) {
            Some(list) if count < list.capacity => list,
            full => self.larger_list(full, &mut counts)?,
        };
        // Beyond the list's end as yet.
        list.places()[count as usize].set(Place { row: self.row, number });
        counts.words += 1;
        j.row.set(self.row);
        j.counts.set(counts);
        j.bucket.set(ptr::from_ref(bucket).cast_mut());
        j.first.set(first);
        j.word.set(ptr::from_ref(word).cast_mut());
        j.list.set(ptr::from_ref(list).cast_mut());
        j.count.set(count + 1);
        Ok(())
    }

    /// Frees the whole table, whoever allocated its parts.
    fn clear(&self) -> Outcome<u64> {
        let mut blocks = 1;
        let guard = self.lock()?;
        for bucket in &self.table.buckets {
            while let Some(word) = follow(bucket) {
                let next = word.next.get();
                self.give_back(&word.list)?;
                self.give_back(bucket)?;
                bucket.set(next);
                blocks += 2;
            }
        }
        drop(guard);
        // SAFETY: the word leads to the table, which nobody uses any more.
        self.give_back(unsafe { self.s.user_word::<Table>() })?;
        Ok(blocks)
    }

    // ---- Roles --------------------------------------------------------------------

    fn join(name: &str, s: Scope<'s>) -> Outcome<Job<'s>> {
        // SAFETY: the word leads to a table in every segment that these programs make.
        let table = follow(unsafe { s.user_word::<Table>() });
        let table = table.ok_or("there is no table of words in this segment").what(name)?;
        Ok(Job { s, table, row: 0 })
    }

    fn create(name: &str, s: Scope<'s>) -> Outcome<Job<'s>> {
        let block = s.alloc().allocate_zeroed(Layout::new::<Table>()).what(name)?;
        let table = block.cast::<Table>().as_ptr();
        // SAFETY: a table of zeros is an empty one; when complete, others may see it.
        unsafe {
            let bytes = size_of::<Table>() as u64;
            (*table).rows[0].counts.set(Counts { blocks: 1, bytes, ..Counts::default() });
            s.user_word().store(table, Ordering::Release);
        }
        Job::join(name, s)
    }

    fn take_row(&mut self, total: u32) -> Outcome<()> {
        let guard = self.lock()?;
        self.row = self.table.rows_used.get();
        if self.row as usize == ROWS {
            return Err("the table has no row left for this process").what("cannot join");
        }
        let row = self.row();
        row.pid.set(std::process::id());
        row.total.set(total);
        row.language.set(*b"Rust\0\0\0\0");
        in_this_order();
        self.table.rows_used.set(self.row + 1);
        drop(guard);
        Ok(())
    }

    fn index_file(&mut self, path: &str) -> Outcome<()> {
        let mut text = std::fs::read(path).what(path)?;
        text.make_ascii_lowercase();
        let words =
            || text.split(|byte| !byte.is_ascii_lowercase()).filter(|word| !word.is_empty());
        self.take_row(words().count() as u32)?;
        say(&format!(
            r#"{{"event": "ready", "row": {}, "pid": {}, "segment": "{:p}", "table": "{:p}"}}"#,
            self.row,
            std::process::id(),
            self.s.base(),
            self.table
        ));
        wait_for_line();

        self.row().begun.set(now());
        for (number, word) in words().enumerate() {
            self.add(word, number as u32)?;
        }
        self.row().ended.set(now());
        say(&format!(r#"{{"event": "done", "row": {}}}"#, self.row));
        Ok(())
    }
}

fn wait_until_alone(segment: &Segment) -> Result<(), Error> {
    while segment.members()?.len() > 1 {
        segment.reap()?;
        pause_briefly();
    }
    Ok(())
}

fn play_create(name: &str, mebibytes: &str, path: &str) -> Outcome<()> {
    let size = mebibytes.parse::<usize>().what(mebibytes)? << 20;
    let segment = Segment::options().size(size).exclusive(true).open(name).what(name)?;
    segment.enter(|s| {
        let mut job = Job::create(name, s)?;
        job.index_file(path)?;

        wait_for_line();
        let members = segment.members().what("cannot list the members")?.len();
        let reaped = segment.reap().what("cannot reap")?;
        say(&format!(r#"{{"event": "reaped", "members": {members}, "reaped": {reaped}}}"#));

        wait_for_line();
        wait_until_alone(&segment).what("cannot reap")?;
        let freed = job.clear()?;
        let left = segment.stat().what("cannot take stock")?.blocks;
        let check = soundness(&segment);
        say(&format!(
            r#"{{"event": "cleared", "freed": {freed}, "left": {left}, "check": {check}}}"#
        ));
        Ok(())
    })
}

fn soundness(segment: &Segment) -> i32 {
    segment.check().err().and_then(|error| error.code()).unwrap_or(0)
}

fn open(name: &str) -> Outcome<Segment> {
    Segment::options().join(true).open(name).what(name)
}

fn play_watch(name: &str, row: &str) -> Outcome<()> {
    let row = row.parse::<u32>().what(row)?;
    open(name)?.enter(|s| {
        let job = Job::join(name, s)?;
        if row >= job.table.rows_used.get() {
            return Err("the table has no such row").what("cannot watch");
        }
        let watched = &job.table.rows[row as usize];
        let words = loop {
            let guard = job.lock()?;
            let words = watched.counts.get().words;
            drop(guard);
            if 2 * words >= u64::from(watched.total.get()) {
                break words;
            }
            pause_briefly();
        };
        say(&format!(r#"{{"event": "half", "words": {words}}}"#));
        Ok(())
    })
}

// ---- Checking -------------------------------------------------------------------

/// What a walk through the whole table finds.
#[derive(Default)]
struct Found {
    counts: [Counts; ROWS],
    blocks: u64,
    bytes: u64,
    broken: u64,
    index: String,
}

impl Found {
    /// Adds one word's places; `None` if the word is not as it should be.
    fn tally(&mut self, table: &Table, bucket: usize, word: &Word) -> Option<()> {
        let list = follow(&word.list)?;
        let places = list.places().get(..word.count.get() as usize)?;
        let hash = hash_of(word.text());
        if hash != word.hash || hash as usize % BUCKETS != bucket || places.is_empty() {
            return None;
        }
        let places: Vec<Place> = places.iter().map(SharedCell::get).collect();
        if places.iter().any(|place| place.row >= table.rows_used.get()) {
            return None;
        }
        self.index += std::str::from_utf8(word.text()).ok()?;
        for place in &places {
            self.counts[place.row as usize].words += 1;
            let _ = write!(self.index, " {}:{}", place.row, place.number);
        }
        self.index.push('\n');
        self.counts[places[0].row as usize].distinct += 1;
        self.blocks += 2;
        self.bytes += (word_bytes(word.text().len()) + list_bytes(list.capacity)) as u64;
        Some(())
    }

    fn walk(table: &Table) -> Found {
        let bytes = size_of::<Table>() as u64;
        let mut found = Found { blocks: 1, bytes, ..Found::default() };
        for (number, bucket) in table.buckets.iter().enumerate() {
            let mut next = follow(bucket);
            while let Some(word) = next {
                if found.tally(table, number, word).is_none() {
                    found.broken += 1;
                    break; // its pointers are not to be followed
                }
                next = follow(&word.next);
            }
        }
        for (row, counted) in
            table.rows.iter().zip(&found.counts).take(table.rows_used.get() as usize)
        {
            let said = row.counts.get();
            found.broken +=
                u64::from((said.words, said.distinct) != (counted.words, counted.distinct));
        }
        found
    }
}

fn row_as_json(row: &Row) -> String {
    let (language, c) = (row.language.get(), row.counts.get());
    let end = language.iter().position(|byte| *byte == 0).unwrap_or(language.len());
    format!(
        r#"{{"pid": {}, "language": "{}", "total": {}, "begun": {}, "ended": {}, "words": {}, "distinct": {}, "blocks": {}, "bytes": {}, "freed_blocks": {}, "freed_bytes": {}, "foreign": {}}}"#,
        row.pid.get(),
        String::from_utf8_lossy(&language[..end]),
        row.total.get(),
        row.begun.get(),
        row.ended.get(),
        c.words,
        c.distinct,
        c.blocks,
        c.bytes,
        c.freed_blocks,
        c.freed_bytes,
        c.foreign
    )
}

fn play_check(name: &str, path: Option<&str>) -> Outcome<()> {
    let segment = open(name)?;
    segment.enter(|s| {
        let job = Job::join(name, s)?;
        let table = job.table;
        let guard = job.lock()?;
        let found = Found::walk(table);
        let rows = table.rows[..table.rows_used.get() as usize].iter().map(row_as_json);
        let rows = rows.collect::<Vec<_>>().join(", ");
        let (finished, undone) = (table.finished.get(), table.undone.get());
        let (intact, repairer) = (table.intact.get(), table.repairer.get());
        drop(guard);

        let stat = segment.stat().what("cannot take stock")?;
        if let Some(path) = path {
            std::fs::write(path, &found.index).what(path)?;
        }
        say(&format!(
            r#"{{"event": "checked", "rows": [{rows}], "finished": {finished}, "undone": {undone}, "intact": {intact}, "repairer": {repairer}, "broken": {}, "table_blocks": {}, "table_bytes": {}, "blocks": {}, "used": {}, "members": {}, "check": {}}}"#,
            found.broken,
            found.blocks,
            found.bytes,
            stat.blocks,
            stat.used,
            stat.members,
            soundness(&segment)
        ));
        Ok(())
    })
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let played = match words[..] {
        ["create", name, mebibytes, path] => play_create(name, mebibytes, path),
        ["join", name, path] => {
            open(name).and_then(|segment| segment.enter(|s| Job::join(name, s)?.index_file(path)))
        }
        ["watch", name, row] => play_watch(name, row),
        ["check", name] => play_check(name, None),
        ["check", name, path] => play_check(name, Some(path)),
        _ => {
            eprintln!("{USAGE}");
            return 2.into();
        }
    };
    match played {
        Ok(()) => 0.into(),
        Err(Failure(what, why)) => {
            eprintln!("words: {what}: {why}");
            1.into()
        }
    }
}
