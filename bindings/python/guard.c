/* Guards: an atomic count of the reasons to keep a segment mapped.
 *
 * `state` is that count, with the bit CLOSED on top. The open segment itself is
 * one reason, which closing takes away. Once CLOSED is set the count can only
 * fall, so it reaches zero once, and who brings it there leaves the segment.
 * `refs` counts who may still look at the guard: its owner, each buffer object,
 * and the mapping. All guards are in one list that only grows, and one without
 * references is used again. Nothing here needs the interpreter's lock, or any
 * lock that another thread could hold across a fork.
 */
#include "guard.h"

#include <stdatomic.h>
#include <stdlib.h>

#define CLOSED ((uint64_t)1 << 63)

struct PSMGuard {
  PSMGuard *next; /* never changes */
  PSMHandle handle;
  _Atomic uint64_t state;
  _Atomic uint32_t refs;
  int readonly;
};

static _Atomic(PSMGuard *) all_guards;

/* While this is zero, a segment opened for writing is mapped for writing. */
static _Atomic uint32_t readonly_guards;

void psm_guard_ref(PSMGuard *guard) { atomic_fetch_add(&guard->refs, 1); }

void psm_guard_unref(PSMGuard *guard) { atomic_fetch_sub(&guard->refs, 1); }

/* A closed guard with one reference, the caller's; NULL if there is no memory. */
static PSMGuard *guard_new(void) {
  PSMGuard *guard = atomic_load(&all_guards);
  for (; guard != NULL; guard = guard->next) {
    uint32_t unused = 0;
    if (atomic_compare_exchange_strong(&guard->refs, &unused, 1)) {
      return guard;
    }
  }
  guard = calloc(1, sizeof *guard);
  if (guard != NULL) {
    atomic_init(&guard->state, CLOSED);
    atomic_init(&guard->refs, 1);
    guard->next = atomic_load(&all_guards);
    while (!atomic_compare_exchange_weak(&all_guards, &guard->next, guard)) {
    }
  }
  return guard;
}

void psm_guard_close_all(void) {
  for (PSMGuard *guard = atomic_load(&all_guards); guard != NULL; guard = guard->next) {
    guard_close(guard);
  }
}

int psm_guard_take(PSMGuard *guard) {
  uint64_t state = atomic_load(&guard->state);
  do {
    if (state & CLOSED) {
      return 0;
    }
  } while (!atomic_compare_exchange_weak(&guard->state, &state, state + 1));
  return 1;
}

void psm_guard_take_more(PSMGuard *guard) { atomic_fetch_add(&guard->state, 1); }

void psm_guard_drop(PSMGuard *guard) {
  if (atomic_fetch_sub(&guard->state, 1) == (CLOSED | 1)) {
    PSMdeinit(guard->handle);
    if (guard->readonly) {
      atomic_fetch_sub(&readonly_guards, 1);
    }
    psm_guard_unref(guard);
  }
}

PSMGuard *guard_open(const char *name, const PSMOptions *options, int *code) {
  PSMGuard *guard = guard_new();
  if (guard == NULL) {
    *code = PSM_E_SYSTEM;
    return NULL;
  }
  *code = PSMopen(name, options, &guard->handle);
  if (*code != PSM_OK) {
    psm_guard_unref(guard);
    return NULL;
  }
  guard->readonly = (options->flags & PSM_OPEN_READONLY) != 0;
  if (!guard->readonly && atomic_load(&readonly_guards) != 0) {
    /* An earlier open in this process decides how the segment is mapped. */
    guard->readonly = PSMreap(guard->handle) == PSM_E_READONLY;
  }
  if (guard->readonly) {
    atomic_fetch_add(&readonly_guards, 1);
  }
  psm_guard_ref(guard); /* the mapping's */
  atomic_store(&guard->state, 1);
  return guard;
}

void guard_close(PSMGuard *guard) {
  if (!(atomic_fetch_or(&guard->state, CLOSED) & CLOSED)) {
    psm_guard_drop(guard);
  }
}

void guard_release(PSMGuard *guard) {
  guard_close(guard);
  psm_guard_unref(guard);
}

int guard_closed(PSMGuard *guard) { return (atomic_load(&guard->state) & CLOSED) != 0; }

int guard_mapped(PSMGuard *guard) { return atomic_load(&guard->state) != CLOSED; }

int guard_readonly(PSMGuard *guard) { return guard->readonly; }

uintptr_t guard_base(PSMGuard *guard) { return (uintptr_t)guard->handle; }

/* A call of psm.h under a pin; `closed` is what it returns without one. */
#define GUARDED(type, closed, call)  \
  do {                               \
    if (!psm_guard_take(guard)) {    \
      return closed;                 \
    }                                \
    type guarded_result = (call);    \
    psm_guard_drop(guard);           \
    return guarded_result;           \
  } while (0)

uintptr_t guard_alloc(PSMGuard *guard, size_t size) {
  GUARDED(uintptr_t, 0, (uintptr_t)PSMalloc(guard->handle, size));
}

uintptr_t guard_calloc(PSMGuard *guard, size_t count, size_t size) {
  GUARDED(uintptr_t, 0, (uintptr_t)PSMcalloc(guard->handle, count, size));
}

uintptr_t guard_realloc(PSMGuard *guard, void *block, size_t size) {
  GUARDED(uintptr_t, 0, (uintptr_t)PSMrealloc(guard->handle, block, size));
}

uintptr_t guard_aligned(PSMGuard *guard, size_t alignment, size_t size) {
  GUARDED(uintptr_t, 0, (uintptr_t)PSMalignedAlloc(guard->handle, alignment, size));
}

size_t guard_usable(PSMGuard *guard, const void *block) {
  GUARDED(size_t, 0, PSMusableSize(guard->handle, block));
}

static int free_block(PSMHandle handle, void *block) {
  PSMclearError();
  PSMfree(handle, block);
  return PSMlastError();
}

int guard_free(PSMGuard *guard, uintptr_t block) {
  GUARDED(int, PSM_GUARD_CLOSED, free_block(guard->handle, (void *)block));
}

int psm_guard_free_pinned(PSMGuard *guard, void *block) {
  return free_block(guard->handle, block);
}

static int alloc_to(PSMHandle handle, size_t size, void **where, void **block) {
  int code = PSMallocTo(handle, size, where);
  *block = code == PSM_OK ? __atomic_load_n(where, __ATOMIC_ACQUIRE) : NULL;
  return code;
}

int guard_alloc_to(PSMGuard *guard, size_t size, void **where, void **block) {
  GUARDED(int, PSM_GUARD_CLOSED, alloc_to(guard->handle, size, where, block));
}

int guard_free_from(PSMGuard *guard, void **where) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMfreeFrom(guard->handle, where));
}

static int user_get(PSMHandle handle, uint64_t *value) {
  uint64_t *user = PSMgetUser(handle);
  if (user == NULL) {
    return PSMlastError();
  }
  *value = __atomic_load_n(user, __ATOMIC_ACQUIRE);
  return PSM_OK;
}

int guard_user_get(PSMGuard *guard, uint64_t *value) {
  GUARDED(int, PSM_GUARD_CLOSED, user_get(guard->handle, value));
}

static int user_set(PSMHandle handle, uint64_t value) {
  uint64_t *user = PSMgetUser(handle);
  if (user == NULL) {
    return PSMlastError();
  }
  __atomic_store_n(user, value, __ATOMIC_RELEASE);
  return PSM_OK;
}

int guard_user_set(PSMGuard *guard, uint64_t value) {
  if (guard->readonly) {
    return PSM_E_READONLY;
  }
  GUARDED(int, PSM_GUARD_CLOSED, user_set(guard->handle, value));
}

/* PSMoffset gives 0 for the base as well as for a failure. */
static int offset_of(PSMHandle handle, const void *address, uint64_t *offset) {
  PSMclearError();
  *offset = PSMoffset(handle, address);
  return *offset != 0 ? PSM_OK : PSMlastError();
}

int guard_offset(PSMGuard *guard, const void *address, uint64_t *offset) {
  GUARDED(int, PSM_GUARD_CLOSED, offset_of(guard->handle, address, offset));
}

static int span_inside(PSMHandle handle, const void *address, size_t bytes) {
  uint64_t first;
  uint64_t last;
  int code = address == NULL ? PSM_E_POINTER : offset_of(handle, address, &first);
  if (code == PSM_OK && bytes > 1) {
    const void *end = (const void *)((uintptr_t)address + (bytes - 1));
    code = end < address ? PSM_E_POINTER : offset_of(handle, end, &last);
  }
  return code;
}

int guard_span(PSMGuard *guard, const void *address, size_t bytes) {
  GUARDED(int, PSM_GUARD_CLOSED, span_inside(guard->handle, address, bytes));
}

static int address_at(PSMHandle handle, uint64_t offset, void **address) {
  PSMclearError();
  *address = PSMaddress(handle, offset);
  return *address != NULL ? PSM_OK : PSMlastError();
}

int guard_address(PSMGuard *guard, uint64_t offset, void **address) {
  GUARDED(int, PSM_GUARD_CLOSED, address_at(guard->handle, offset, address));
}

static int lock_by(int (*way)(PSMHandle, uint32_t *), PSMGuard *guard, uint32_t *lock) {
  if (!psm_guard_take(guard)) {
    return PSM_GUARD_CLOSED;
  }
  int code = way(guard->handle, lock);
  if (code < 0) {
    psm_guard_drop(guard);
  }
  return code;
}

int guard_lock(PSMGuard *guard, uint32_t *lock) { return lock_by(PSMlock, guard, lock); }

int guard_trylock(PSMGuard *guard, uint32_t *lock) { return lock_by(PSMtrylock, guard, lock); }

int guard_unlock(PSMGuard *guard, uint32_t *lock) {
  /* The lock's own pin keeps the segment mapped, closed or not. */
  if (!guard_mapped(guard)) {
    return PSM_GUARD_CLOSED;
  }
  int code = PSMunlock(guard->handle, lock);
  if (code == PSM_OK) {
    psm_guard_drop(guard);
  }
  return code;
}

int guard_error(PSMGuard *guard) { GUARDED(int, PSM_GUARD_CLOSED, PSMgetError(guard->handle)); }

int guard_check(PSMGuard *guard) { GUARDED(int, PSM_GUARD_CLOSED, PSMcheck(guard->handle)); }

int guard_stat(PSMGuard *guard, PSMStat *stat) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMstat(guard->handle, stat));
}

int guard_walk(PSMGuard *guard, PSMBlock *block) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMwalk(guard->handle, block));
}

int guard_members(PSMGuard *guard, PSMMember *members, int count) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMmembers(guard->handle, members, count));
}

static int self_id(PSMHandle handle, uint64_t *id) {
  *id = PSMself(handle);
  return *id != 0 ? PSM_OK : PSMlastError();
}

int guard_self(PSMGuard *guard, uint64_t *id) {
  GUARDED(int, PSM_GUARD_CLOSED, self_id(guard->handle, id));
}

int guard_alive(PSMGuard *guard, uint64_t id) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMalive(guard->handle, id));
}

int guard_deaths(PSMGuard *guard, uint64_t *cursor, PSMMember *members, int count) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMdeaths(guard->handle, cursor, members, count));
}

int guard_reap(PSMGuard *guard) { GUARDED(int, PSM_GUARD_CLOSED, PSMreap(guard->handle)); }

int guard_trim(PSMGuard *guard, uint64_t *bytes) {
  GUARDED(int, PSM_GUARD_CLOSED, PSMtrim(guard->handle, bytes));
}
