//! The allocator of the standard library, for its own collections.

use std::alloc::{AllocError, Allocator, Layout};
use std::ptr::NonNull;

use allocator_api2::alloc as stable;

use crate::alloc::Alloc;

fn std_error(_: stable::AllocError) -> AllocError {
    AllocError
}

// SAFETY: the two traits have the same contract, and this is the same allocator.
unsafe impl Allocator for Alloc<'_> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        stable::Allocator::allocate(self, layout).map_err(std_error)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        stable::Allocator::allocate_zeroed(self, layout).map_err(std_error)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the contract is the same.
        unsafe { stable::Allocator::deallocate(self, block, layout) }
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same.
        unsafe { stable::Allocator::grow(self, block, old, new) }.map_err(std_error)
    }

    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same.
        unsafe { stable::Allocator::grow_zeroed(self, block, old, new) }.map_err(std_error)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the contract is the same.
        unsafe { stable::Allocator::shrink(self, block, old, new) }.map_err(std_error)
    }
}
