//! The Rust side of the cross-language tests: one command a line from stdin, one answer a line.
//! The twin of tests/python/peer.c and tests/python/peer.py, with the same `repr(C)` structs.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use psm_tests::Random;
use psmalloc::allocator_api2::alloc::Allocator;
use psmalloc::{Error, Lock, LockGuard, Offset, Scope, Segment, Shareable};

const BUCKETS: usize = 64;
const SLOTS: usize = 64;

#[derive(Shareable)]
#[repr(C)]
struct Word {
    next: AtomicPtr<Word>,
    text: AtomicPtr<u8>,
    count: u64,
}

/// Everything but the lock is changed by its owner only, or while the peers take turns.
#[derive(Shareable)]
#[repr(C)]
struct Table {
    lock: Lock,
    words: AtomicU32,
    bucket: [AtomicPtr<Word>; BUCKETS],
    slot: [AtomicPtr<u8>; SLOTS],
}

/// The head of a parcel; bytes that follow from the seed come after it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Parcel {
    size: u64,
    seed: u64,
}

/// What a peer in one segment knows.
struct Peer<'s, 'p> {
    segment: &'p Segment,
    s: Scope<'s>,
    held: Option<LockGuard<'s>>,
}

type Answer = Result<std::string::String, Error>;

impl<'s> Peer<'s, '_> {
    fn table(&self) -> &'s Table {
        // SAFETY: the peers agree that the user word leads to a table, whose fields are atomic.
        unsafe { &*self.s.user_word::<Table>().load(Relaxed) }
    }

    fn allocate(&self, bytes: usize) -> Result<*mut u8, Error> {
        let layout = Layout::from_size_align(bytes, 16).expect("a size");
        let block = self.s.alloc().allocate(layout);
        block.map(|block| block.cast().as_ptr()).map_err(|_| Error::NoMemory("no memory".into()))
    }

    /// Frees a block that this or another peer allocated.
    ///
    /// # Safety
    ///
    /// Nobody uses it.
    unsafe fn free<T>(&self, block: *mut T) {
        if let Some(block) = NonNull::new(block.cast::<u8>()) {
            // SAFETY: PSM knows a block's size by itself; the layout only says that it is not empty.
            unsafe { self.s.alloc().deallocate(block, Layout::new::<u64>()) };
        }
    }

    /// The words are "w0" .. "wN-1", and word i counts i.
    fn build(&self, count: u64) -> Answer {
        let table = self.allocate(size_of::<Table>())?.cast::<Table>();
        // SAFETY: the block is new and has room; all zero is an empty table.
        unsafe { table.write_bytes(0, 1) };
        for number in 0..count {
            let text = format!("w{number}\0");
            let place = self.allocate(text.len())?;
            let word = self.allocate(size_of::<Word>())?.cast::<Word>();
            // SAFETY: both blocks are new and have room; the table is not yet published.
            unsafe {
                place.copy_from_nonoverlapping(text.as_ptr(), text.len());
                let bucket = &(*table).bucket[number as usize % BUCKETS];
                let next = AtomicPtr::new(bucket.load(Relaxed));
                word.write(Word { next, text: AtomicPtr::new(place), count: number });
                bucket.store(word, Relaxed);
                (*table).words.fetch_add(1, Relaxed);
            }
        }
        // SAFETY: the peers agree that the user word leads to a table.
        unsafe { self.s.user_word().store(table, Relaxed) };
        Ok(format!("{table:p}"))
    }

    /// Counts the words, adds up their counts and the bytes of their texts.
    fn walk(&self) -> Answer {
        let (mut words, mut sum, mut letters) = (0, 0, 0u64);
        for bucket in &self.table().bucket {
            // SAFETY: the peers take turns, so the words stay as they are.
            unsafe {
                let mut word = bucket.load(Relaxed).as_ref();
                while let Some(this) = word {
                    words += 1;
                    sum += this.count;
                    let text =
                        std::ffi::CStr::from_ptr(this.text.load(Relaxed).cast_const().cast());
                    letters += text.to_bytes().iter().map(|letter| u64::from(*letter)).sum::<u64>();
                    word = this.next.load(Relaxed).as_ref();
                }
            }
        }
        Ok(format!("{words} {sum} {letters}"))
    }

    /// Makes every second word of each bucket anew and doubles its count.
    fn change(&self) -> Answer {
        let mut changed = 0;
        for bucket in &self.table().bucket {
            let (mut link, mut number) = (bucket, 0);
            while !link.load(Relaxed).is_null() {
                let old = link.load(Relaxed);
                if number % 2 == 1 {
                    let word = self.allocate(size_of::<Word>())?.cast::<Word>();
                    // SAFETY: the peers take turns; the new block has room, the old word is out.
                    unsafe {
                        word.copy_from_nonoverlapping(old, 1);
                        (*word).count *= 2;
                        link.store(word, Relaxed);
                        self.free(old);
                    }
                    changed += 1;
                }
                number += 1;
                // SAFETY: the peers take turns, so the word stays.
                link = unsafe { &(*link.load(Relaxed)).next };
            }
        }
        Ok(changed.to_string())
    }

    fn clear(&self) -> Answer {
        let (table, mut freed) = (self.table(), 0);
        for bucket in &table.bucket {
            let mut word = bucket.load(Relaxed);
            while !word.is_null() {
                // SAFETY: the peers take turns; each block is freed once, after it was read.
                unsafe {
                    let next = (*word).next.load(Relaxed);
                    self.free((*word).text.load(Relaxed));
                    self.free(word);
                    word = next;
                }
                freed += 1;
            }
        }
        // SAFETY: nobody uses the table any more.
        unsafe { self.s.free_from(self.s.user_word::<Table>())? };
        Ok(freed.to_string())
    }

    fn pack(&self, size: u64, seed: u64) -> Result<*mut u8, Error> {
        let parcel = self.allocate(size as usize)?;
        // SAFETY: the block is new and has room.
        unsafe {
            parcel.cast::<Parcel>().write(Parcel { size, seed });
            for at in size_of::<Parcel>() as u64..size {
                parcel.add(at as usize).write(byte_at(seed, at));
            }
        }
        Ok(parcel)
    }

    /// Looks at every byte of a parcel, and frees it.
    fn unpack(&self, parcel: *mut u8) {
        // SAFETY: it was taken out of its slot under the lock, so it is this peer's.
        unsafe {
            let head = parcel.cast::<Parcel>().read();
            for at in size_of::<Parcel>() as u64..head.size {
                let byte = parcel.add(at as usize).read();
                assert_eq!(byte, byte_at(head.seed, at), "byte {at} of a parcel of {}", head.size);
            }
            self.free(parcel);
        }
    }

    /// Puts parcels into random slots; opens and frees what it finds there.
    fn load(&self, rounds: u64, seed: u64) -> Answer {
        let (table, mut random) = (self.table(), Random(seed));
        let (mut opened, mut died) = (0, 0);
        for _ in 0..rounds {
            let size = size_of::<Parcel>() as u64 + random.draw() % 3000;
            let parcel = self.pack(size, random.draw())?;
            let slot = &table.slot[random.draw() as usize % SLOTS];
            let guard = table.lock.lock(self.s)?;
            died += u32::from(guard.owner_died());
            let found = slot.swap(parcel, Relaxed);
            drop(guard);
            if !found.is_null() {
                self.unpack(found);
                opened += 1;
            }
        }
        Ok(format!("{opened} {died}"))
    }

    fn empty(&self) -> Answer {
        let mut opened = 0;
        for slot in &self.table().slot {
            let found = slot.swap(ptr::null_mut(), Relaxed);
            if !found.is_null() {
                self.unpack(found);
                opened += 1;
            }
        }
        Ok(opened.to_string())
    }

    fn lock(&mut self) -> Answer {
        let guard = self.table().lock.lock(self.s)?;
        let died = guard.owner_died();
        self.held = Some(guard);
        Ok(u32::from(died).to_string())
    }

    fn obey(&mut self, word: &str, first: u64, second: u64) -> Answer {
        match word {
            "build" => self.build(first),
            "walk" => self.walk(),
            "change" => self.change(),
            "clear" => self.clear(),
            "load" => self.load(first, second),
            "empty" => self.empty(),
            "lock" => self.lock(),
            "unlock" => {
                self.held = None;
                Ok("0".into())
            }
            "offset" => {
                let address = ptr::with_exposed_provenance::<u8>(first as usize);
                Ok(Offset::of(self.s, address)?.bytes().to_string())
            }
            "free" => {
                // SAFETY: the test gives a block that nobody uses.
                unsafe { self.free(ptr::with_exposed_provenance_mut::<u8>(first as usize)) };
                Ok(std::string::String::new())
            }
            "check" => self.segment.check().map(|()| "0".into()),
            other => panic!("what is {other}?"),
        }
    }
}

fn byte_at(seed: u64, at: u64) -> u8 {
    seed.wrapping_add(31 * at) as u8
}

fn say(answer: Answer) {
    match answer {
        Ok(numbers) if numbers.is_empty() => println!("ok"),
        Ok(numbers) => println!("ok {numbers}"),
        Err(error) => println!("error {} {error}", error.code().unwrap_or(0)),
    }
}

fn main() {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("it is text"));
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "open", "a peer opens first");
        let size = words[2].parse().expect("a size");
        let segment = Segment::options().size(size).open(words[1]);
        let segment = segment.unwrap_or_else(|error| panic!("{error}"));
        println!("ok {:p}", segment.base());
        segment.enter(|s| {
            let mut peer = Peer { segment: &segment, s, held: None };
            for line in lines.by_ref() {
                let words: Vec<&str> = line.split(' ').collect();
                if words[0] == "close" {
                    break;
                }
                let number = |at: usize| words.get(at).map_or(0, |word| word.parse().unwrap());
                say(peer.obey(words[0], number(1), number(2)));
            }
        });
        drop(segment);
        println!("ok");
    }
}
