//! Records go through a ring from one process to another: see ../README.md.
//!
//!     queue produce NAME COUNT   make the ring if there is none, and put records
//!     queue consume NAME COUNT   take and check them, and free the ring
//!
//! Every change under the lock ends with one store, of head or of tail, so the death of an owner
//! leaves nothing to repair.

mod story;

use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use psmalloc::{Lock, Scope, Segment};
use story::{Address, Outcome, allocate, check, free, room, run, why};

const MAGIC: u64 = 0x5053_4d2d_5155_4555; // PSM-QUEU
const CAPACITY: usize = 64;
const LENGTHS: u64 = 200;
const HEAD: usize = 16; // bytes of a record before its content

#[repr(C)]
struct Ring {
    magic: u64,
    capacity: u64,
    head: AtomicU64,             // records put
    tail: AtomicU64,             // records taken
    slots: Address<Address<u8>>, // of `capacity` records
    lock: Lock,
    zeros: [u32; 5],
}

const _: () = assert!(size_of::<Ring>() == 64, "the ring is the same in every language");

fn rest() {
    std::thread::sleep(Duration::from_micros(200));
}

fn user<'s>(s: Scope<'s>) -> &'s AtomicPtr<Ring> {
    // SAFETY: these programs, in every language, keep the address of a ring in it.
    unsafe { s.user_word() }
}

impl Ring {
    /// The ring of the segment. The consumer may free it before the producer looks for the last
    /// time; then head and tail are all that may still be read, and they are equal.
    fn of<'s>(s: Scope<'s>) -> Option<&'s Ring> {
        // SAFETY: a ring is complete before its address is there. The segment stays mapped for
        // `'s`, and what changes of a ring is atomic.
        unsafe { user(s).load(Ordering::Acquire).as_ref() }
    }

    fn publish(s: Scope<'_>) -> Outcome {
        let mut slots = allocate(s, CAPACITY)?;
        slots.resize_with(CAPACITY, || Address(AtomicPtr::default()));
        let ring = Ring {
            magic: MAGIC,
            capacity: CAPACITY as u64,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            slots: Address(AtomicPtr::new(slots.leak().as_mut_ptr())),
            lock: Lock::new(),
            zeros: [0; 5],
        };
        let ring = psmalloc::Box::try_new_in(ring, s.alloc()).map_err(|_| why())?;
        user(s).store(psmalloc::Box::leak(ring), Ordering::Release); // last: now others find it
        Ok(())
    }

    fn slot(&self, number: u64) -> &AtomicPtr<u8> {
        // SAFETY: the slots are as many as `capacity`, and are freed with the ring.
        unsafe { &(*self.slots.0.load(Ordering::Relaxed).add((number % self.capacity) as usize)).0 }
    }

    /// Puts a record if there is room for it.
    fn put(&self, s: Scope<'_>, record: *mut u8) -> Outcome<bool> {
        let _guard = self.lock.lock(s)?;
        let head = self.head.load(Ordering::Relaxed);
        if head - self.tail.load(Ordering::Relaxed) >= self.capacity {
            return Ok(false);
        }
        self.slot(head).store(record, Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
        Ok(true)
    }

    /// Takes a record if there is one; it belongs to the caller.
    fn take(&self, s: Scope<'_>) -> Outcome<Option<*mut u8>> {
        let _guard = self.lock.lock(s)?;
        let tail = self.tail.load(Ordering::Relaxed);
        if self.head.load(Ordering::Relaxed) == tail {
            return Ok(None);
        }
        let record = self.slot(tail).load(Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        Ok(Some(record))
    }

    fn is_drained(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Acquire)
    }
}

/// What a record holds after its number and its length.
fn content(number: u64) -> impl Iterator<Item = u8> {
    (0..number % LENGTHS).map(move |k| ((number + k) % 256) as u8)
}

fn sum_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.map(u64::from).sum()
}

fn new_record<'s>(s: Scope<'s>, number: u64) -> Outcome<psmalloc::Vec<'s, u8>> {
    let length = number % LENGTHS;
    let mut record = allocate(s, HEAD + length as usize)?;
    record.extend_from_slice(&number.to_ne_bytes());
    record.extend_from_slice(&length.to_ne_bytes());
    record.extend(content(number));
    Ok(record)
}

/// Checks a record that was taken, and gives the sum of its bytes.
fn check_record(s: Scope<'_>, record: *const u8, number: u64) -> Outcome<u64> {
    let length = number % LENGTHS;
    let bytes = HEAD + length as usize;
    check("a record", room(s, record) >= bytes)?;
    // SAFETY: the block has as many bytes, and belongs to who took it.
    let (head, rest) = unsafe { std::slice::from_raw_parts(record, bytes) }.split_at(HEAD);
    check("number", head[..8] == number.to_ne_bytes())?;
    check("length", head[8..] == length.to_ne_bytes())?;
    check("bytes", rest.iter().copied().eq(content(number)))?;
    Ok(sum_of(rest.iter().copied()))
}

fn produce(s: Scope<'_>, count: u64) -> Outcome {
    if Ring::of(s).is_none() {
        Ring::publish(s)?;
    }
    let ring = Ring::of(s).ok_or("the ring is gone")?;
    check("magic", ring.magic == MAGIC)?;
    for number in 0..count {
        let record = new_record(s, number)?.leak().as_mut_ptr();
        while !ring.put(s, record)? {
            rest();
        }
    }
    while !Ring::of(s).is_none_or(Ring::is_drained) {
        rest();
    }
    println!("produced {count} {}", (0..count).map(|number| sum_of(content(number))).sum::<u64>());
    Ok(())
}

fn consume(s: Scope<'_>, count: u64) -> Outcome {
    let ring = loop {
        match Ring::of(s) {
            Some(ring) => break ring,
            None => rest(),
        }
    };
    check("magic", ring.magic == MAGIC)?;
    let mut sum = 0;
    for number in 0..count {
        let record = loop {
            match ring.take(s)? {
                Some(record) => break record,
                None => rest(),
            }
        };
        sum += check_record(s, record, number)?;
        // SAFETY: who takes a record owns it.
        unsafe { free(s, record)? };
    }
    let slots = ring.slots.0.load(Ordering::Relaxed);
    let ring = user(s).swap(ptr::null_mut(), Ordering::Release);
    // SAFETY: the producer has put its last record, and follows no pointer any more.
    unsafe {
        free(s, slots)?;
        free(s, ring)?;
    }
    println!("consumed {count} {sum}");
    Ok(())
}

fn play(arguments: &[&str]) -> Outcome {
    let [role, name, count] = *arguments else {
        return Err("usage: queue produce|consume NAME COUNT".into());
    };
    let count = count.parse().map_err(|_| format!("{count} is no count of records"))?;
    let segment = Segment::options().size(4 << 20).open(name)?;
    match role {
        "produce" => segment.enter(|s| produce(s, count)),
        "consume" => segment.enter(|s| consume(s, count)),
        _ => Err(format!("there is no role {role}: produce or consume").into()),
    }
}

fn main() -> ExitCode {
    run("queue", play)
}
