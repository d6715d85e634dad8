/* PSM: a memory allocator that several processes share.
 *
 * A *segment* is a file of fixed size that every process maps at the same
 * address. A pointer into it is therefore valid in all of them, in every
 * language, and `pointer - handle` never changes. Any thread of any process
 * may allocate, and any may free what another allocated.
 *
 * Read before use:
 *  - A process that is killed at any instruction leaves the others able to go
 *    on at once. At most one block per killed thread is lost, the one in
 *    flight; PSMallocTo loses none (see there).
 *  - A handle is the segment's base address, the same value in every process.
 *    It may be stored in the segment. It is valid while this process uses the
 *    segment: between a PSMinit and its PSMdeinit, and in children by fork.
 *  - No call is safe in a signal handler. A thread must not be inside a call
 *    while another gives the segment back for the last time.
 *  - Children made by fork() are members by themselves, as soon as fork
 *    returns. Children made by _Fork() or raw clone() must not use a segment.
 *  - Memory is not zeroed (but for PSMcalloc) and is aligned to 16 bytes.
 *
 * Every function is described in the same way: what it Returns, which Errors
 * it sets, who Owns what, and where it is Safe. A failure also sets the
 * calling thread's last error: PSMlastError gives the code, PSMerrorString a
 * sentence that says what was wrong and what to do.
 *
 * The first part, nine calls, is all that most programs need.
 */
#ifndef PSM_H
#define PSM_H

#include <stddef.h>
#include <stdint.h>

#define PSM_VERSION_MAJOR 0
#define PSM_VERSION_MINOR 1
#define PSM_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility push(default)
#endif

/* Between the two fences there are only plain prototypes, structs and integer
 * constants: binding generators read this part as it is. */
/* [begin: read by binding generators] */

typedef struct PSMHandleTag *PSMHandle;

/* ---- The nine ----------------------------------------------------------- */

/** Join the segment `name`, or create it with `size` bytes if nobody uses it.
 *
 *  A name is a path, as open() takes it, in UTF-8 on Windows; "shm:NAME" is
 *  NAME in the system's directory for shared memory, on Windows in a folder of
 *  the user's temporary files. A file left behind by processes that are all
 *  dead is started afresh; a file that is no segment is refused, untouched.
 *  To join, `size` must be that of the segment. `address` NULL lets PSM
 *  choose; else it is a multiple of the page size, on Windows of 64 KiB, and
 *  the segment is mapped there or not at all. A second call for the same
 *  segment in one process gives the same handle and is counted. New files are
 *  for their owner only.
 *
 *  Returns  the handle in `*handle`; NULL there on any failure.
 *  Errors   PSM_E_NAME, PSM_E_SIZE, PSM_E_ADDRESS, PSM_E_MEMBERS,
 *           PSM_E_NOSPACE, PSM_E_ACCESS, PSM_E_FILETYPE, PSM_E_FORMAT,
 *           PSM_E_VERSION, PSM_E_PLATFORM, PSM_E_TRUNCATED, PSM_E_CORRUPT,
 *           PSM_E_INVALID (`handle` is NULL), PSM_E_SYSTEM.
 *  Owns     the caller; give it back with PSMdeinit.
 *  Safe     from any thread.
 */
void PSMinit(const char *name, size_t size, void *address, PSMHandle *handle);

/** Leave a segment, once for each PSMinit or PSMopen.
 *
 *  The last one of this process unmaps it. The last one of all processes
 *  removes the file, unless the segment was opened to be kept. NULL: nothing.
 *
 *  Errors   PSM_E_HANDLE.
 *  Safe     from any thread, when no other is inside a call on this segment.
 */
void PSMdeinit(PSMHandle handle);

/** Allocate from a segment.
 *
 *  A size of 0 gives a block of its own.
 *
 *  Returns  address of at least `size` bytes, aligned to 16; NULL if none,
 *           and for a NULL handle.
 *  Errors   PSM_E_NOMEM, PSM_E_NOSPACE, PSM_E_HANDLE, PSM_E_READONLY,
 *           PSM_E_CORRUPT (see PSMgetError).
 *  Owns     the segment; any member may pass it to PSMfree.
 *  Safe     from any thread of any member; not from a signal handler.
 */
void *PSMalloc(PSMHandle handle, size_t size);

/** Give a block back, whoever allocated it.
 *
 *  A NULL handle or block: nothing. A pointer that is no block, or a block
 *  that is free already, is refused, and nothing changes. (Not all of it is
 *  seen when two threads free one block at the same instant.)
 *
 *  Errors   PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_HANDLE, PSM_E_READONLY.
 *  Safe     from any thread of any member; not from a signal handler.
 */
void PSMfree(PSMHandle handle, void *block);

/** The 8 bytes of a segment that need no allocation: zero at creation.
 *
 *  The place for a root pointer. Their address never changes.
 *
 *  Returns  their address, aligned to 8; NULL if `handle` is not open.
 *  Errors   PSM_E_HANDLE.
 *  Safe     from any thread; the bytes are the application's to synchronise.
 */
void *PSMgetUser(PSMHandle handle);

/** Is the segment sound?
 *
 *  Returns  0 if so; else the PSM_E_CORRUPT that an operation or PSMcheck
 *           met; -1 for a NULL handle, PSM_E_HANDLE for one that is not open.
 *  Safe     from any thread. It does not change the thread's last error.
 */
int PSMgetError(PSMHandle handle);

/** Announce one child, before fork().
 *
 *  Children are members without these three calls; they serve programs that
 *  count. Each prepare entitles one child to one PSMexecuteInherit. The
 *  parent may leave in between: the segment waits for the child. Windows has
 *  no fork: there all that can be done with a prepare is to cancel it.
 *
 *  Returns  `handle`; NULL on failure, and for NULL.
 *  Errors   PSM_E_HANDLE, PSM_E_READONLY, PSM_E_STATE (too many).
 *  Safe     from any thread.
 */
PSMHandle PSMprepareInherit(PSMHandle handle);

/** Take over a segment in a child that was announced.
 *
 *  The child then owes one PSMdeinit for each; the uses it inherited from its
 *  parent end with the first.
 *
 *  Returns  `handle`; NULL if nothing was prepared, or not in a child.
 *  Errors   PSM_E_STATE, PSM_E_HANDLE.
 *  Safe     from any thread of the child.
 */
PSMHandle PSMexecuteInherit(PSMHandle handle);

/** Take one PSMprepareInherit back, as after a fork() that failed.
 *
 *  Errors   PSM_E_STATE (none is left), PSM_E_HANDLE.
 *  Safe     from any thread of the process that prepared.
 */
void PSMcancelInherit(PSMHandle handle);

/* ---- Results ------------------------------------------------------------ */

enum {
  PSM_OK = 0,
  PSM_OWNER_DIED = 1,      /* you hold the lock; repair what it guards */
  PSM_E_INVALID = -1,      /* an argument is out of its range */
  PSM_E_HANDLE = -2,       /* no open segment of this process */
  PSM_E_NAME = -3,         /* empty, too long, or leads nowhere */
  PSM_E_SIZE = -4,         /* too small, too large, or not the segment's */
  PSM_E_ADDRESS = -5,      /* the address range is not to be had */
  PSM_E_MEMBERS = -6,      /* all 1024 seats are taken */
  PSM_E_NOMEM = -7,        /* the segment is full */
  PSM_E_NOSPACE = -8,      /* the file system is full */
  PSM_E_ACCESS = -9,       /* the file's permissions forbid it */
  PSM_E_FILETYPE = -10,    /* a directory, a pipe, a device: no plain file */
  PSM_E_FORMAT = -11,      /* the file is not a segment */
  PSM_E_VERSION = -12,     /* a segment of another format version */
  PSM_E_PLATFORM = -13,    /* a segment of another word size or byte order */
  PSM_E_TRUNCATED = -14,   /* a segment that was cut or has grown */
  PSM_E_CORRUPT = -15,     /* the metadata contradicts itself */
  PSM_E_POINTER = -16,     /* no block begins at this address */
  PSM_E_DOUBLE_FREE = -17, /* the block is free already */
  PSM_E_EXISTS = -18,      /* exclusive creation, and it exists */
  PSM_E_NOT_FOUND = -19,   /* to join only, and there is none */
  PSM_E_READONLY = -20,    /* the segment was opened read-only */
  PSM_E_STATE = -21,       /* not now: nothing prepared, a lock that is not yours */
  PSM_E_SYSTEM = -22       /* the operating system refused */
};

/** The calling thread's most recent error.
 *
 *  As with errno, success leaves it alone: PSMclearError before a call that
 *  returns nothing (PSMfree, PSMdeinit) tells its failure from an older one.
 *
 *  Returns  a PSM_E_ code, or 0 if there was none.
 *  Safe     from any thread.
 */
int PSMlastError(void);

/** Set the calling thread's last error to 0.
 *
 *  Safe     from any thread.
 */
void PSMclearError(void);

/** The sentence for a result code.
 *
 *  For the thread's last error it names the file, address or size in
 *  question; for another code it is the general sentence.
 *
 *  Returns  a string, never NULL.
 *  Owns     the library; the next failure of this thread may change it.
 *  Safe     from any thread.
 */
const char *PSMerrorString(int code);

/** The version of the library that runs.
 *
 *  Returns  "major.minor.patch".
 *  Safe     anywhere.
 */
const char *PSMversion(void);

/* ---- Opening with options ----------------------------------------------- */

enum {
  PSM_OPEN_JOIN = 1,        /* never create: PSM_E_NOT_FOUND instead */
  PSM_OPEN_EXCLUSIVE = 2,   /* never join: PSM_E_EXISTS instead */
  PSM_OPEN_KEEP = 4,        /* the file outlives its users; the next one goes on */
  PSM_OPEN_READONLY = 8,    /* map for reading; implies PSM_OPEN_JOIN */
  PSM_OPEN_LARGE_PAGES = 16 /* small blocks in pages of 2 MiB, if the system can */
};

typedef struct PSMOptions {
  uint64_t size;  /* bytes; 0 joins whatever size there is */
  void *address;  /* NULL: PSM chooses */
  uint32_t mode;  /* permission bits of a new file; 0 means 0600 */
  uint32_t flags; /* PSM_OPEN_ bits, or 0 to create or join */
} PSMOptions;

/** PSMinit with options.
 *
 *  Options that are all zero, or NULL, join a segment of any size. A segment
 *  is kept as soon as one of its users has asked for it. A second open of the
 *  same segment in one process is counted; it cannot change how it is mapped.
 *
 *  Large pages save a program that wanders through much memory a part of its
 *  time, and cost up to 2 MiB for what needs less. Linux has them for files in
 *  memory (shm:) from 6.1 on; elsewhere the flag changes nothing.
 *
 *  Returns  0 and the handle in `*handle`; else a PSM_E_ code and NULL there.
 *  Errors   as PSMinit; PSM_E_EXISTS, PSM_E_NOT_FOUND, PSM_E_INVALID.
 *  Owns     the caller; give it back with PSMdeinit.
 *  Safe     from any thread.
 */
int PSMopen(const char *name, const PSMOptions *options, PSMHandle *handle);

/* ---- More ways to allocate ---------------------------------------------- */

/** Allocate `count` times `size` bytes, all zero.
 *
 *  Returns  as PSMalloc.
 *  Errors   as PSMalloc; a product that overflows is PSM_E_NOMEM.
 *  Owns     as PSMalloc.
 *  Safe     as PSMalloc.
 */
void *PSMcalloc(PSMHandle handle, size_t count, size_t size);

/** Change a block's size; its content up to the smaller size stays.
 *
 *  In place where possible. `block` NULL allocates. Size 0 gives the smallest
 *  block; it does not free.
 *
 *  Returns  the block's address, perhaps a new one; NULL on failure, and then
 *           the old block is untouched.
 *  Errors   as PSMalloc; PSM_E_POINTER, PSM_E_DOUBLE_FREE.
 *  Owns     as PSMalloc.
 *  Safe     as PSMalloc.
 */
void *PSMrealloc(PSMHandle handle, void *block, size_t size);

/** Allocate at a multiple of `alignment`, a power of two in bytes.
 *
 *  Returns  as PSMalloc.
 *  Errors   as PSMalloc; PSM_E_INVALID.
 *  Owns     as PSMalloc.
 *  Safe     as PSMalloc.
 */
void *PSMalignedAlloc(PSMHandle handle, size_t alignment, size_t size);

/** How many bytes of a block may be used: at least what was asked for.
 *
 *  Returns  bytes; 0 if it is no block.
 *  Errors   PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_HANDLE.
 *  Safe     from any thread of any member.
 */
size_t PSMusableSize(PSMHandle handle, const void *block);

/** Allocate and publish in one crash-safe step: `*where = block`.
 *
 *  `where` lies in the same segment, at a multiple of the pointer size. If the
 *  caller is killed, the block is either in `*where` or free, never lost. The
 *  bytes of the block are not initialised when it appears. Should the caller
 *  die, `*where` decides until it has been reaped: a process that takes the
 *  block out before then, but by PSMfreeFrom, must not put back the value that
 *  was there before, and nobody may write there but to take the block out.
 *
 *  Returns  0; else a PSM_E_ code and `*where` is unchanged.
 *  Errors   as PSMalloc; PSM_E_INVALID (`where` is not in the segment).
 *  Owns     the segment, through `*where`.
 *  Safe     as PSMalloc; one writer to `*where` at a time.
 */
int PSMallocTo(PSMHandle handle, size_t size, void **where);

/** Take the block out of `*where` and free it: `*where = NULL` comes first.
 *
 *  If the caller is killed, `*where` never points to a freed block; the block
 *  itself may be lost. Of several callers at once, one frees it. `*where` NULL:
 *  nothing.
 *
 *  Returns  0, or a PSM_E_ code, and then `*where` is unchanged.
 *  Errors   PSM_E_POINTER, PSM_E_DOUBLE_FREE, PSM_E_INVALID, PSM_E_HANDLE.
 *  Safe     from any thread of any member.
 */
int PSMfreeFrom(PSMHandle handle, void **where);

/* ---- Addresses ---------------------------------------------------------- */

/** The offset of an address in its segment, the same for ever.
 *
 *  Returns  bytes from the base; 0 for NULL and for what is not inside.
 *  Errors   PSM_E_POINTER, PSM_E_HANDLE.
 *  Safe     from any thread.
 */
uint64_t PSMoffset(PSMHandle handle, const void *address);

/** The address at an offset; the inverse of PSMoffset.
 *
 *  Returns  the address; NULL for 0 and for what is not inside.
 *  Errors   PSM_E_POINTER, PSM_E_HANDLE.
 *  Safe     from any thread.
 */
void *PSMaddress(PSMHandle handle, uint64_t offset);

/** Which open segment of this process an address lies in.
 *
 *  Returns  its handle; NULL if none.
 *  Safe     from any thread.
 */
PSMHandle PSMsegmentOf(const void *address);

/* ---- A lock that survives its owner -------------------------------------- */

/** Lock the 4 bytes at `lock`, which lie in the segment and begin as zero.
 *
 *  If the owner died or left, the next caller gets the lock at once and is
 *  told so: it holds the lock and first repairs what the lock guards. The dead
 *  have been reaped by then (PSMreap), so that what they had begun by
 *  PSMallocTo is settled.
 *
 *  Returns  0, PSM_OWNER_DIED, or a PSM_E_ code.
 *  Errors   PSM_E_INVALID (not in the segment or not aligned), PSM_E_HANDLE,
 *           PSM_E_READONLY.
 *  Owns     the calling process, until PSMunlock; it is not recursive.
 *  Safe     from any thread of any member; it waits.
 */
int PSMlock(PSMHandle handle, uint32_t *lock);

/** PSMlock if nobody holds the lock; it does not wait.
 *
 *  A lock whose owner died or left counts as free. To see that costs a system
 *  call each time that the lock is held.
 *
 *  Returns  0 or PSM_OWNER_DIED: you hold it; or a PSM_E_ code: you do not.
 *  Errors   PSM_E_STATE (it is held: by another process, or by this one), and
 *           as PSMlock.
 *  Owns     as PSMlock.
 *  Safe     from any thread of any member.
 */
int PSMtrylock(PSMHandle handle, uint32_t *lock);

/** Unlock what this process locked.
 *
 *  Returns  0, or a PSM_E_ code.
 *  Errors   PSM_E_STATE (this process does not hold it), PSM_E_INVALID,
 *           PSM_E_HANDLE.
 *  Safe     from any thread of the process that locked.
 */
int PSMunlock(PSMHandle handle, uint32_t *lock);

/* ---- Looking inside, and upkeep ------------------------------------------ */

typedef struct PSMStat {
  uint64_t size;      /* bytes of the segment */
  uint64_t metadata;  /* bytes of it that are never handed out */
  uint64_t used;      /* bytes in allocated blocks, rounding included */
  uint64_t cached;    /* bytes free, but held ready for one thread each */
  uint64_t free;      /* bytes free otherwise */
  uint64_t largest;   /* bytes of the largest block that fits in one piece */
  uint64_t committed; /* bytes that the file system has promised */
  uint64_t blocks;    /* allocated blocks */
  uint32_t members;   /* processes */
  uint32_t caches;    /* threads that hold a cache */
  uint32_t unit;      /* bytes of the granule of large blocks */
  uint32_t small_max; /* bytes of the largest small block */
} PSMStat;

/** Count what a segment holds. Others may go on; the figures are then close.
 *
 *  Time grows with the segment's size, not with the number of blocks.
 *
 *  Returns  0, or a PSM_E_ code.
 *  Errors   PSM_E_HANDLE, PSM_E_INVALID.
 *  Safe     from any thread of any member.
 */
int PSMstat(PSMHandle handle, PSMStat *stat);

typedef struct PSMBlock {
  void *address; /* of the block; NULL begins */
  uint64_t size; /* bytes that may be used */
} PSMBlock;

/** Step to the next allocated block, in the order of addresses.
 *
 *  Begin with a PSMBlock that is all zero. Blocks that come and go meanwhile
 *  may or may not be seen.
 *
 *  Returns  1 and the block in `*block`; 0 after the last; a PSM_E_ code.
 *  Errors   PSM_E_HANDLE, PSM_E_INVALID, PSM_E_POINTER.
 *  Safe     from any thread of any member.
 */
int PSMwalk(PSMHandle handle, PSMBlock *block);

/** Check every invariant of the metadata. Others may go on.
 *
 *  Returns  0 if all hold; else PSM_E_CORRUPT, which PSMgetError then reports
 *           in every member, and a sentence about the first that does not.
 *  Errors   PSM_E_CORRUPT, PSM_E_HANDLE.
 *  Safe     from any thread of any member.
 */
int PSMcheck(PSMHandle handle);

typedef struct PSMMember {
  uint64_t id;    /* of this membership: no other ever has it in this segment */
  uint32_t pid;   /* in the member's own PID namespace; 0 before it is known */
  uint32_t seat;  /* 0 .. 1023 */
  uint32_t start; /* when it began: the low 32 bits of the system's count */
  uint32_t alive; /* 1, or 0: it died and has not been reaped yet */
} PSMMember;

/** List the members. Those that only read have no seat and are not listed.
 *
 *  Returns  how many there are; at most `count` of them are in `members`.
 *  Errors   PSM_E_HANDLE, PSM_E_INVALID.
 *  Safe     from any thread of any member.
 */
int PSMmembers(PSMHandle handle, PSMMember *members, int count);

/** The calling process's membership, as it stands in PSMMember.id.
 *
 *  It is what to write beside data that this process is at work on, so that
 *  others find it after its death: unlike a pid it is never used again. It is
 *  below 2^53. A child by fork has one of its own.
 *
 *  Returns  the id; 0 if there is none.
 *  Errors   PSM_E_HANDLE, PSM_E_READONLY, PSM_E_MEMBERS.
 *  Safe     from any thread.
 */
uint64_t PSMself(PSMHandle handle);

/** Is the member with this id alive?
 *
 *  Returns  1, or 0: it died or left, or never was; or a PSM_E_ code.
 *  Errors   PSM_E_HANDLE.
 *  Safe     from any thread of any member.
 */
int PSMalive(PSMHandle handle, uint64_t id);

/** Report each member that died without leaving, once.
 *
 *  `*cursor` is how many deaths the caller has seen; 0 begins with the oldest
 *  that the segment remembers: the last 8 to 1024, by its size. A cursor of
 *  one's own hears of every death once. A cursor in the segment, used under a
 *  PSMlock, makes one process of all hear of each. Dead members are reaped
 *  first, so nothing that is reported is still at work. A process that ends
 *  or runs another program without leaving counts as dead.
 *
 *  Returns  how many are in `members`, at most `count`, in the order in which
 *           they were found, and `*cursor` grows by as many; 0 if there is no
 *           news; or a PSM_E_ code.
 *  Errors   PSM_E_STATE (deaths were missed, and `*cursor` now stands at the
 *           oldest that is remembered: ask PSMalive about each id instead),
 *           PSM_E_INVALID (the cursor is beyond the last death), PSM_E_HANDLE,
 *           PSM_E_READONLY.
 *  Safe     from any thread of any member; one caller per cursor at a time.
 */
int PSMdeaths(PSMHandle handle, uint64_t *cursor, PSMMember *members, int count);

/** Give back what dead members still held: their caches and their seats.
 *
 *  It also happens by itself, to some when a process joins, to all when memory runs out, and
 *  when a lock tells of a death.
 *
 *  Returns  how many were reaped, or a PSM_E_ code.
 *  Errors   PSM_E_HANDLE, PSM_E_READONLY.
 *  Safe     from any thread of any member.
 */
int PSMreap(PSMHandle handle);

/** Give memory that is free back to the file system, if that takes it.
 *
 *  What the calling thread holds ready of freed blocks is free then as well;
 *  what other threads do stays theirs.
 *
 *  Returns  0 and the bytes in `*bytes` (unless NULL), or a PSM_E_ code.
 *  Errors   PSM_E_HANDLE, PSM_E_READONLY.
 *  Safe     from any thread of any member.
 */
int PSMtrim(PSMHandle handle, uint64_t *bytes);

/* [end: read by binding generators] */

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* PSM_H */
