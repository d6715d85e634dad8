//! The right to use what is in a segment, for as long as it is certainly mapped.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicPtr;

use psm_sys::{PSMHandle, PSMHandleTag};

use crate::alloc::{Alloc, Brand};
use crate::error::{Error, Result, check};

/// The right to use what is in a segment, within one [`Segment::enter`](crate::Segment::enter).
///
/// It is copied freely. It is `Send` and `Sync`, because every call may be made from any thread;
/// `std::thread::scope` takes it to others.
#[derive(Clone, Copy)]
pub struct Scope<'s> {
    base: NonNull<PSMHandleTag>,
    read_only: bool,
    brand: Brand<'s>,
}

// SAFETY: the handle is an address; every call that takes it may be made from any thread.
unsafe impl Send for Scope<'_> {}
// SAFETY: as for Send.
unsafe impl Sync for Scope<'_> {}

impl<'s> Scope<'s> {
    /// # Safety
    ///
    /// The segment stays mapped for `'s`, and `'s` is the lifetime of nothing of another segment.
    pub(crate) unsafe fn new(base: NonNull<PSMHandleTag>, read_only: bool) -> Self {
        Scope { base, read_only, brand: PhantomData }
    }

    pub(crate) fn handle(self) -> PSMHandle {
        self.base.as_ptr()
    }

    /// An error if the segment was opened read-only.
    pub(crate) fn writable(self) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        Err(Error::ReadOnly(
            "the segment was opened read-only: nothing in it can be referred to, only copied"
                .into(),
        ))
    }

    /// Gives back what dead members held, and settles where their blocks in flight belong.
    ///
    /// Who takes a lock over from the dead calls this before it publishes where the dead did.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`].
    pub fn reap(self) -> Result<()> {
        // SAFETY: the segment is open.
        check(unsafe { psm_sys::PSMreap(self.handle()) }).map(drop)
    }

    /// An allocator for collections in the segment.
    ///
    /// In a segment that was opened read-only it has nothing to give.
    #[inline]
    #[must_use]
    pub fn alloc(self) -> Alloc<'s> {
        Alloc::new(self.base)
    }

    /// The address of the segment's first byte, the same in every process.
    #[must_use]
    pub fn base(self) -> *mut c_void {
        self.base.as_ptr().cast()
    }

    /// Allocates `bytes` and publishes the block in one step: it is in `place`, or free, whenever
    /// this process is killed. Its content is not initialised.
    ///
    /// `place` lies in the segment. It has one writer at a time; and if the last one died,
    /// [`Scope::reap`] comes first. Else a block may be lost.
    ///
    /// A list that loses no node, whenever a process that pushes is killed:
    ///
    /// ```
    /// use psmalloc::{Lock, Result, Scope, Shareable};
    /// use std::ptr::null_mut;
    /// use std::sync::atomic::{AtomicPtr, Ordering::{Acquire, Relaxed, Release}};
    ///
    /// #[derive(Shareable)]
    /// #[repr(C)]
    /// struct Node { next: AtomicPtr<Node>, value: u64 }
    ///
    /// #[derive(Default, Shareable)]
    /// #[repr(C)]
    /// struct List { lock: Lock, head: AtomicPtr<Node>, fresh: AtomicPtr<Node> }
    ///
    /// fn push(s: Scope<'_>, list: &List, value: u64) -> Result<()> {
    ///     let guard = list.lock.lock(s)?;
    ///     if guard.owner_died() {
    ///         s.reap()?;
    ///         if list.fresh.load(Relaxed) == list.head.load(Relaxed) {
    ///             list.fresh.store(null_mut(), Relaxed); // it was published
    ///         }
    ///     }
    ///     if list.fresh.load(Relaxed).is_null() {
    ///         s.alloc_to(size_of::<Node>(), &list.fresh)?;
    ///     }
    ///     let (node, next) = (list.fresh.load(Relaxed), list.head.load(Relaxed).into());
    ///     // SAFETY: the block has room, and only who holds the lock knows it.
    ///     unsafe { node.write(Node { next, value }) };
    ///     list.head.store(node, Release); // complete: others may see it
    ///     list.fresh.store(null_mut(), Release);
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # let name = format!("shm:psmalloc-list-{}", std::process::id());
    /// # psmalloc::Segment::options().size(1 << 20).open(&name)?.enter(|s| {
    /// let list = s.root_or_init(List::default)?;
    /// push(s, list, 1)?;
    /// push(s, list, 2)?;
    /// // SAFETY: nodes are complete before they are published, and are never freed here.
    /// let newest = unsafe { &*list.head.load(Acquire) };
    /// assert_eq!(newest.value, 2);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`], [`Error::NoSpace`], [`Error::ReadOnly`]; [`Error::Invalid`] if `place`
    /// is not in the segment.
    pub fn alloc_to<T>(self, bytes: usize, place: &AtomicPtr<T>) -> Result<()> {
        // SAFETY: the segment is open. `place` is one word, which the library stores once; it
        // refuses what is not in the segment.
        check(unsafe { psm_sys::PSMallocTo(self.handle(), bytes, place.as_ptr().cast()) })?;
        Ok(())
    }

    /// Takes the block out of `place` and frees it; NULL comes first, so `place` never leads to a
    /// block that is free. Of several callers at once, one frees it. NULL: nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Pointer`], [`Error::DoubleFree`], [`Error::Invalid`], [`Error::ReadOnly`].
    ///
    /// # Safety
    ///
    /// Nobody, in any process, uses what is in the block any more.
    pub unsafe fn free_from<T>(self, place: &AtomicPtr<T>) -> Result<()> {
        // SAFETY: the caller answers for the block, the rest as for `alloc_to`.
        check(unsafe { psm_sys::PSMfreeFrom(self.handle(), place.as_ptr().cast()) })?;
        Ok(())
    }

    /// The 8 bytes that all members find, in every language; zero in a new segment.
    ///
    /// They lead to what the [root](Scope::root_or_init) is made of, if there is one. Programs in
    /// several languages agree on a `repr(C)` struct and put its address here themselves.
    ///
    /// # Safety
    ///
    /// Who writes them must know what all members take them for: members follow the address.
    pub unsafe fn user_word<T>(self) -> &'s AtomicPtr<T> {
        // SAFETY: the segment is mapped for `'s`; the word is aligned and only used atomically.
        unsafe { AtomicPtr::from_ptr(psm_sys::PSMgetUser(self.handle()).cast()) }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.base).finish()
    }
}
