//! A segment as this process sees it: opening, leaving, upkeep.

use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use psm_sys::{
    PSM_OPEN_EXCLUSIVE, PSM_OPEN_JOIN, PSM_OPEN_KEEP, PSM_OPEN_LARGE_PAGES, PSM_OPEN_READONLY,
    PSMHandle, PSMHandleTag, PSMOptions,
};
pub use psm_sys::{PSMMember as Member, PSMStat as Stat};

use crate::error::{Error, Result, check};
use crate::scope::Scope;

/// How to open a segment; begin with [`Segment::options`].
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until `open`"]
pub struct Options {
    size: u64,
    address: usize,
    mode: u32,
    flags: u32,
}

impl Options {
    fn flag(mut self, flag: u32, on: bool) -> Options {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
        self
    }

    /// Bytes of the segment. Without it an existing segment of any size is joined.
    pub fn size(mut self, bytes: usize) -> Options {
        self.size = bytes as u64;
        self
    }

    /// Where a new segment is to lie, a multiple of the page size. By default PSM chooses.
    pub fn address(mut self, address: usize) -> Options {
        self.address = address;
        self
    }

    /// Permission bits of a new file. By default it is for its owner only (`0o600`).
    pub fn mode(mut self, bits: u32) -> Options {
        self.mode = bits;
        self
    }

    /// Whether to join only: [`Error::NotFound`] if there is no such segment.
    pub fn join(self, on: bool) -> Options {
        self.flag(PSM_OPEN_JOIN, on)
    }

    /// Whether to create only: [`Error::Exists`] if there is such a segment.
    pub fn exclusive(self, on: bool) -> Options {
        self.flag(PSM_OPEN_EXCLUSIVE, on)
    }

    /// Whether the file outlives its users, so that the next one goes on with what is in it.
    pub fn keep(self, on: bool) -> Options {
        self.flag(PSM_OPEN_KEEP, on)
    }

    /// Whether to map for reading only. See [`Scope::copy_root`] for what can then be done.
    pub fn read_only(self, on: bool) -> Options {
        self.flag(PSM_OPEN_READONLY, on)
    }

    /// Small blocks lie in pages of 2 MiB, if the system can: faster in much memory, larger in
    /// little.
    pub fn large_pages(self, on: bool) -> Options {
        self.flag(PSM_OPEN_LARGE_PAGES, on)
    }

    /// Joins the segment `name`, or creates it.
    ///
    /// A name is a path; `shm:NAME` is `NAME` in the system's directory for shared memory.
    ///
    /// # Errors
    ///
    /// Any that a path can give, and [`Error::Size`], [`Error::Address`], [`Error::Members`],
    /// [`Error::NoSpace`], [`Error::Exists`], [`Error::NotFound`], or one that says what is wrong
    /// with the file.
    pub fn open(self, name: &str) -> Result<Segment> {
        let c_name = CString::new(name)
            .map_err(|_| Error::Name("a segment's name has no zero byte in it".into()))?;
        let options = PSMOptions {
            size: self.size,
            address: ptr::without_provenance_mut(self.address),
            mode: self.mode,
            flags: self.flags,
        };
        let mut handle: PSMHandle = ptr::null_mut();
        // SAFETY: the three pointers are valid for the call.
        check(unsafe { psm_sys::PSMopen(c_name.as_ptr(), &options, &mut handle) })?;
        let handle = NonNull::new(handle).ok_or_else(Error::last)?;
        let read_only = self.flags & PSM_OPEN_READONLY != 0;
        Ok(Segment { open: Arc::new(Open { handle, read_only, name: name.into() }) })
    }
}

/// One use of a segment by this process, given back when the last clone goes.
struct Open {
    handle: NonNull<PSMHandleTag>,
    read_only: bool,
    name: Box<str>,
}

// SAFETY: the handle is an address; every call that takes it may be made from any thread.
unsafe impl Send for Open {}
// SAFETY: as for Send.
unsafe impl Sync for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: this is the last clone, so no scope of it is left, and with it no pointer of
        // safe code into the segment and no call on it.
        unsafe { psm_sys::PSMdeinit(self.handle.as_ptr()) }
    }
}

/// A segment that this process uses.
///
/// A clone costs a counter. When the last clone is dropped the process leaves the segment, and
/// the last process removes its file (unless it was opened to be [kept](Options::keep)). A
/// process that ends without dropping it (by `std::process::exit` or a signal) counts as dead:
/// the others go on, and what only it could reach stays allocated.
///
/// `Segment` is `Send` and `Sync`: every call may be made from any thread. After `fork` the child
/// is a member by itself, and its copies of the clones are its own: it leaves when it drops them.
#[derive(Clone)]
pub struct Segment {
    open: Arc<Open>,
}

impl Segment {
    /// Options to open a segment with.
    pub fn options() -> Options {
        Options::default()
    }

    /// Calls `f` with a [`Scope`]: the right to use what is in the segment.
    ///
    /// All that points into the segment carries the scope's lifetime `'s`, which is of this call
    /// alone. So nothing can outlive the mapping, and nothing of one segment can be put into
    /// another, where a process that has mapped only one of them would follow it into the void.
    ///
    /// ```
    /// # fn main() -> psmalloc::Result<()> {
    /// # let name = format!("shm:psmalloc-enter-{}", std::process::id());
    /// let segment = psmalloc::Segment::options().size(1 << 20).open(&name)?;
    /// let sum: u64 = segment.enter(|s| {
    ///     let mut numbers = psmalloc::Vec::new_in(s.alloc());
    ///     numbers.extend(1..=100u64);
    ///     numbers.iter().sum()
    /// });
    /// assert_eq!(sum, 5050);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It cannot be carried out:
    ///
    /// ```compile_fail
    /// # let name = format!("shm:psmalloc-enter-{}", std::process::id());
    /// let segment = psmalloc::Segment::options().size(1 << 20).open(&name).unwrap();
    /// let numbers: psmalloc::Vec<u64> = segment.enter(|s| psmalloc::Vec::new_in(s.alloc()));
    /// ```
    ///
    /// and not be published in another segment:
    ///
    /// ```compile_fail
    /// fn mix(one: &psmalloc::Segment, other: &psmalloc::Segment) {
    ///     one.enter(|a| other.enter(|b| {
    ///         let text = psmalloc::String::from_str_in("of the other", b.alloc()).unwrap();
    ///         a.root_or_init(|| text).unwrap();
    ///     }));
    /// }
    /// ```
    pub fn enter<R>(&self, f: impl for<'s> FnOnce(Scope<'s>) -> R) -> R {
        // SAFETY: `self` keeps the segment mapped during the call, and `'s` is of this call only,
        // because `f` must do with any lifetime.
        f(unsafe { Scope::new(self.open.handle, self.open.read_only) })
    }

    /// The name it was opened by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.open.name
    }

    /// The address of its first byte, the same in every process.
    #[must_use]
    pub fn base(&self) -> *mut c_void {
        self.open.handle.as_ptr().cast()
    }

    fn handle(&self) -> PSMHandle {
        self.open.handle.as_ptr()
    }

    /// Counts what the segment holds. Others may go on; the figures are then close.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn stat(&self) -> Result<Stat> {
        let mut stat = Stat::default();
        // SAFETY: the segment is open and `stat` is valid for the call.
        check(unsafe { psm_sys::PSMstat(self.handle(), &mut stat) })?;
        Ok(stat)
    }

    /// Checks every invariant of the allocator's metadata. Others may go on.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with a sentence about the first that does not hold.
    pub fn check(&self) -> Result<()> {
        // SAFETY: the segment is open.
        check(unsafe { psm_sys::PSMcheck(self.handle()) }).map(drop)
    }

    /// The processes that use the segment. Those that only read are not listed.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut members = vec![Member::default(); 1024];
        // SAFETY: the segment is open, and there is room for as many as there can be.
        let count = check(unsafe {
            psm_sys::PSMmembers(self.handle(), members.as_mut_ptr(), members.len() as i32)
        })?;
        members.truncate(count as usize);
        Ok(members)
    }

    /// This process's membership: an id that no other ever has in this segment.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Members`].
    pub fn id(&self) -> Result<u64> {
        // SAFETY: the segment is open.
        match unsafe { psm_sys::PSMself(self.handle()) } {
            0 => Err(Error::last()),
            id => Ok(id),
        }
    }

    /// Whether the member with this id is alive.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn is_alive(&self, id: u64) -> Result<bool> {
        // SAFETY: the segment is open.
        Ok(check(unsafe { psm_sys::PSMalive(self.handle(), id) })? != 0)
    }

    /// The deaths after the first `*cursor`, at most eight at a time; `*cursor` grows by as many.
    /// Begin with 0; no news is an empty list.
    ///
    /// # Errors
    ///
    /// [`Error::State`]: deaths were missed, and `*cursor` now stands at the oldest that is
    /// remembered; ask [`Segment::is_alive`] about each id instead. [`Error::ReadOnly`].
    pub fn deaths(&self, cursor: &mut u64) -> Result<Vec<Member>> {
        let mut members = vec![Member::default(); 8];
        // SAFETY: the segment is open, the cursor is ours alone, and there is room for 8 members.
        let count = check(unsafe {
            psm_sys::PSMdeaths(self.handle(), cursor, members.as_mut_ptr(), members.len() as i32)
        })?;
        members.truncate(count as usize);
        Ok(members)
    }

    /// Gives back what dead members held ready; says how many were reaped. It also happens by
    /// itself, to some when a process joins and to all when memory runs out.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`].
    pub fn reap(&self) -> Result<usize> {
        // SAFETY: the segment is open.
        Ok(check(unsafe { psm_sys::PSMreap(self.handle()) })? as usize)
    }

    /// Gives memory that is free back to the file system; says how many bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`].
    pub fn trim(&self) -> Result<u64> {
        let mut bytes = 0;
        // SAFETY: the segment is open and `bytes` is valid for the call.
        check(unsafe { psm_sys::PSMtrim(self.handle(), &mut bytes) })?;
        Ok(bytes)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("name", &self.name()).field("base", &self.base()).finish()
    }
}
