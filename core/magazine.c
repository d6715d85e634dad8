/* The state says who keeps a block before the magazine has it, until its bit is set or
 * it is used again: at every instruction a reaper finds by the states what was kept. A
 * block is given back by setting its bit; the mark stays, and means nothing as long as
 * the bit is set.
 */
#include "magazine.h"

#include <stdlib.h>
#include <string.h>

/* A magazine begins with FIRST blocks and is doubled, up to MOST, as long as its thread
 * empties and fills it. What one thread keeps of a class is at most one part in SHARE of the
 * segment's bytes and lies in at most one unit in PINNED; all caches in use divide that. */
enum { FIRST = 8, MOST = 1024, SHARE = 32, PINNED = 4 };

static os_mutex resize_mutex = OS_MUTEX_INIT;

static uint32_t caches_used(const struct segment *s) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < s->geometry.caches; i++) used += at_load(&s->owners[i]) != 0;
  return used > 0 ? used : 1;
}

static uint32_t room_for(const struct segment *s, uint32_t cls) {
  uint64_t caches = caches_used(s);
  uint64_t by_bytes = s->data_size / SHARE / caches / s->classes->at[cls].size;
  uint64_t by_units = s->geometry.units / PINNED / caches;
  uint64_t room = by_bytes < by_units ? by_bytes : by_units;
  return room < MOST ? (uint32_t)room : MOST;
}

static void kept_give(const struct worker *worker, uint32_t cls, const struct kept *kept) {
  const struct segment *s = worker->segment;
  uint64_t offset = (uint64_t)(kept->block - s->base) - s->data;
  uint32_t inside = (uint32_t)(offset & (unit_size(s) - 1));
  (void)block_give(worker, (uint32_t)(offset >> s->shift), cls,
                   block_index(&s->classes->at[cls], inside));
}

/* The oldest `count`. */
static void magazine_give(const struct worker *worker, uint32_t cls, uint32_t count) {
  union way *way = way_of(worker->ways, cls);
  if (count == 0) return;
  struct kept *bottom = way->free.bottom;
  uint32_t holds = (uint32_t)(way->free.top - bottom);
  for (uint32_t i = 0; i < count; i++) kept_give(worker, cls, &bottom[i]);
  memmove(bottom, bottom + count, (holds - count) * sizeof *bottom);
  way->free.top = bottom + (holds - count);
}

/* Below the bottom lies one more, which is never taken: its address is prefetched. */
static struct kept *stack_new(size_t room) {
  struct kept *memory = calloc(room + 1, sizeof *memory);
  return memory != NULL ? memory + 1 : NULL;
}

static void stack_free(struct kept *bottom) {
  if (bottom != NULL) free(bottom - 1);
}

void psm_magazines_lock(void) { os_mutex_lock(&resize_mutex); }
void psm_magazines_unlock(void) { os_mutex_unlock(&resize_mutex); }

static bool magazine_resize(union way *way, uint32_t room) {
  struct kept *old = way->free.bottom;
  size_t holds = (size_t)(way->free.top - old);
  psm_magazines_lock();
  struct kept *bottom = stack_new(room);
  if (bottom != NULL) {
    if (holds > 0) memcpy(bottom, old, holds * sizeof *bottom);
    way->free.bottom = bottom;
    way->free.top = bottom + holds;
    way->free.limit = bottom + room;
    stack_free(old);
  }
  psm_magazines_unlock();
  return bottom != NULL;
}

/* Its cache says so before the first block bears its mark. */
static bool magazine_grow(const struct worker *worker, uint32_t cls) {
  union way *way = way_of(worker->ways, cls);
  uint32_t room = (uint32_t)(way->free.limit - way->free.bottom);
  uint32_t most = room_for(worker->segment, cls);
  uint32_t wanted = room > 0 ? room * 2 : FIRST;
  if (wanted > most) wanted = most;
  if (wanted <= room) return false;
  if (room == 0) (void)at_or(&worker->cache->keeps[cls / 64], UINT64_C(1) << cls % 64);
  return magazine_resize(way, wanted);
}

/* Room for one more block, if there can be any. */
static bool magazine_open(struct worker *worker, uint32_t cls) {
  magazines_yield(worker);
  if (worker->ways == NULL || keeper_mark(worker->id) == 0) return false;
  union way *way = way_of(worker->ways, cls);
  bool hungry = way->free.hungry != 0;
  if (way->free.top != way->free.limit) return true;
  way->free.hungry = 0;
  if ((hungry || way->free.limit == way->free.bottom) && magazine_grow(worker, cls)) return true;
  uint32_t room = (uint32_t)(way->free.limit - way->free.bottom);
  if (room > 0) magazine_give(worker, cls, (room + 1) / 2);
  return room > 0;
}

bool psm_magazine_keep(struct worker *worker, uint32_t unit, uint32_t cls, uint32_t index) {
  const struct segment *s = worker->segment;
  _Atomic uint8_t *state = state_at(s, unit, index);
  if (at_load(state) != BLOCK_USED) return false;
  if (worker->locked || !magazine_open(worker, cls)) {
    at_store(state, BLOCK_FREE);
    return block_give(worker, unit, cls, index);
  }
  union way *way = way_of(worker->ways, cls);
  char *block = s->base + unit_offset(s, unit) + (uint64_t)index * s->classes->at[cls].size;
  at_store(state, keeper_mark(worker->id));
  *way->free.top++ = (struct kept){block, state};
  return true;
}

void psm_magazines_empty(const struct worker *worker) {
  const struct segment *s = worker->segment;
  if (worker->ways == NULL) return;
  for (uint32_t cls = 0; cls < s->classes->count; cls++) {
    union way *way = way_of(worker->ways, cls);
    magazine_give(worker, cls, (uint32_t)(way->free.top - way->free.bottom));
    way->free.limit = way->free.bottom;
  }
  for (int i = 0; i < 2; i++) at_store_release(&worker->cache->keeps[i], 0);
}

void psm_magazines_free(union way *ways) {
  for (uint32_t cls = 0; cls < PSM_CLASSES; cls++) stack_free(way_of(ways, cls)->free.bottom);
}
