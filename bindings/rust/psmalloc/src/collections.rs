//! `Vec` and `Box` in a segment.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use allocator_api2::alloc::{AllocError, Allocator, Global};

use crate::alloc::Alloc;
use crate::fingerprint::Fingerprint;
use crate::shareable::Shareable;

/// A vector in a segment: `psmalloc::Vec::new_in(scope.alloc())`.
///
/// A full segment makes `push` abort the process, as with any `Vec`; `try_reserve` before it gives
/// an error instead. Dropping it frees its block, in whichever process that is; forgetting it, or
/// a process that dies while only it knew the vector, leaves the block allocated.
pub type Vec<'s, T> = allocator_api2::vec::Vec<T, Alloc<'s>>;

/// One value in a block of its own: `psmalloc::Box::try_new_in(value, scope.alloc())`.
pub type Box<'s, T> = allocator_api2::boxed::Box<T, Alloc<'s>>;

// SAFETY: it is an address. A handle of `'s` is that of the segment of `'s`.
unsafe impl<'s> Shareable<'s> for Alloc<'s> {
    fn describe(of: &mut Fingerprint) {
        of.text("Alloc");
    }
}

// SAFETY: its pointer leads into the segment of its allocator, or is dangling and not followed.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Vec<'s, T> {
    fn describe(of: &mut Fingerprint) {
        let probe = Probe::default();
        let mut numbers = allocator_api2::vec::Vec::with_capacity_in(7, probe.handle());
        numbers.extend([1u32, 2, 3]);
        of.compiler().text("Vec").visit::<T>();
        probe.describe(&numbers, of);
    }
}

// SAFETY: its pointer leads into the segment of its allocator.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Box<'s, T> {
    fn describe(of: &mut Fingerprint) {
        let probe = Probe::default();
        let number = allocator_api2::boxed::Box::new_in(1u64, probe.handle());
        of.compiler().text("Box").visit::<T>();
        probe.describe(&number, of);
    }
}

/// Finds out how a collection of another crate lies in memory, by making a small one.
///
/// That says more than a version: what differs is what the compiled code does.
#[derive(Default)]
pub(crate) struct Probe {
    block: AtomicPtr<u8>,
    bytes: AtomicUsize,
}

/// The probe's allocator. It is an address, as [`Alloc`] is.
#[repr(transparent)]
pub(crate) struct ProbeAlloc<'p>(NonNull<Probe>, std::marker::PhantomData<&'p Probe>);

impl Probe {
    pub(crate) fn handle(&self) -> ProbeAlloc<'_> {
        ProbeAlloc(NonNull::from(self), std::marker::PhantomData)
    }

    /// Describes the words of a collection that lives by this probe, and the block it allocated.
    /// Addresses are told by what they lead to, because they differ from process to process.
    pub(crate) fn describe<C>(&self, collection: &C, of: &mut Fingerprint) {
        let word = size_of::<usize>();
        assert!(size_of::<C>() % word == 0 && align_of::<C>() == word, "it consists of words");
        let (block, bytes) =
            (self.block.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        for index in 0..size_of::<C>() / word {
            // SAFETY: the collections that are probed consist of words, all of them initialised.
            let value = unsafe { (&raw const *collection).cast::<usize>().add(index).read() };
            if value == (&raw const *self).addr() {
                of.text("allocator");
            } else if (block.addr()..=block.addr() + bytes).contains(&value) {
                of.text("block").number(value - block.addr());
            } else {
                of.text("number").number(value);
            }
        }
        for index in 0..bytes {
            // SAFETY: the block was zeroed when it was allocated, and the collection lives.
            of.number(usize::from(unsafe { block.add(index).read() }));
        }
    }
}

// SAFETY: it hands on to the global allocator.
unsafe impl Allocator for ProbeAlloc<'_> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = Global.allocate_zeroed(layout)?;
        // SAFETY: the handle borrows the probe.
        let probe = unsafe { self.0.as_ref() };
        probe.block.store(block.cast().as_ptr(), Ordering::Relaxed);
        probe.bytes.store(layout.size(), Ordering::Relaxed);
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block is one of the global allocator's.
        unsafe { Global.deallocate(block, layout) }
    }
}
