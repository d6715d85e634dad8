/* The exported functions: find the segment, choose the way, set the error. */
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "check.h"
#include "commit.h"
#include "fork.h"
#include "large.h"
#include "lock.h"
#include "process.h"
#include "reap.h"
#include "segment.h"
#include "span.h"

#define TEXT_OF(x) TEXT_AS(x)
#define TEXT_AS(x) #x

/* ---- Life ---- */

int PSMopen(const char *name, const PSMOptions *options, PSMHandle *handle) {
  static const PSMOptions none;
  struct segment *s;
  if (handle == NULL) return psm_fail(PSM_E_INVALID, "there is no place for the handle");
  *handle = NULL;
  if (name == NULL) return psm_fail(PSM_E_NAME, "the name is NULL: give a path or shm:NAME");
  psm_fork_watch();
  int result = psm_segment_open(name, options != NULL ? options : &none, &s);
  if (result == PSM_OK) *handle = (PSMHandle)(void *)s->base;
  return result;
}

void PSMinit(const char *name, size_t size, void *address, PSMHandle *handle) {
  PSMOptions options = {size, address, 0, 0};
  if (handle != NULL && size == 0) {
    *handle = NULL;
    (void)psm_fail(PSM_E_SIZE, "a segment of 0 bytes: give its size");
    return;
  }
  (void)PSMopen(name, &options, handle);
}

void PSMdeinit(PSMHandle handle) {
  if (handle != NULL) (void)psm_segment_close(handle);
}

PSMHandle PSMprepareInherit(PSMHandle handle) {
  return handle != NULL && psm_inherit_prepare(handle) == PSM_OK ? handle : NULL;
}

PSMHandle PSMexecuteInherit(PSMHandle handle) {
  return handle != NULL && psm_inherit_execute(handle) == PSM_OK ? handle : NULL;
}

void PSMcancelInherit(PSMHandle handle) {
  if (handle != NULL) (void)psm_inherit_cancel(handle);
}

/* ---- Errors ---- */

int PSMgetError(PSMHandle handle) {
  if (handle == NULL) return -1;
  const struct segment *s = psm_segment_holding((const void *)handle);
  if (s == NULL || (const void *)s->base != (const void *)handle) return PSM_E_HANDLE;
  return (int)at_load(&s->header->error);
}

int PSMlastError(void) { return psm_last_error(); }
void PSMclearError(void) { psm_clear_error(); }
const char *PSMerrorString(int code) { return psm_sentence(code); }

const char *PSMversion(void) {
  return TEXT_OF(PSM_VERSION_MAJOR) "." TEXT_OF(PSM_VERSION_MINOR) "." TEXT_OF(PSM_VERSION_PATCH);
}

static void *fail_null(int code, const struct segment *s, uint64_t size) {
  if (code == PSM_E_CORRUPT) {
    (void)psm_fail(code, NULL);
    return NULL;
  }
  const char *what = code == PSM_E_NOSPACE ? "the file system of" : "the segment";
  (void)psm_fail(code, "%s '%.150s' has no room for a block of %llu bytes", what, s->path,
                 (unsigned long long)size);
  return NULL;
}

static int fail_block(int code, const struct segment *s, const void *block) {
  return psm_fail(code,
                  code == PSM_E_DOUBLE_FREE ? "the block at %p of '%.160s' is free already"
                                            : "no block begins at %p in '%.160s'",
                  block, s->path);
}

/* ---- Allocate ---- */

static int use_cache(struct worker *worker, uint32_t cls, _Atomic uintptr_t *where, void **block) {
  return where != NULL ? psm_cache_publish(worker, cls, where) : psm_cache_take(worker, cls, block);
}

/* For threads that could get no cache of their own. */
static PSM_RARELY int use_shared_cache(struct segment *s, uint32_t cls, _Atomic uintptr_t *where,
                                       void **block) {
  struct worker shared = {s, cache_at(s, SHARED_CACHE), NULL, SHARED_CACHE + 1, true, 0, 0};
  psm_span_lock(s);
  int result = use_cache(&shared, cls, where, block);
  psm_span_unlock(s);
  return result;
}

/* A small block, published if there is a place for it. */
static int small_alloc(struct worker *worker, uint32_t cls, _Atomic uintptr_t *where,
                       void **block) {
  int result = likely(worker->cache != NULL) ? use_cache(worker, cls, where, block)
                                             : use_shared_cache(worker->segment, cls, where, block);
  if (unlikely(result == PSM_E_CORRUPT)) mark_corrupt(worker->segment);
  return result;
}

static void *alloc_in(struct worker *worker, uint64_t size, uint64_t alignment) {
  struct segment *s = worker->segment;
  uint64_t offset = 0;
  void *block = NULL;
  int result;
  if (size <= s->classes->small_max && alignment == 1) {
    result = small_alloc(worker, size_class(s->classes, size), NULL, &block);
  } else {
    result = psm_large_alloc(worker, size, alignment, NULL, &offset);
    block = s->base + offset;
  }
  return result == PSM_OK ? block : fail_null(result, s, size);
}

static PSM_RARELY void *alloc_slow(PSMHandle handle, size_t size) {
  struct worker *worker = handle != NULL ? psm_worker(handle) : NULL;
  return worker != NULL ? alloc_in(worker, size, 1) : NULL;
}

/* The way that nearly all calls go has no call in it but the last. */
void *PSMalloc(PSMHandle handle, size_t size) {
  struct binding *b = psm_thread.last;
  if (binding_answers(b, handle) && likely(size <= b->small_max)) {
    void *block;
    union way *way = way_of(b->ways, b->class_of_16[(size + 15) / 16]);
    if (magazine_take(way, b->states, &block)) return block;
    way->free.hungry = true;
    if (likely(slot_take(way, &block))) return block;
  }
  return alloc_slow(handle, size);
}

void *PSMcalloc(PSMHandle handle, size_t count, size_t size) {
  if (handle == NULL) return NULL;
  if (size != 0 && count > SIZE_MAX / size) {
    (void)psm_fail(PSM_E_NOMEM, "%zu times %zu bytes are more than there can be", count, size);
    return NULL;
  }
  void *block = PSMalloc(handle, count * size);
  return block != NULL ? memset(block, 0, count * size) : NULL;
}

void *PSMalignedAlloc(PSMHandle handle, size_t alignment, size_t size) {
  if (handle == NULL) return NULL;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    (void)psm_fail(PSM_E_INVALID, "the alignment %zu is not a power of two", alignment);
    return NULL;
  }
  if (alignment <= PSM_ALIGN) return PSMalloc(handle, size);
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return NULL;
  /* Slabs begin at a multiple of their size, so blocks lie as their size does. */
  const struct psm_classes *classes = worker->segment->classes;
  uint64_t least = size > alignment ? size : alignment;
  if (least <= classes->small_max)
    for (uint32_t i = size_class(classes, least); i < classes->count; i++)
      if (classes->at[i].size % alignment == 0) return PSMalloc(handle, classes->at[i].size);
  return alloc_in(worker, size, alignment);
}

/* ---- Blocks and their addresses ---- */

/* Bytes of an allocated block, or a refusal. */
static int block_size(struct segment *s, const void *block, uint64_t *size) {
  uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)s->base) - s->data;
  *size = 0;
  if (offset >= s->data_size) return PSM_E_POINTER;
  uint32_t word = at_load_acquire(&s->table[offset >> s->shift]);
  if (unit_kind(word) != UNIT_SLAB) return psm_large_size(s, offset, size);
  struct block_place at;
  if (!block_place(s, offset, word, &at)) return PSM_E_POINTER;
  if (!psm_block_used(s, at.cls, at.unit, at.index)) return PSM_E_DOUBLE_FREE;
  *size = s->classes->at[at.cls].size;
  return PSM_OK;
}

size_t PSMusableSize(PSMHandle handle, const void *block) {
  if (handle == NULL || block == NULL) return 0;
  struct segment *s = psm_segment_find(handle);
  uint64_t size = 0;
  if (s == NULL) return 0;
  int result = block_size(s, block, &size);
  if (result != PSM_OK) (void)fail_block(result, s, block);
  return (size_t)size;
}

static void free_with(struct worker *worker, void *block) {
  struct segment *s = worker->segment;
  uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)s->base) - s->data;
  uint32_t word = offset < s->data_size ? at_load_acquire(&s->table[offset >> s->shift]) : 0;
  struct block_place at;
  int result = PSM_E_POINTER;
  if (unit_kind(word) == UNIT_SLAB && block_place(s, offset, word, &at))
    result = cache_free_other(worker, &at);
  else if (unit_kind(word) != UNIT_SLAB && offset < s->data_size)
    result = psm_large_free(worker, offset);
  if (result != PSM_OK) (void)fail_block(result, s, block);
}

static PSM_RARELY void free_slow(PSMHandle handle, void *block) {
  if (handle == NULL || block == NULL) return;
  struct worker *worker = psm_worker(handle);
  if (worker != NULL) free_with(worker, block);
}

/* Free a block with one atomic instruction: one of a group that nobody owns, or whose state has
 * told that it is used. The registers of the caller's arguments stay as they are, and nothing is
 * called but in the end. */
static PSM_RARELY void free_shared(PSMHandle handle, void *block, uint64_t index, uint64_t unit,
                                   const union way *way, const struct binding *b) {
  const struct shelf *shelf = shelf_of(b, way);
  struct group_ref group = group_on(shelf, unit, index / PSM_GROUP);
  if (unlikely(!way->free.stated && at_load(group.owner) != 0)) goto slow;
  uint64_t before = at_or(group.free, bit_add(0, index));
  if (unlikely((before >> index % PSM_GROUP & 1) != 0)) goto slow;
  if (likely(bit_counts() && (shelf->notable >> bit_count(before) & 1) == 0)) return;
  psm_group_grown(&b->worker, (uint32_t)unit, (uint32_t)index / PSM_GROUP);
  return;
slow:
  free_slow(handle, block);
}

/* Free a block of a class of which nothing may be kept for now. */
static PSM_RARELY void free_stated(PSMHandle handle, void *block, uint32_t inside, uint64_t unit,
                                   const union way *way, struct binding *b) {
  struct worker *worker = &b->worker;
  _Atomic uint8_t *state = state_of(b->states, block);
  bool asks = worker->patience == 0 || way->free.limit != way->free.bottom;
  if (asks || worker_is_pressed(worker) || at_load(state) != used_state((uintptr_t)block)) {
    free_slow(handle, block);
    return;
  }
  worker->patience--;
  at_store(state, BLOCK_FREE);
  free_shared(handle, block, block_scaled(inside, way->free.reciprocal) >> 32, unit, way, b);
}

/* Free a block that no magazine takes, with one plain store if its group is the one in the slot. */
static PSM_RARELY void free_unkept(PSMHandle handle, void *block, uint32_t inside, uint64_t unit,
                                   const union way *way, struct binding *b) {
  if (way->free.stated) {
    free_stated(handle, block, inside, unit, way, b);
    return;
  }
  uint64_t scaled = block_scaled(inside, way->free.reciprocal);
  uint64_t index = scaled >> 32;
  if (unlikely(!block_begins(scaled, way->free.reciprocal))) {
    free_slow(handle, block);
    return;
  }
  bool own = unit * PSM_GROUPS + index / PSM_GROUP == way->free.own;
  if (!own || unlikely(!slot_give(way, index))) free_shared(handle, block, index, unit, way, b);
}

/* As in PSMalloc, what is not a common way is called last. */
void PSMfree(PSMHandle handle, void *block) {
  struct binding *b = psm_thread.last;
  if (unlikely(!binding_answers(b, handle))) goto slow;
  uint64_t offset = (uintptr_t)block - b->data;
  if (unlikely(offset >= b->data_size)) goto slow;
  uint64_t unit = offset >> b->shift;
  const char *table = (const char *)handle + PSM_TABLE_OFFSET;
  uint64_t byte = unit_byte((const _Atomic uint32_t *)(const void *)table + unit);
  union way *way = (union way *)(void *)((char *)b->ways + computed(byte * sizeof *way));
  uint32_t inside = (uint32_t)offset & b->unit_mask;
  if (unlikely(inside >= way->free.end)) goto slow;
  char **top = way->free.top;
  if (unlikely(top == way->free.limit)) {
    free_unkept(handle, block, inside, unit, way, b);
    return;
  }
  /* A used block's state tells that it begins here. */
  _Atomic uint8_t *state = state_of(b->states, block);
  if (unlikely(at_load(state) != used_state((uintptr_t)block))) goto slow;
  at_store(state, b->mark);
  magazine_put(way, top, block);
  return;
slow:
  free_slow(handle, block);
}

static bool fits_in_place(const struct segment *s, uint64_t has, uint64_t wants) {
  if (has > s->classes->small_max || wants > has) return false;
  return wants > has / 2 || has <= PSM_ALIGN;
}

void *PSMrealloc(PSMHandle handle, void *block, size_t size) {
  if (handle == NULL) return NULL;
  if (block == NULL) return PSMalloc(handle, size);
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return NULL;
  struct segment *s = worker->segment;
  uint64_t has;
  int result = block_size(s, block, &has);
  if (result != PSM_OK) {
    (void)fail_block(result, s, block);
    return NULL;
  }
  if (fits_in_place(s, has, size)) return block;
  uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)s->base) - s->data;
  if (has > s->classes->small_max && size > s->classes->small_max &&
      psm_large_resize(worker, offset, size) == PSM_OK)
    return block;
  void *moved = PSMalloc(handle, size);
  if (moved == NULL && size <= has) return block;
  if (moved == NULL) return NULL;
  memmove(moved, block, size < has ? size : (size_t)has);
  PSMfree(handle, block);
  return moved;
}

/* ---- Publish and take back ---- */

/* A word that the application may use: in a block, or the user word. */
static bool is_users(const struct segment *s, const void *address, size_t size) {
  uint64_t offset = (uint64_t)((uintptr_t)address - (uintptr_t)s->base);
  if (offset % size != 0) return false;
  if (offset >= s->data) return offset < s->data + s->data_size;
  return offset >= PSM_USER_OFFSET && offset < PSM_USER_OFFSET + 8;
}

static int fail_place(const void *where) {
  return psm_fail(PSM_E_INVALID, "%p is no aligned place in a block of the segment", where);
}

int PSMallocTo(PSMHandle handle, size_t size, void **where) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  struct segment *s = worker->segment;
  if (!is_users(s, where, sizeof *where)) return fail_place((void *)where);
  _Atomic uintptr_t *place = (_Atomic uintptr_t *)(void *)where;
  uint64_t offset;
  int result;
  if (size > s->classes->small_max)
    result = psm_large_alloc(worker, size, 1, place, &offset);
  else
    result = small_alloc(worker, size_class(s->classes, size), place, NULL);
  if (result != PSM_OK) (void)fail_null(result, s, size);
  return result;
}

int PSMfreeFrom(PSMHandle handle, void **where) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  struct segment *s = worker->segment;
  if (!is_users(s, where, sizeof *where)) return fail_place((void *)where);
  _Atomic uintptr_t *place = (_Atomic uintptr_t *)(void *)where;
  uintptr_t value = at_load_acquire(place);
  uint64_t size;
  if (value == 0) return PSM_OK;
  int result = block_size(s, (void *)value, &size);
  if (result != PSM_OK && at_load(place) != value) return PSMfreeFrom(handle, where);
  if (result != PSM_OK) return fail_block(result, s, (void *)value);
  /* By the place a reaper judges whether the dead have published: none may
   * look between our two steps and give the block away before we free it. Nor is it
   * kept: the reaper, who finds the place as it was before, gives it back once more. */
  struct worker holder = *worker;
  holder.locked = psm_publication_pending(s, value - s->geometry.base);
  if (holder.locked) psm_span_lock(s);
  bool taken = at_cas(place, &value, 0);
  if (taken && holder.locked) free_with(&holder, (void *)value);
  if (holder.locked) psm_span_unlock(s);
  if (taken && !holder.locked) PSMfree(handle, (void *)value);
  return taken ? PSM_OK : PSMfreeFrom(handle, where);
}

/* ---- Addresses ---- */

void *PSMgetUser(PSMHandle handle) {
  if (handle == NULL) return NULL;
  struct segment *s = psm_segment_find(handle);
  return s != NULL ? s->header->user : NULL;
}

uint64_t PSMoffset(PSMHandle handle, const void *address) {
  if (handle == NULL || address == NULL) return 0;
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return 0;
  uint64_t offset = (uint64_t)((uintptr_t)address - (uintptr_t)s->base);
  if (offset < s->geometry.size) return offset;
  (void)psm_fail(PSM_E_POINTER, "%p is not in '%.200s'", address, s->path);
  return 0;
}

void *PSMaddress(PSMHandle handle, uint64_t offset) {
  if (handle == NULL || offset == 0) return NULL;
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return NULL;
  if (offset < s->geometry.size) return s->base + offset;
  (void)psm_fail(PSM_E_POINTER, "the offset %llu is beyond '%.200s'", (unsigned long long)offset,
                 s->path);
  return NULL;
}

PSMHandle PSMsegmentOf(const void *address) {
  const struct segment *s = psm_segment_holding(address);
  return s != NULL ? (PSMHandle)(void *)s->base : NULL;
}

/* ---- Lock ---- */

static int reap(struct segment *s) {
  psm_span_lock(s);
  int reaped = psm_reap_dead(s);
  psm_span_unlock(s);
  return reaped;
}

static int lock_by(int (*way)(struct segment *, _Atomic uint32_t *), PSMHandle handle,
                   uint32_t *lock) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  if (!is_users(worker->segment, lock, sizeof *lock)) return fail_place(lock);
  int result = way(worker->segment, (_Atomic uint32_t *)(void *)lock);
  /* Who repairs may publish in the place where the dead did: settle that first. */
  if (result == PSM_OWNER_DIED) (void)reap(worker->segment);
  if (result == PSM_E_STATE) return psm_fail(result, "the lock at %p is held", (void *)lock);
  return result;
}

int PSMlock(PSMHandle handle, uint32_t *lock) { return lock_by(psm_lock_take, handle, lock); }
int PSMtrylock(PSMHandle handle, uint32_t *lock) { return lock_by(psm_lock_try, handle, lock); }

int PSMunlock(PSMHandle handle, uint32_t *lock) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  if (!is_users(worker->segment, lock, sizeof *lock)) return fail_place(lock);
  int result = psm_lock_give(worker->segment, (_Atomic uint32_t *)(void *)lock);
  if (result == PSM_OK) return PSM_OK;
  return psm_fail(result, "the lock at %p is not held by this process", (void *)lock);
}

/* ---- Looking inside, and upkeep ---- */

int PSMstat(PSMHandle handle, PSMStat *stat) {
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (stat == NULL) return psm_fail(PSM_E_INVALID, "there is no place for the figures");
  return psm_stat(s, stat);
}

int PSMwalk(PSMHandle handle, PSMBlock *block) {
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (block == NULL) return psm_fail(PSM_E_INVALID, "there is no place for the block");
  return psm_walk(s, block);
}

int PSMcheck(PSMHandle handle) {
  struct segment *s = psm_segment_find(handle);
  return s != NULL ? psm_check(s) : PSM_E_HANDLE;
}

int PSMmembers(PSMHandle handle, PSMMember *members, int count) {
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (count < 0 || (count > 0 && members == NULL))
    return psm_fail(PSM_E_INVALID, "there is no place for %d members", count);
  return psm_members(s, members, count);
}

uint64_t PSMself(PSMHandle handle) {
  const struct worker *worker = psm_worker(handle);
  return worker != NULL ? psm_seat_id(worker->segment, worker->segment->seat) : 0;
}

int PSMalive(PSMHandle handle, uint64_t id) {
  const struct segment *s = psm_segment_find(handle);
  return s != NULL ? psm_id_alive(s, id) : PSM_E_HANDLE;
}

int PSMdeaths(PSMHandle handle, uint64_t *cursor, PSMMember *members, int count) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  if (cursor == NULL || count < 0 || (count > 0 && members == NULL))
    return psm_fail(PSM_E_INVALID, "there is no place for the cursor or for %d members", count);
  return psm_deaths(worker->segment, cursor, members, count);
}

int PSMreap(PSMHandle handle) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  return reap(worker->segment);
}

int PSMtrim(PSMHandle handle, uint64_t *bytes) {
  struct worker *worker = psm_worker(handle);
  if (worker == NULL) return psm_last_error();
  psm_magazines_empty(worker);
  uint64_t given = psm_trim(worker->segment);
  if (bytes != NULL) *bytes = given;
  return PSM_OK;
}
