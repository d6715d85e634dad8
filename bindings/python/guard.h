/* Guards: when an open segment may be unmapped, as Python needs it.
 *
 * A Python program may close a segment while a memoryview of it lives or while
 * another thread is inside a call. A guard counts both as *pins*. Closing
 * refuses new pins at once; the PSMdeinit happens when the last pin goes, in
 * whichever thread that is. No call below can meet unmapped memory.
 *
 * Each call here is the call of psm.h with the same verb, between taking and
 * dropping a pin. Where the segment is closed it returns what a failure
 * returns, or PSM_GUARD_CLOSED where it returns a code.
 */
#ifndef PSM_PYTHON_GUARD_H
#define PSM_PYTHON_GUARD_H

#include "psm.h"

/* [begin: read by binding generators] */

enum { PSM_GUARD_CLOSED = -1000 };

typedef struct PSMGuard PSMGuard;

/* PSMopen. NULL on failure, with the code in *code. Ends with guard_release. */
PSMGuard *guard_open(const char *name, const PSMOptions *options, int *code);
void guard_close(PSMGuard *guard);   /* may be repeated */
void guard_release(PSMGuard *guard); /* closes, and ends the caller's reference */

int guard_closed(PSMGuard *guard);   /* new calls and views are refused */
int guard_mapped(PSMGuard *guard);   /* the PSMdeinit has not happened yet */
int guard_readonly(PSMGuard *guard); /* how it is mapped, not what was asked for */
uintptr_t guard_base(PSMGuard *guard);

/* The address as a number, which is what Python makes of it; 0 if there is none. */
uintptr_t guard_alloc(PSMGuard *guard, size_t size);
uintptr_t guard_calloc(PSMGuard *guard, size_t count, size_t size);
uintptr_t guard_realloc(PSMGuard *guard, void *block, size_t size);
uintptr_t guard_aligned(PSMGuard *guard, size_t alignment, size_t size);
size_t guard_usable(PSMGuard *guard, const void *block);
int guard_free(PSMGuard *guard, uintptr_t block);
int guard_alloc_to(PSMGuard *guard, size_t size, void **where, void **block);
int guard_free_from(PSMGuard *guard, void **where);

int guard_user_get(PSMGuard *guard, uint64_t *value);
int guard_user_set(PSMGuard *guard, uint64_t value);

/* 0 if all of `bytes` from `address` lie in the segment; else a code. */
int guard_span(PSMGuard *guard, const void *address, size_t bytes);
int guard_offset(PSMGuard *guard, const void *address, uint64_t *offset);
int guard_address(PSMGuard *guard, uint64_t offset, void **address);

/* A lock that is held is a pin: what it guards stays mapped until unlock. */
int guard_lock(PSMGuard *guard, uint32_t *lock);
int guard_trylock(PSMGuard *guard, uint32_t *lock);
int guard_unlock(PSMGuard *guard, uint32_t *lock);

int guard_error(PSMGuard *guard);
int guard_check(PSMGuard *guard);
int guard_stat(PSMGuard *guard, PSMStat *stat);
int guard_walk(PSMGuard *guard, PSMBlock *block);
int guard_members(PSMGuard *guard, PSMMember *members, int count);
int guard_self(PSMGuard *guard, uint64_t *id);
int guard_alive(PSMGuard *guard, uint64_t id);
int guard_deaths(PSMGuard *guard, uint64_t *cursor, PSMMember *members, int count);
int guard_reap(PSMGuard *guard);
int guard_trim(PSMGuard *guard, uint64_t *bytes);

/* [end: read by binding generators] */

/* For buffer.c: a pin, and a reference that keeps the guard's own memory. */
int psm_guard_take(PSMGuard *guard);       /* 0 if closed */
void psm_guard_take_more(PSMGuard *guard); /* for who has a pin already; closed or not */
void psm_guard_drop(PSMGuard *guard);
void psm_guard_ref(PSMGuard *guard);
void psm_guard_unref(PSMGuard *guard);
int psm_guard_free_pinned(PSMGuard *guard, void *block); /* PSMfree for who has a pin */

/* At the end of the interpreter: what no view and no call still uses is left. */
void psm_guard_close_all(void);

#endif /* PSM_PYTHON_GUARD_H */
