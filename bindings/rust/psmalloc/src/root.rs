//! Publication: values that all members find, once and for good.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::alloc::Brand;
use crate::cell::SharedCell;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::lock::Lock;
use crate::scope::Scope;
use crate::shareable::{Plain, Shareable};

/// Alignment of every block.
const ALIGN: usize = 16;

/// A place in a segment for one value, which is published once and then stays until the segment
/// ends; its destructor does not run.
///
/// The block comes by `PSMallocTo`, so none is lost when a process is killed: a block without a
/// value stays in its place, and the next one to publish takes it.
#[repr(C)]
pub struct Slot<'s, T> {
    lock: Lock,
    /// Stored after the value.
    ready: AtomicU32,
    block: AtomicPtr<T>,
    brand: Brand<'s>,
}

impl<'s, T: Shareable<'s> + Send + Sync> Slot<'s, T> {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        Slot {
            lock: Lock::new(),
            ready: AtomicU32::new(0),
            block: AtomicPtr::new(std::ptr::null_mut()),
            brand: PhantomData,
        }
    }

    /// The value, if it was published.
    pub fn get(&self) -> Option<&T> {
        if self.ready.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: the value was complete before `ready`, and it stays for as long as the segment.
        // It was published in this segment, because a slot refuses another's scope.
        Some(unsafe { &*self.place() })
    }

    /// The value; if there is none, the one that `make` gives. One process makes it; the others
    /// wait. `make` must not use this slot.
    ///
    /// # Errors
    ///
    /// Those of allocation, or that of `make`. The next caller tries again.
    pub fn get_or_try_init<E: From<Error>>(
        &self,
        scope: Scope<'s>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let lock = self.lock.lock(scope)?;
        if lock.owner_died() {
            // Who died in here left a block without a value, or none. Reaping settles which, before
            // another block goes to the same place.
            scope.reap()?;
        }
        if self.ready.load(Ordering::Acquire) == 0 {
            let value = make()?;
            if self.block.load(Ordering::Relaxed).is_null() {
                scope.alloc_to(Self::BYTES, &self.block)?;
            }
            // SAFETY: the block has room for an aligned value, and others do not look at it yet.
            unsafe { self.place().write(value) };
            self.ready.store(1, Ordering::Release);
        }
        drop(lock);
        // SAFETY: as for `get`: it is published, by this thread or by one that held the lock before.
        Ok(unsafe { &*self.place() })
    }

    /// As [`Slot::get_or_try_init`], with a `make` that does not fail.
    ///
    /// # Errors
    ///
    /// Those of allocation.
    pub fn get_or_init(&self, scope: Scope<'s>, make: impl FnOnce() -> T) -> Result<&T> {
        self.get_or_try_init(scope, || Ok(make()))
    }

    /// A block is aligned to 16, so a value that needs more has room to be moved up.
    const BYTES: usize = if align_of::<T>() > ALIGN {
        size_of::<T>() + align_of::<T>() - ALIGN
    } else {
        size_of::<T>()
    };

    /// Where the value lies in its block.
    fn place(&self) -> *mut T {
        let block = self.block.load(Ordering::Relaxed);
        block.map_addr(|address| address.next_multiple_of(align_of::<T>()))
    }
}

impl<'s, T: Shareable<'s> + Send + Sync> Default for Slot<'s, T> {
    fn default() -> Self {
        Slot::new()
    }
}

impl<T> fmt::Debug for Slot<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("block", &self.block).finish_non_exhaustive()
    }
}

// SAFETY: it leads to a block of the segment of `'s` only, which holds a shareable value.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Slot<'s, T> {
    fn describe(of: &mut Fingerprint) {
        of.text("Slot").visit::<T>();
    }
}

const MAGIC: u64 = u64::from_le_bytes(*b"PSMroot1");

/// What the user word of a segment with a typed root leads to.
#[repr(C)]
struct Header<'s, T> {
    magic: u64,
    fingerprint: [u64; 2],
    /// The type's name, to be told to who expects another.
    name: [u8; NAME],
    slot: Slot<'s, T>,
}

const NAME: usize = 64;

impl<'s> Scope<'s> {
    /// The root of the segment, if there is one: a value that all members find.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`]: the root is of another type, or of one that a build laid out in another
    /// way. [`Error::Foreign`]: the user word leads to something else. [`Error::ReadOnly`].
    pub fn root<T: Shareable<'s> + Send + Sync>(self) -> Result<Option<&'s T>> {
        self.writable()?;
        Ok(self.header::<T>()?.and_then(|header| header.slot.get()))
    }

    /// The root of the segment; if there is none, the value that `make` gives.
    ///
    /// One process makes it, the others wait. It stays until the segment ends. If the process is
    /// killed, what is lost is at most what `make` had allocated for the value's own use (and once
    /// in the life of a segment, the few bytes of the root's header); so let `make` give a value
    /// without blocks, and fill it after.
    ///
    /// # Errors
    ///
    /// As [`Scope::root`], and those of allocation.
    pub fn root_or_init<T: Shareable<'s> + Send + Sync>(
        self,
        make: impl FnOnce() -> T,
    ) -> Result<&'s T> {
        self.root_or_try_init(|| Ok(make()))
    }

    /// As [`Scope::root_or_init`], with a `make` that may fail.
    ///
    /// # Errors
    ///
    /// As [`Scope::root_or_init`], or that of `make`.
    pub fn root_or_try_init<T: Shareable<'s> + Send + Sync, E: From<Error>>(
        self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&'s T, E> {
        self.writable()?;
        let header = match self.header::<T>()? {
            Some(header) => header,
            None => self.new_header::<T>()?,
        };
        header.slot.get_or_try_init(self, make)
    }

    /// A copy of the root, which also works in a segment that was opened read-only.
    ///
    /// It is taken in pieces of 8 bytes, while others may be writing: see [`SharedCell`]. The root
    /// is a `SharedCell<T>` for those who write it.
    ///
    /// # Errors
    ///
    /// As [`Scope::root`], but for [`Error::ReadOnly`].
    pub fn copy_root<T: Shareable<'s> + Plain>(self) -> Result<Option<T>> {
        let root = self.header::<SharedCell<T>>()?.and_then(|header| header.slot.get());
        Ok(root.map(SharedCell::get))
    }

    /// The header that the user word leads to, if it is one for `T`.
    fn header<T: Shareable<'s>>(self) -> Result<Option<&'s Header<'s, T>>> {
        // SAFETY: the word is only read.
        let header = unsafe { self.user_word::<Header<'s, T>>() }.load(Ordering::Acquire);
        if header.is_null() {
            return Ok(None);
        }
        // SAFETY: the segment is open; the library says 0 for what is no block of it.
        let room = unsafe { psm_sys::PSMusableSize(self.handle(), header.cast()) };
        // SAFETY: there are as many bytes; what another program put there is only copied.
        let is_ours = room >= size_of::<Header<'s, T>>()
            && unsafe { SharedCell::from_ptr(&raw mut (*header).magic) }.get() == MAGIC;
        if !is_ours {
            return Err(Error::Foreign(
                format!(
                    "the user word of the segment leads to {header:p}, where there is no root of \
                     psmalloc: another program uses it in its own way"
                )
                .into(),
            ));
        }
        // SAFETY: it is a header, and all but its slot is the same for every type.
        let (found, name) = unsafe { ((*header).fingerprint, (*header).name) };
        if found == Fingerprint::of::<T>() {
            // SAFETY: it is the header of a `T`, laid out as here, and it stays.
            return Ok(Some(unsafe { &*header }));
        }
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        Err(Error::Layout(
            format!(
                "the root of the segment was made as {:?} and is wanted as {:?}: either the types \
                 differ, or two builds lay out the same type in different ways (another compiler, \
                 other versions of the crates); repr(C) types do not depend on the compiler",
                String::from_utf8_lossy(&name[..end]),
                std::any::type_name::<T>(),
            )
            .into(),
        ))
    }

    /// Puts an empty header into the user word, or finds that another has done so.
    fn new_header<T: Shareable<'s> + Send + Sync>(self) -> Result<&'s Header<'s, T>> {
        let mut name = [0; NAME];
        let text = std::any::type_name::<T>().as_bytes();
        let length = text.len().min(NAME);
        name[..length].copy_from_slice(&text[..length]);
        let fingerprint = Fingerprint::of::<T>();
        // SAFETY: the segment is open, and the block is ours until it is published.
        let header = unsafe {
            let block = psm_sys::PSMalloc(self.handle(), size_of::<Header<'s, T>>());
            let header = block.cast::<Header<'s, T>>();
            if header.is_null() {
                return Err(Error::last());
            }
            header.write(Header { magic: MAGIC, fingerprint, name, slot: Slot::new() });
            header
        };
        // SAFETY: a header goes where headers are looked for, and only where nothing was.
        let word = unsafe { self.user_word::<Header<'s, T>>() };
        let null = std::ptr::null_mut();
        if word.compare_exchange(null, header, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: nobody has seen the block.
            unsafe { psm_sys::PSMfree(self.handle(), header.cast()) };
        }
        self.header::<T>().map(|header| header.expect("a root is not taken back"))
    }
}
