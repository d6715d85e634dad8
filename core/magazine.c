/* The state says who keeps a block before the magazine has it, until its bit is set or
 * it is used again: at every instruction a reaper finds by the states what was kept. A
 * block is given back by setting its bit; the mark stays, and means nothing as long as
 * the bit is set.
 */
#include "magazine.h"

#include <stdlib.h>
#include <string.h>

#include "span.h"

/* A magazine begins with FIRST blocks and is doubled, up to MOST, as long as its thread
 * empties and fills it. Of a class it holds at most one part in SHARE of the segment's bytes,
 * and as many blocks as one unit in PINNED. All magazines of all threads together hold at
 * most one part in BUDGET. */
enum { FIRST = 8, MOST = 1024, SHARE = 32, PINNED = 4, BUDGET = 8 };

/* Who was refused does not ask again for so many frees: to ask is to read all grants. */
enum { PATIENCE = 1000 };

static os_mutex resize_mutex = OS_MUTEX_INIT;

static uint32_t room_for(const struct segment *s, uint32_t cls) {
  uint64_t by_bytes = s->data_size / SHARE / s->classes->at[cls].size;
  uint64_t by_units = s->geometry.units / PINNED;
  uint64_t room = by_bytes < by_units ? by_bytes : by_units;
  return room < MOST ? (uint32_t)room : MOST;
}

static _Atomic uint32_t *grant_of(const struct worker *worker) {
  return &worker->segment->grants[worker->id - 1];
}

/* A thread may have as much as is left of the budget then: n of them that grow side by side
 * each get to one part in n + 1, who has little takes little from the others, and there is
 * always something left for a newcomer. Dynamic thresholds (Choudhury and Hahne, IEEE/ACM
 * Transactions on Networking 6(2), 1998). In PSM_ALIGN bytes. */
static uint64_t grant_left(const struct worker *worker) {
  const struct segment *s = worker->segment;
  uint64_t left = s->data_size / BUDGET / PSM_ALIGN;
  for (uint32_t i = 0; i < s->geometry.caches; i++) {
    uint64_t granted = at_load(&s->owners[i]) != 0 ? at_load(&s->grants[i]) : 0;
    left = left > granted ? left - granted : 0;
  }
  uint64_t own = at_load(grant_of(worker));
  return left > own ? (left - own) / 2 : 0;
}

static void group_give(const struct worker *worker, uint32_t cls, uint64_t group, uint64_t bits) {
  if (bits != 0)
    (void)bits_give(worker, (uint32_t)(group / PSM_GROUPS), cls, (uint32_t)(group % PSM_GROUPS),
                    bits);
}

/* Blocks that were freed one after the other often lie in one group: they go back together. */
static void kept_give(const struct worker *worker, uint32_t cls, char *const *blocks,
                      uint32_t count) {
  const struct segment *s = worker->segment;
  uint64_t group = UINT64_MAX; /* unit * 64 + group */
  uint64_t bits = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t offset = (uint64_t)(blocks[i] - s->base) - s->data;
    uint32_t inside = (uint32_t)(offset & (unit_size(s) - 1));
    uint32_t index = block_index(&s->classes->at[cls], inside);
    uint64_t its = (offset >> s->shift) * PSM_GROUPS + index / PSM_GROUP;
    if (its != group) {
      group_give(worker, cls, group, bits);
      group = its;
      bits = 0;
    }
    bits = bit_add(bits, index);
  }
  group_give(worker, cls, group, bits);
}

/* The oldest `count`. At the bottom lies a NULL, which comes last when all are taken. */
static void magazine_give(const struct worker *worker, uint32_t cls, uint32_t count) {
  union way *way = way_of(worker->ways, cls);
  if (count == 0) return;
  char **oldest = way->free.bottom + 1;
  uint32_t left = (uint32_t)(way->free.top - way->free.bottom) - count;
  *way->free.top = way->free.last;
  kept_give(worker, cls, oldest, count);
  memmove(oldest, oldest + count, left * sizeof *oldest);
  way->free.top = way->free.bottom + left;
  way->free.last = *way->free.top;
}

/* With room for the NULL. */
static char **stack_new(size_t room) { return calloc(room + 1, sizeof(char *)); }

void psm_magazines_lock(void) { os_mutex_lock(&resize_mutex); }
void psm_magazines_unlock(void) { os_mutex_unlock(&resize_mutex); }

static bool magazine_resize(union way *way, uint32_t room) {
  char **old = way->free.bottom;
  size_t holds = (size_t)(way->free.top - old);
  psm_magazines_lock();
  char **bottom = stack_new(room);
  if (bottom != NULL) {
    if (holds > 0) memcpy(bottom, old, holds * sizeof *bottom);
    way->free.bottom = bottom;
    way->free.top = bottom + holds;
    way->free.limit = bottom + room;
    free(old);
  }
  psm_magazines_unlock();
  return bottom != NULL;
}

/* Its cache says so before the first block bears its mark. */
static bool magazine_grow(struct worker *worker, uint32_t cls) {
  union way *way = way_of(worker->ways, cls);
  uint32_t size = worker->segment->classes->at[cls].size / PSM_ALIGN;
  uint32_t room = (uint32_t)(way->free.limit - way->free.bottom);
  uint32_t most = room_for(worker->segment, cls);
  uint32_t wanted = room > 0 ? room * 2 : FIRST;
  if (wanted > most) wanted = most;
  if (wanted <= room) return false;
  uint64_t more = grant_left(worker) / size;
  if (more > wanted - room) more = wanted - room;
  worker->patience = more > 0 ? 0 : PATIENCE;
  if (more == 0 || !magazine_resize(way, room + (uint32_t)more)) return false;
  at_store(grant_of(worker), at_load(grant_of(worker)) + (uint32_t)more * size);
  if (room == 0) (void)at_or(&worker->cache->keeps[cls / 64], UINT64_C(1) << cls % 64);
  return true;
}

/* Room for one more block, if there can be any. */
static bool magazine_open(struct worker *worker, uint32_t cls) {
  if (worker_is_pressed(worker)) psm_worker_yield(worker);
  if (worker->ways == NULL) return false;
  if (keeper_mark(worker->id) == 0) {
    worker->patience = PATIENCE;
    return false;
  }
  union way *way = way_of(worker->ways, cls);
  bool wants = way->free.hungry || way->free.limit == way->free.bottom;
  if (way->free.top != way->free.limit) return true;
  way->free.hungry = false;
  if (worker->patience > 0)
    worker->patience--;
  else if (wants && magazine_grow(worker, cls))
    return true;
  uint32_t room = (uint32_t)(way->free.limit - way->free.bottom);
  if (room > 0) magazine_give(worker, cls, (room + 1) / 2);
  return room > 0;
}

bool psm_magazine_keep(struct worker *worker, uint32_t unit, uint32_t cls, uint32_t index) {
  const struct segment *s = worker->segment;
  uint64_t offset = unit_offset(s, unit) + (uint64_t)index * s->classes->at[cls].size;
  _Atomic uint8_t *state = state_at(s, unit, cls, index);
  if (at_load(state) != used_state(offset)) return false;
  if (worker->locked || !magazine_open(worker, cls)) {
    at_store(state, BLOCK_FREE);
    return block_give(worker, unit, cls, index);
  }
  union way *way = way_of(worker->ways, cls);
  at_store(state, keeper_mark(worker->id));
  magazine_put(way, way->free.top, s->base + offset);
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
  at_store(grant_of(worker), 0);
}

static void ways_disown(const struct worker *worker) {
  const struct segment *s = worker->segment;
  for (uint32_t cls = 0; worker->ways != NULL && cls < s->classes->count; cls++)
    way_of(worker->ways, cls)->free.own = OWNS_NONE;
}

void psm_worker_empty(const struct worker *worker) {
  struct worker holder = *worker;
  holder.locked = true;
  psm_magazines_empty(&holder);
  ways_disown(worker);
  if (worker->cache != NULL) psm_cache_reclaim(worker->segment, worker->id - 1, psm_slab_retire);
}

void psm_worker_yield(struct worker *worker) {
  worker->pressure = at_load(&worker->segment->spans->pressure);
  worker->patience = 0;
  if (!worker->locked) psm_span_lock(worker->segment);
  psm_worker_empty(worker);
  if (!worker->locked) psm_span_unlock(worker->segment);
}

void psm_magazines_free(union way *ways) {
  for (uint32_t cls = 0; cls < PSM_CLASSES; cls++) free(way_of(ways, cls)->free.bottom);
}
