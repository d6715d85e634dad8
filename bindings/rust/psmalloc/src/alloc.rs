//! The allocator handle: the base address and nothing else.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use psm_sys::PSMHandleTag;

/// What PSM aligns every block to.
const ALIGN: usize = 16;

/// Makes `'s` invariant, so that the scopes of two segments never become one.
pub(crate) type Brand<'s> = PhantomData<fn(&'s ()) -> &'s ()>;

/// Allocates from a segment.
///
/// It is the segment's base address, the same in every member, and nothing else; so a collection
/// that holds it may itself lie in the segment, and whichever process changes the collection
/// allocates and frees in the same place. It is `Send` and `Sync`, because any thread of any
/// member may allocate and free.
///
/// `'s` is the [`Scope`](crate::Scope) it came from.
#[repr(transparent)]
pub struct Alloc<'s> {
    base: NonNull<PSMHandleTag>,
    brand: Brand<'s>,
}

// SAFETY: the C library lets any thread allocate and free; the handle is an address.
unsafe impl Send for Alloc<'_> {}
// SAFETY: as for Send.
unsafe impl Sync for Alloc<'_> {}

impl Clone for Alloc<'_> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Alloc<'_> {}

impl PartialEq for Alloc<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base
    }
}

impl Eq for Alloc<'_> {}

impl fmt::Debug for Alloc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alloc").field(&self.base).finish()
    }
}

impl Alloc<'_> {
    pub(crate) fn new(base: NonNull<PSMHandleTag>) -> Self {
        Alloc { base, brand: PhantomData }
    }

    #[inline]
    fn handle(self) -> *mut PSMHandleTag {
        self.base.as_ptr()
    }

    /// A block for a layout that is not empty.
    #[inline]
    fn block(self, layout: Layout) -> *mut c_void {
        // SAFETY: `'s` says that the segment is mapped; alignments of layouts are powers of two.
        unsafe {
            if layout.align() <= ALIGN {
                psm_sys::PSMalloc(self.handle(), layout.size())
            } else {
                psm_sys::PSMalignedAlloc(self.handle(), layout.align(), layout.size())
            }
        }
    }

    /// The block moved to one for the new layout.
    ///
    /// # Safety
    ///
    /// As for `grow` and `shrink`; neither layout is empty.
    #[cold]
    unsafe fn replace(
        self,
        old: NonNull<u8>,
        old_layout: Layout,
        new_layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: `old` is a block of this segment. If it has the room and the alignment by chance,
        // it serves as it is.
        let room = unsafe { psm_sys::PSMusableSize(self.handle(), old.as_ptr().cast()) };
        if room >= new_layout.size() && old.addr().get() % new_layout.align() == 0 {
            return Ok(NonNull::slice_from_raw_parts(old, new_layout.size()));
        }
        let new = self.allocate(new_layout)?;
        let kept = old_layout.size().min(new_layout.size());
        // SAFETY: both blocks have at least `kept` bytes, and they are two different blocks.
        unsafe {
            old.copy_to_nonoverlapping(new.cast(), kept);
            self.deallocate(old, old_layout);
        }
        Ok(new)
    }

    /// What `grow` and `shrink` have in common.
    ///
    /// # Safety
    ///
    /// As for `grow` and `shrink`.
    #[inline]
    unsafe fn resize(
        self,
        old: NonNull<u8>,
        old_layout: Layout,
        new_layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old_layout.size() == 0 {
            return self.allocate(new_layout);
        }
        if new_layout.size() == 0 {
            // SAFETY: the caller gives the block up.
            unsafe { self.deallocate(old, old_layout) };
            return Ok(empty(new_layout));
        }
        if new_layout.align() > ALIGN || old_layout.align() > ALIGN {
            // PSMrealloc may move a block to a multiple of 16 only.
            // SAFETY: as for this function, and neither layout is empty.
            return unsafe { self.replace(old, old_layout, new_layout) };
        }
        // SAFETY: `old` is a block of this segment, which the caller gives up if this succeeds.
        let block =
            unsafe { psm_sys::PSMrealloc(self.handle(), old.as_ptr().cast(), new_layout.size()) };
        slice(block, new_layout)
    }
}

fn slice(block: *mut c_void, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block.cast::<u8>()).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

/// The place of what has no bytes; it is not dereferenced, so any process may hold it.
fn empty(layout: Layout) -> NonNull<[u8]> {
    let place = std::ptr::without_provenance_mut(layout.align());
    NonNull::slice_from_raw_parts(NonNull::new(place).expect("an alignment is not 0"), 0)
}

// SAFETY: blocks stay where they are until they are given back, by any copy of the handle in any
// process; the segment is mapped for `'s`. Copies are the same allocator.
unsafe impl Allocator for Alloc<'_> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        slice(self.block(layout), layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 || layout.align() > ALIGN {
            let block = self.allocate(layout)?;
            // SAFETY: the block has as many bytes, and nobody else knows it yet.
            unsafe { block.cast::<u8>().write_bytes(0, layout.size()) };
            return Ok(block);
        }
        // SAFETY: `'s` says that the segment is mapped.
        slice(unsafe { psm_sys::PSMcalloc(self.handle(), 1, layout.size()) }, layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller gives up a block of this allocator; PSM refuses what is no block.
            unsafe { psm_sys::PSMfree(self.handle(), block.as_ptr().cast()) }
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        old: NonNull<u8>,
        old_layout: Layout,
        new_layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same.
        unsafe { self.resize(old, old_layout, new_layout) }
    }

    unsafe fn grow_zeroed(
        &self,
        old: NonNull<u8>,
        old_layout: Layout,
        new_layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same; the bytes beyond the old size are the block's own.
        unsafe {
            let new = self.resize(old, old_layout, new_layout)?;
            let more = new_layout.size() - old_layout.size();
            new.cast::<u8>().add(old_layout.size()).write_bytes(0, more);
            Ok(new)
        }
    }

    #[inline]
    unsafe fn shrink(
        &self,
        old: NonNull<u8>,
        old_layout: Layout,
        new_layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same.
        unsafe { self.resize(old, old_layout, new_layout) }
    }
}
