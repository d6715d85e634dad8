// Made from include/psm.h by `cargo test -p psm-sys --features bindgen`; not to be edited.

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PSMHandleTag {
    _unused: [u8; 0],
}
pub type PSMHandle = *mut PSMHandleTag;
unsafe extern "C" {
    /**Join the segment `name`, or create it with `size` bytes if nobody uses it.

A name is a path, as open() takes it, in UTF-8 on Windows; "shm:NAME" is
NAME in the system's directory for shared memory, on Windows in a folder of
the user's temporary files. A file left behind by processes that are all
dead is started afresh; a file that is no segment is refused, untouched.
To join, `size` must be that of the segment. `address` NULL lets PSM
choose; else it is a multiple of the page size, on Windows of 64 KiB, and
the segment is mapped there or not at all. A second call for the same
segment in one process gives the same handle and is counted. New files are
for their owner only.

# Returns

The handle in `*handle`; NULL there on any failure.

# Errors

PSM_E_NAME, PSM_E_SIZE, PSM_E_ADDRESS, PSM_E_MEMBERS,
PSM_E_NOSPACE, PSM_E_ACCESS, PSM_E_FILETYPE, PSM_E_FORMAT,
PSM_E_VERSION, PSM_E_PLATFORM, PSM_E_TRUNCATED, PSM_E_CORRUPT,
PSM_E_INVALID (`handle` is NULL), PSM_E_SYSTEM.

# Ownership

The caller; give it back with PSMdeinit.

# Safety

From any thread.*/
    pub fn PSMinit(
        name: *const ::core::ffi::c_char,
        size: usize,
        address: *mut ::core::ffi::c_void,
        handle: *mut PSMHandle,
    );
}
unsafe extern "C" {
    /**Leave a segment, once for each PSMinit or PSMopen.

The last one of this process unmaps it. The last one of all processes
removes the file, unless the segment was opened to be kept. NULL: nothing.

# Errors

PSM_E_HANDLE.

# Safety

From any thread, when no other is inside a call on this segment.*/
    pub fn PSMdeinit(handle: PSMHandle);
}
unsafe extern "C" {
    /**Allocate from a segment.

A size of 0 gives a block of its own.

# Returns

Address of at least `size` bytes, aligned to 16; NULL if none,
and for a NULL handle.

# Errors

PSM_E_NOMEM, PSM_E_NOSPACE, PSM_E_HANDLE, PSM_E_READONLY,
PSM_E_CORRUPT (see PSMgetError).

# Ownership

The segment; any member may pass it to PSMfree.

# Safety

From any thread of any member; not from a signal handler.*/
    pub fn PSMalloc(handle: PSMHandle, size: usize) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**Give a block back, whoever allocated it.

A NULL handle or block: nothing. A pointer that is no block, or a block
that is free already, is refused, and nothing changes. (Not all of it is
seen when two threads free one block at the same instant.)

# Errors

PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_HANDLE, PSM_E_READONLY.

# Safety

From any thread of any member; not from a signal handler.*/
    pub fn PSMfree(handle: PSMHandle, block: *mut ::core::ffi::c_void);
}
unsafe extern "C" {
    /**The 8 bytes of a segment that need no allocation: zero at creation.

The place for a root pointer. Their address never changes.

# Returns

Their address, aligned to 8; NULL if `handle` is not open.

# Errors

PSM_E_HANDLE.

# Safety

From any thread; the bytes are the application's to synchronise.*/
    pub fn PSMgetUser(handle: PSMHandle) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**Is the segment sound?

# Returns

0 if so; else the PSM_E_CORRUPT that an operation or PSMcheck
met; -1 for a NULL handle, PSM_E_HANDLE for one that is not open.

# Safety

From any thread. It does not change the thread's last error.*/
    pub fn PSMgetError(handle: PSMHandle) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Announce one child, before fork().

Children are members without these three calls; they serve programs that
count. Each prepare entitles one child to one PSMexecuteInherit. The
parent may leave in between: the segment waits for the child. Windows has
no fork: there all that can be done with a prepare is to cancel it.

# Returns

`handle`; NULL on failure, and for NULL.

# Errors

PSM_E_HANDLE, PSM_E_READONLY, PSM_E_STATE (too many).

# Safety

From any thread.*/
    pub fn PSMprepareInherit(handle: PSMHandle) -> PSMHandle;
}
unsafe extern "C" {
    /**Take over a segment in a child that was announced.

The child then owes one PSMdeinit for each; the uses it inherited from its
parent end with the first.

# Returns

`handle`; NULL if nothing was prepared, or not in a child.

# Errors

PSM_E_STATE, PSM_E_HANDLE.

# Safety

From any thread of the child.*/
    pub fn PSMexecuteInherit(handle: PSMHandle) -> PSMHandle;
}
unsafe extern "C" {
    /**Take one PSMprepareInherit back, as after a fork() that failed.

# Errors

PSM_E_STATE (none is left), PSM_E_HANDLE.

# Safety

From any thread of the process that prepared.*/
    pub fn PSMcancelInherit(handle: PSMHandle);
}
pub const PSM_OK: _bindgen_ty_1 = 0;
///You hold the lock; repair what it guards
pub const PSM_OWNER_DIED: _bindgen_ty_1 = 1;
///An argument is out of its range
pub const PSM_E_INVALID: _bindgen_ty_1 = -1;
///No open segment of this process
pub const PSM_E_HANDLE: _bindgen_ty_1 = -2;
///Empty, too long, or leads nowhere
pub const PSM_E_NAME: _bindgen_ty_1 = -3;
///Too small, too large, or not the segment's
pub const PSM_E_SIZE: _bindgen_ty_1 = -4;
///The address range is not to be had
pub const PSM_E_ADDRESS: _bindgen_ty_1 = -5;
///All 1024 seats are taken
pub const PSM_E_MEMBERS: _bindgen_ty_1 = -6;
///The segment is full
pub const PSM_E_NOMEM: _bindgen_ty_1 = -7;
///The file system is full
pub const PSM_E_NOSPACE: _bindgen_ty_1 = -8;
///The file's permissions forbid it
pub const PSM_E_ACCESS: _bindgen_ty_1 = -9;
///A directory, a pipe, a device: no plain file
pub const PSM_E_FILETYPE: _bindgen_ty_1 = -10;
///The file is not a segment
pub const PSM_E_FORMAT: _bindgen_ty_1 = -11;
///A segment of another format version
pub const PSM_E_VERSION: _bindgen_ty_1 = -12;
///A segment of another word size or byte order
pub const PSM_E_PLATFORM: _bindgen_ty_1 = -13;
///A segment that was cut or has grown
pub const PSM_E_TRUNCATED: _bindgen_ty_1 = -14;
///The metadata contradicts itself
pub const PSM_E_CORRUPT: _bindgen_ty_1 = -15;
///No block begins at this address
pub const PSM_E_POINTER: _bindgen_ty_1 = -16;
///The block is free already
pub const PSM_E_DOUBLE_FREE: _bindgen_ty_1 = -17;
///Exclusive creation, and it exists
pub const PSM_E_EXISTS: _bindgen_ty_1 = -18;
///To join only, and there is none
pub const PSM_E_NOT_FOUND: _bindgen_ty_1 = -19;
///The segment was opened read-only
pub const PSM_E_READONLY: _bindgen_ty_1 = -20;
///Not now: nothing prepared, a lock that is not yours
pub const PSM_E_STATE: _bindgen_ty_1 = -21;
///The operating system refused
pub const PSM_E_SYSTEM: _bindgen_ty_1 = -22;
pub type _bindgen_ty_1 = ::core::ffi::c_int;
unsafe extern "C" {
    /**The calling thread's most recent error.

As with errno, success leaves it alone: PSMclearError before a call that
returns nothing (PSMfree, PSMdeinit) tells its failure from an older one.

# Returns

A PSM_E_ code, or 0 if there was none.

# Safety

From any thread.*/
    pub fn PSMlastError() -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Set the calling thread's last error to 0.

# Safety

From any thread.*/
    pub fn PSMclearError();
}
unsafe extern "C" {
    /**The sentence for a result code.

For the thread's last error it names the file, address or size in
question; for another code it is the general sentence.

# Returns

A string, never NULL.

# Ownership

The library; the next failure of this thread may change it.

# Safety

From any thread.*/
    pub fn PSMerrorString(code: ::core::ffi::c_int) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    /**The version of the library that runs.

# Returns

"major.minor.patch".

# Safety

Anywhere.*/
    pub fn PSMversion() -> *const ::core::ffi::c_char;
}
///Never create: PSM_E_NOT_FOUND instead
pub const PSM_OPEN_JOIN: _bindgen_ty_2 = 1;
///Never join: PSM_E_EXISTS instead
pub const PSM_OPEN_EXCLUSIVE: _bindgen_ty_2 = 2;
///The file outlives its users; the next one goes on
pub const PSM_OPEN_KEEP: _bindgen_ty_2 = 4;
///Map for reading; implies PSM_OPEN_JOIN
pub const PSM_OPEN_READONLY: _bindgen_ty_2 = 8;
///Small blocks in pages of 2 MiB, if the system can
pub const PSM_OPEN_LARGE_PAGES: _bindgen_ty_2 = 16;
pub type _bindgen_ty_2 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PSMOptions {
    ///Bytes; 0 joins whatever size there is
    pub size: u64,
    ///NULL: PSM chooses
    pub address: *mut ::core::ffi::c_void,
    ///Permission bits of a new file; 0 means 0600
    pub mode: u32,
    ///PSM_OPEN_ bits, or 0 to create or join
    pub flags: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PSMOptions"][::core::mem::size_of::<PSMOptions>() - 24usize];
    ["Alignment of PSMOptions"][::core::mem::align_of::<PSMOptions>() - 8usize];
    [
        "Offset of field: PSMOptions::size",
    ][::core::mem::offset_of!(PSMOptions, size) - 0usize];
    [
        "Offset of field: PSMOptions::address",
    ][::core::mem::offset_of!(PSMOptions, address) - 8usize];
    [
        "Offset of field: PSMOptions::mode",
    ][::core::mem::offset_of!(PSMOptions, mode) - 16usize];
    [
        "Offset of field: PSMOptions::flags",
    ][::core::mem::offset_of!(PSMOptions, flags) - 20usize];
};
impl Default for PSMOptions {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    /**PSMinit with options.

Options that are all zero, or NULL, join a segment of any size. A segment
is kept as soon as one of its users has asked for it. A second open of the
same segment in one process is counted; it cannot change how it is mapped.

Large pages save a program that wanders through much memory a part of its
time, and cost up to 2 MiB for what needs less. Linux has them for files in
memory (shm:) from 6.1 on; elsewhere the flag changes nothing.

# Returns

0 and the handle in `*handle`; else a PSM_E_ code and NULL there.

# Errors

As PSMinit; PSM_E_EXISTS, PSM_E_NOT_FOUND, PSM_E_INVALID.

# Ownership

The caller; give it back with PSMdeinit.

# Safety

From any thread.*/
    pub fn PSMopen(
        name: *const ::core::ffi::c_char,
        options: *const PSMOptions,
        handle: *mut PSMHandle,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Allocate `count` times `size` bytes, all zero.

# Returns

As PSMalloc.

# Errors

As PSMalloc; a product that overflows is PSM_E_NOMEM.

# Ownership

As PSMalloc.

# Safety

As PSMalloc.*/
    pub fn PSMcalloc(
        handle: PSMHandle,
        count: usize,
        size: usize,
    ) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**Change a block's size; its content up to the smaller size stays.

In place where possible. `block` NULL allocates. Size 0 gives the smallest
block; it does not free.

# Returns

The block's address, perhaps a new one; NULL on failure, and then
the old block is untouched.

# Errors

As PSMalloc; PSM_E_POINTER, PSM_E_DOUBLE_FREE.

# Ownership

As PSMalloc.

# Safety

As PSMalloc.*/
    pub fn PSMrealloc(
        handle: PSMHandle,
        block: *mut ::core::ffi::c_void,
        size: usize,
    ) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**Allocate at a multiple of `alignment`, a power of two in bytes.

# Returns

As PSMalloc.

# Errors

As PSMalloc; PSM_E_INVALID.

# Ownership

As PSMalloc.

# Safety

As PSMalloc.*/
    pub fn PSMalignedAlloc(
        handle: PSMHandle,
        alignment: usize,
        size: usize,
    ) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**How many bytes of a block may be used: at least what was asked for.

# Returns

Bytes; 0 if it is no block.

# Errors

PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_HANDLE.

# Safety

From any thread of any member.*/
    pub fn PSMusableSize(handle: PSMHandle, block: *const ::core::ffi::c_void) -> usize;
}
unsafe extern "C" {
    /**Allocate and publish in one crash-safe step: `*where = block`.

`where` lies in the same segment, at a multiple of the pointer size. If the
caller is killed, the block is either in `*where` or free, never lost. The
bytes of the block are not initialised when it appears. Should the caller
die, `*where` decides until it has been reaped: a process that takes the
block out before then, but by PSMfreeFrom, must not put back the value that
was there before, and nobody may write there but to take the block out.

# Returns

0; else a PSM_E_ code and `*where` is unchanged.

# Errors

As PSMalloc; PSM_E_INVALID (`where` is not in the segment).

# Ownership

The segment, through `*where`.

# Safety

As PSMalloc; one writer to `*where` at a time.*/
    pub fn PSMallocTo(
        handle: PSMHandle,
        size: usize,
        where_: *mut *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Take the block out of `*where` and free it: `*where = NULL` comes first.

If the caller is killed, `*where` never points to a freed block; the block
itself may be lost. Of several callers at once, one frees it. `*where` NULL:
nothing.

# Returns

0, or a PSM_E_ code, and then `*where` is unchanged.

# Errors

PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_INVALID, PSM_E_HANDLE.

# Safety

From any thread of any member.*/
    pub fn PSMfreeFrom(
        handle: PSMHandle,
        where_: *mut *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**The offset of an address in its segment, the same for ever.

# Returns

Bytes from the base; 0 for NULL and for what is not inside.

# Errors

PSM_E_POINTER, PSM_E_HANDLE.

# Safety

From any thread.*/
    pub fn PSMoffset(handle: PSMHandle, address: *const ::core::ffi::c_void) -> u64;
}
unsafe extern "C" {
    /**The address at an offset; the inverse of PSMoffset.

# Returns

The address; NULL for 0 and for what is not inside.

# Errors

PSM_E_POINTER, PSM_E_HANDLE.

# Safety

From any thread.*/
    pub fn PSMaddress(handle: PSMHandle, offset: u64) -> *mut ::core::ffi::c_void;
}
unsafe extern "C" {
    /**Which open segment of this process an address lies in.

# Returns

Its handle; NULL if none.

# Safety

From any thread.*/
    pub fn PSMsegmentOf(address: *const ::core::ffi::c_void) -> PSMHandle;
}
unsafe extern "C" {
    /**Lock the 4 bytes at `lock`, which lie in the segment and begin as zero.

If the owner died or left, the next caller gets the lock at once and is
told so: it holds the lock and first repairs what the lock guards. The dead
have been reaped by then (PSMreap), so that what they had begun by
PSMallocTo is settled.

# Returns

0, PSM_OWNER_DIED, or a PSM_E_ code.

# Errors

PSM_E_INVALID (not in the segment or not aligned), PSM_E_HANDLE,
PSM_E_READONLY.

# Ownership

The calling process, until PSMunlock; it is not recursive.

# Safety

From any thread of any member; it waits.*/
    pub fn PSMlock(handle: PSMHandle, lock: *mut u32) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**PSMlock if nobody holds the lock; it does not wait.

A lock whose owner died or left counts as free. To see that costs a system
call each time that the lock is held.

# Returns

0 or PSM_OWNER_DIED: you hold it; or a PSM_E_ code: you do not.

# Errors

PSM_E_STATE (it is held: by another process, or by this one), and
as PSMlock.

# Ownership

As PSMlock.

# Safety

From any thread of any member.*/
    pub fn PSMtrylock(handle: PSMHandle, lock: *mut u32) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Unlock what this process locked.

# Returns

0, or a PSM_E_ code.

# Errors

PSM_E_STATE (this process does not hold it), PSM_E_INVALID,
PSM_E_HANDLE.

# Safety

From any thread of the process that locked.*/
    pub fn PSMunlock(handle: PSMHandle, lock: *mut u32) -> ::core::ffi::c_int;
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct PSMStat {
    ///Bytes of the segment
    pub size: u64,
    ///Bytes of it that are never handed out
    pub metadata: u64,
    ///Bytes in allocated blocks, rounding included
    pub used: u64,
    ///Bytes free, but held ready for one thread each
    pub cached: u64,
    ///Bytes free otherwise
    pub free: u64,
    ///Bytes of the largest block that fits in one piece
    pub largest: u64,
    ///Bytes that the file system has promised
    pub committed: u64,
    ///Allocated blocks
    pub blocks: u64,
    ///Processes
    pub members: u32,
    ///Threads that hold a cache
    pub caches: u32,
    ///Bytes of the granule of large blocks
    pub unit: u32,
    ///Bytes of the largest small block
    pub small_max: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PSMStat"][::core::mem::size_of::<PSMStat>() - 80usize];
    ["Alignment of PSMStat"][::core::mem::align_of::<PSMStat>() - 8usize];
    ["Offset of field: PSMStat::size"][::core::mem::offset_of!(PSMStat, size) - 0usize];
    [
        "Offset of field: PSMStat::metadata",
    ][::core::mem::offset_of!(PSMStat, metadata) - 8usize];
    ["Offset of field: PSMStat::used"][::core::mem::offset_of!(PSMStat, used) - 16usize];
    [
        "Offset of field: PSMStat::cached",
    ][::core::mem::offset_of!(PSMStat, cached) - 24usize];
    ["Offset of field: PSMStat::free"][::core::mem::offset_of!(PSMStat, free) - 32usize];
    [
        "Offset of field: PSMStat::largest",
    ][::core::mem::offset_of!(PSMStat, largest) - 40usize];
    [
        "Offset of field: PSMStat::committed",
    ][::core::mem::offset_of!(PSMStat, committed) - 48usize];
    [
        "Offset of field: PSMStat::blocks",
    ][::core::mem::offset_of!(PSMStat, blocks) - 56usize];
    [
        "Offset of field: PSMStat::members",
    ][::core::mem::offset_of!(PSMStat, members) - 64usize];
    [
        "Offset of field: PSMStat::caches",
    ][::core::mem::offset_of!(PSMStat, caches) - 68usize];
    ["Offset of field: PSMStat::unit"][::core::mem::offset_of!(PSMStat, unit) - 72usize];
    [
        "Offset of field: PSMStat::small_max",
    ][::core::mem::offset_of!(PSMStat, small_max) - 76usize];
};
unsafe extern "C" {
    /**Count what a segment holds. Others may go on; the figures are then close.

Time grows with the segment's size, not with the number of blocks.

# Returns

0, or a PSM_E_ code.

# Errors

PSM_E_HANDLE, PSM_E_INVALID.

# Safety

From any thread of any member.*/
    pub fn PSMstat(handle: PSMHandle, stat: *mut PSMStat) -> ::core::ffi::c_int;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PSMBlock {
    ///Of the block; NULL begins
    pub address: *mut ::core::ffi::c_void,
    ///Bytes that may be used
    pub size: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PSMBlock"][::core::mem::size_of::<PSMBlock>() - 16usize];
    ["Alignment of PSMBlock"][::core::mem::align_of::<PSMBlock>() - 8usize];
    [
        "Offset of field: PSMBlock::address",
    ][::core::mem::offset_of!(PSMBlock, address) - 0usize];
    [
        "Offset of field: PSMBlock::size",
    ][::core::mem::offset_of!(PSMBlock, size) - 8usize];
};
impl Default for PSMBlock {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    /**Step to the next allocated block, in the order of addresses.

Begin with a PSMBlock that is all zero. Blocks that come and go meanwhile
may or may not be seen.

# Returns

1 and the block in `*block`; 0 after the last; a PSM_E_ code.

# Errors

PSM_E_HANDLE, PSM_E_INVALID, PSM_E_POINTER.

# Safety

From any thread of any member.*/
    pub fn PSMwalk(handle: PSMHandle, block: *mut PSMBlock) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Check every invariant of the metadata. Others may go on.

# Returns

0 if all hold; else PSM_E_CORRUPT, which PSMgetError then reports
in every member, and a sentence about the first that does not.

# Errors

PSM_E_CORRUPT, PSM_E_HANDLE.

# Safety

From any thread of any member.*/
    pub fn PSMcheck(handle: PSMHandle) -> ::core::ffi::c_int;
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct PSMMember {
    ///Of this membership: no other ever has it in this segment
    pub id: u64,
    ///In the member's own PID namespace; 0 before it is known
    pub pid: u32,
    ///0 .. 1023
    pub seat: u32,
    ///When it began: the low 32 bits of the system's count
    pub start: u32,
    ///1, or 0: it died and has not been reaped yet
    pub alive: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PSMMember"][::core::mem::size_of::<PSMMember>() - 24usize];
    ["Alignment of PSMMember"][::core::mem::align_of::<PSMMember>() - 8usize];
    ["Offset of field: PSMMember::id"][::core::mem::offset_of!(PSMMember, id) - 0usize];
    [
        "Offset of field: PSMMember::pid",
    ][::core::mem::offset_of!(PSMMember, pid) - 8usize];
    [
        "Offset of field: PSMMember::seat",
    ][::core::mem::offset_of!(PSMMember, seat) - 12usize];
    [
        "Offset of field: PSMMember::start",
    ][::core::mem::offset_of!(PSMMember, start) - 16usize];
    [
        "Offset of field: PSMMember::alive",
    ][::core::mem::offset_of!(PSMMember, alive) - 20usize];
};
unsafe extern "C" {
    /**List the members. Those that only read have no seat and are not listed.

# Returns

How many there are; at most `count` of them are in `members`.

# Errors

PSM_E_HANDLE, PSM_E_INVALID.

# Safety

From any thread of any member.*/
    pub fn PSMmembers(
        handle: PSMHandle,
        members: *mut PSMMember,
        count: ::core::ffi::c_int,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**The calling process's membership, as it stands in PSMMember.id.

It is what to write beside data that this process is at work on, so that
others find it after its death: unlike a pid it is never used again. It is
below 2^53. A child by fork has one of its own.

# Returns

The id; 0 if there is none.

# Errors

PSM_E_HANDLE, PSM_E_READONLY, PSM_E_MEMBERS.

# Safety

From any thread.*/
    pub fn PSMself(handle: PSMHandle) -> u64;
}
unsafe extern "C" {
    /**Is the member with this id alive?

# Returns

1, or 0: it died or left, or never was; or a PSM_E_ code.

# Errors

PSM_E_HANDLE.

# Safety

From any thread of any member.*/
    pub fn PSMalive(handle: PSMHandle, id: u64) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Report each member that died without leaving, once.

`*cursor` is how many deaths the caller has seen; 0 begins with the oldest
that the segment remembers: the last 8 to 1024, by its size. A cursor of
one's own hears of every death once. A cursor in the segment, used under a
PSMlock, makes one process of all hear of each. Dead members are reaped
first, so nothing that is reported is still at work. A process that ends
or runs another program without leaving counts as dead.

# Returns

How many are in `members`, at most `count`, in the order in which
they were found, and `*cursor` grows by as many; 0 if there is no
news; or a PSM_E_ code.

# Errors

PSM_E_STATE (deaths were missed, and `*cursor` now stands at the
oldest that is remembered: ask PSMalive about each id instead),
PSM_E_INVALID (the cursor is beyond the last death), PSM_E_HANDLE,
PSM_E_READONLY.

# Safety

From any thread of any member; one caller per cursor at a time.*/
    pub fn PSMdeaths(
        handle: PSMHandle,
        cursor: *mut u64,
        members: *mut PSMMember,
        count: ::core::ffi::c_int,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Give back what dead members still held: their caches and their seats.

It also happens by itself, to some when a process joins, to all when memory runs out, and
when a lock tells of a death.

# Returns

How many were reaped, or a PSM_E_ code.

# Errors

PSM_E_HANDLE, PSM_E_READONLY.

# Safety

From any thread of any member.*/
    pub fn PSMreap(handle: PSMHandle) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    /**Give memory that is free back to the file system, if that takes it.

What the calling thread holds ready of freed blocks is free then as well;
what other threads do stays theirs.

# Returns

0 and the bytes in `*bytes` (unless NULL), or a PSM_E_ code.

# Errors

PSM_E_HANDLE, PSM_E_READONLY.

# Safety

From any thread of any member.*/
    pub fn PSMtrim(handle: PSMHandle, bytes: *mut u64) -> ::core::ffi::c_int;
}
