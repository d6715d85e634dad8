//! A copying view of bytes that others may be writing.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::fingerprint::Fingerprint;
use crate::shareable::{Plain, Shareable};

/// A value that any thread of any process may read and write at any time, by copying it.
///
/// Nothing refers into it, so nobody sees a value change. It is copied in pieces, each atomic:
/// 8 bytes, or 4 or 1 if the type's alignment is less. A value of one piece never tears; a larger
/// one may be half old and half new, which is still a value, because `T` is [`Plain`].
#[repr(transparent)]
pub struct SharedCell<T: Plain> {
    value: UnsafeCell<T>,
}

// SAFETY: the content is only touched by atomic operations, and any bytes of it are a value.
unsafe impl<T: Plain> Sync for SharedCell<T> {}

impl<T: Plain> SharedCell<T> {
    /// A cell with a value in it.
    pub const fn new(value: T) -> Self {
        SharedCell { value: UnsafeCell::new(value) }
    }

    /// A view of a `T` in memory that another language, or another process, laid out.
    ///
    /// # Safety
    ///
    /// For all of `'a` the address is that of as many mapped bytes and aligned, and nothing in
    /// this process touches them but by such views or by atomic operations.
    pub const unsafe fn from_ptr<'a>(address: *mut T) -> &'a SharedCell<T> {
        // SAFETY: the layout is that of `T`, and the caller answers for the rest.
        unsafe { &*address.cast::<SharedCell<T>>() }
    }

    /// Where the value lies.
    pub const fn as_ptr(&self) -> *mut T {
        self.value.get()
    }

    /// A copy of the value.
    pub fn get(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        let (from, to) = (self.as_ptr().cast::<u8>(), copy.as_mut_ptr().cast::<u8>());
        // SAFETY: both have the size and the alignment of `T`; pieces of it are aligned as well.
        // No piece is padding, and any bytes make a `T`.
        unsafe {
            for at in (0..size_of::<T>()).step_by(Self::PIECE) {
                match Self::PIECE {
                    8 => to
                        .add(at)
                        .cast::<u64>()
                        .write(AtomicU64::from_ptr(from.add(at).cast()).load(Ordering::Relaxed)),
                    4 => to
                        .add(at)
                        .cast::<u32>()
                        .write(AtomicU32::from_ptr(from.add(at).cast()).load(Ordering::Relaxed)),
                    _ => to.add(at).write(AtomicU8::from_ptr(from.add(at)).load(Ordering::Relaxed)),
                }
            }
            copy.assume_init()
        }
    }

    /// Writes a value over the old one.
    pub fn set(&self, value: T) {
        let (from, to) = ((&raw const value).cast::<u8>(), self.as_ptr().cast::<u8>());
        // SAFETY: as for `get`.
        unsafe {
            for at in (0..size_of::<T>()).step_by(Self::PIECE) {
                match Self::PIECE {
                    8 => AtomicU64::from_ptr(to.add(at).cast())
                        .store(from.add(at).cast::<u64>().read(), Ordering::Relaxed),
                    4 => AtomicU32::from_ptr(to.add(at).cast())
                        .store(from.add(at).cast::<u32>().read(), Ordering::Relaxed),
                    _ => {
                        AtomicU8::from_ptr(to.add(at)).store(from.add(at).read(), Ordering::Relaxed)
                    }
                }
            }
        }
    }

    /// A size is a multiple of the alignment, so pieces of it fill the value.
    const PIECE: usize = match align_of::<T>() {
        8.. => 8,
        4 => 4,
        _ => 1,
    };
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedCell").field(&self.get()).finish()
    }
}

// SAFETY: it is laid out as its content.
unsafe impl<'s, T: Plain + Shareable<'s>> Shareable<'s> for SharedCell<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("SharedCell").visit::<T>();
    }
}
