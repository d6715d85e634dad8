//! The structs of ../c/words.h, which says what they mean.
//!
//! What processes change is an atomic or a cell, so that only following a pointer is `unsafe`.

use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

use psmalloc::{Lock, Plain, Shareable, SharedCell};

pub const BUCKETS: usize = 16384;
pub const ROWS: usize = 16;
pub const PLACES: u32 = 2;

#[derive(Clone, Copy, Shareable, Plain)]
#[repr(C)]
pub struct Place {
    pub row: u32,
    pub number: u32,
}

#[derive(Shareable)]
#[repr(C)]
pub struct List {
    pub capacity: u32,
    pub row: u32,
    pub places: [SharedCell<Place>; 0], // as many as `capacity`
}

#[derive(Shareable)]
#[repr(C)]
pub struct Word {
    pub next: AtomicPtr<Word>,
    pub list: AtomicPtr<List>,
    pub count: AtomicU32,
    pub hash: u32,
    pub length: u32,
    pub text: [u8; 0], // as many as `length`
}

#[derive(Clone, Copy, Default, Shareable, Plain)]
#[repr(C)]
pub struct Counts {
    pub words: u64,
    pub distinct: u64,
    pub blocks: u64,
    pub bytes: u64,
    pub freed_blocks: u64,
    pub freed_bytes: u64,
    pub foreign: u64,
}

#[derive(Shareable)]
#[repr(C)]
pub struct Row {
    pub pid: AtomicU32,
    pub total: AtomicU32,
    pub begun: AtomicU64,
    pub ended: AtomicU64,
    pub language: SharedCell<[u8; 8]>,
    pub counts: SharedCell<Counts>,
}

#[derive(Shareable)]
#[repr(C)]
pub struct Journal {
    pub committed: AtomicU32,
    pub row: AtomicU32,
    pub counts: SharedCell<Counts>,
    pub bucket: AtomicPtr<AtomicPtr<Word>>,
    pub first: AtomicPtr<Word>,
    pub word: AtomicPtr<Word>,
    pub list: AtomicPtr<List>,
    pub count: AtomicU32,
    pub fresh_word: AtomicPtr<Word>,
    pub fresh_list: AtomicPtr<List>,
    pub stale: AtomicPtr<List>,
}

#[derive(Shareable)]
#[repr(C)]
pub struct Table {
    pub lock: Lock,
    pub rows_used: AtomicU32,
    pub finished: AtomicU32,
    pub undone: AtomicU32,
    pub intact: AtomicU32,
    pub repairer: AtomicU32,
    pub journal: Journal,
    pub rows: [Row; ROWS],
    pub buckets: [AtomicPtr<Word>; BUCKETS],
}

/// Loads and stores whose order only matters to who comes after a kill.
pub trait Plainly<T> {
    fn get(&self) -> T;
    fn set(&self, value: T);
}

macro_rules! plainly {
    ($($atomic:ty: $kind:ty $(, $parameter:ident)?;)*) => {$(
        impl$(<$parameter>)? Plainly<$kind> for $atomic {
            fn get(&self) -> $kind {
                self.load(Ordering::Relaxed)
            }
            fn set(&self, value: $kind) {
                self.store(value, Ordering::Relaxed);
            }
        }
    )*};
}

plainly! {
    AtomicU32: u32;
    AtomicU64: u64;
    AtomicPtr<T>: *mut T, T;
}

/// A killed process stops between two instructions: what must be kept is their order, and only
/// the compiler could change it.
pub fn in_this_order() {
    compiler_fence(Ordering::SeqCst);
}

/// FNV-1a
pub fn hash_of(text: &[u8]) -> u32 {
    text.iter().fold(2_166_136_261, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619))
}

pub fn list_bytes(capacity: u32) -> usize {
    offset_of!(List, places) + capacity as usize * size_of::<Place>()
}

pub fn word_bytes(length: usize) -> usize {
    offset_of!(Word, text) + length
}

impl Word {
    pub fn text(&self) -> &[u8] {
        let place = ptr::from_ref(self).cast::<u8>();
        // SAFETY: a word's block has its text after it, which does not change.
        unsafe {
            std::slice::from_raw_parts(place.add(offset_of!(Word, text)), self.length as usize)
        }
    }
}

impl List {
    pub fn places(&self) -> &[SharedCell<Place>] {
        let place = ptr::from_ref(self).cast::<u8>();
        // SAFETY: a list's block has as many places after its head; a cell may hold any bytes.
        unsafe {
            let first = place.add(offset_of!(List, places)).cast();
            std::slice::from_raw_parts(first, self.capacity as usize)
        }
    }
}

/// What a pointer of the table leads to, while the table is locked.
pub fn follow<'t, T>(pointer: &AtomicPtr<T>) -> Option<&'t T> {
    // SAFETY: pointers of the table are NULL or lead to what a process prepared before it put them
    // there; under the lock nothing is freed but what was taken out.
    unsafe { pointer.get().as_ref() }
}
