/* What a thread does to the segment, and what it writes down before. */
#include "soak.h"

#include <string.h>

static uint64_t unit, small_max;

void steps_prepare(void) {
  PSMStat stat;
  if (PSMstat(handle, &stat) != 0) fail("PSMstat: %s", PSMerrorString(PSMlastError()));
  unit = stat.unit;
  small_max = stat.small_max;
}

static void put(_Atomic uint64_t *word, uint64_t value) {
  atomic_store_explicit(word, value, memory_order_release);
}

void begin(struct thread *t, uint32_t op, uint64_t block, uint32_t place) {
  struct record *r = t->record;
  put(&r->block, block);
  atomic_store_explicit(&r->place, place, memory_order_release);
  r->counts[op]++;
  r->last = op;
  atomic_store_explicit(&r->op, op, memory_order_release);
}

void end(struct thread *t) { atomic_store_explicit(&t->record->op, OP_NONE, memory_order_release); }

static _Noreturn void fail_call(const char *call) {
  fail("%s failed: %d, %s", call, PSMlastError(), PSMerrorString(PSMlastError()));
}

/* ---- Blocks of one's own ---- */

static int held_find(struct thread *t, bool free_one, uint64_t start) {
  for (uint64_t i = 0; i < HELD; i++) {
    uint64_t h = (start + i) % HELD;
    if ((t->record->held[h] == 0) == free_one) return (int)h;
  }
  return -1;
}

static int held_any(struct thread *t) { return held_find(t, false, below(&t->seed, HELD)); }

/* All magnitudes up to the cap are about as frequent. */
static uint64_t size_random(struct thread *t) {
  if (below(&t->seed, 64) == 0) return below(&t->seed, 3) * unit + below(&t->seed, 2) * small_max;
  uint64_t shift = 0;
  while (UINT64_C(16) << shift < arena->cap) shift++;
  uint64_t top = UINT64_C(16) << below(&t->seed, shift + 1);
  return below(&t->seed, top < arena->cap ? top : arena->cap);
}

static void check_full(void) {
  if (PSMlastError() != PSM_E_NOMEM) fail_call("an allocation");
}

static void check_zero(uint64_t offset, uint64_t size) {
  static const char zero[256];
  const char *block = block_at(offset);
  for (uint64_t at = 0; at < size; at += sizeof zero) {
    uint64_t part = size - at < sizeof zero ? size - at : sizeof zero;
    if (memcmp(block + at, zero, part) != 0) fail("PSMcalloc gave a block that is not zero");
  }
}

/* However small it is, the next one is 16 bytes away. */
static void stamp(struct thread *t, uint64_t offset, uint64_t size) {
  pattern_write(offset, size < GRAIN ? GRAIN : size, t->id >> 8);
}

static void *allocate(uint64_t size, uint64_t alignment, bool zero) {
  if (zero) return PSMcalloc(handle, size, 1);
  return alignment > 1 ? PSMalignedAlloc(handle, alignment, size) : PSMalloc(handle, size);
}

/* A new block, as one of those held: which, or -1. The first `filled` bytes get a pattern. */
static int acquire(struct thread *t, uint64_t size, uint64_t filled) {
  int h = held_find(t, true, 0);
  if (h < 0) return -1;
  uint64_t kind = below(&t->seed, 16);
  uint64_t alignment = kind == 1 ? UINT64_C(16) << below(&t->seed, 10) : 1;
  PSMclearError();
  put(&t->record->size, size);
  put(&t->record->align, alignment);
  begin(t, OP_ALLOC, 0, 0);
  void *block = allocate(size, alignment, kind == 0);
  if (block != NULL) {
    uint64_t offset = offset_of(block);
    claim_turn(offset, 0, t->id);
    if (kind == 0) check_zero(offset, size);
    if (((uintptr_t)block & (alignment - 1)) != 0) fail("PSMalignedAlloc did not align a block");
    stamp(t, offset, filled);
    put(&t->record->held[h], offset);
  }
  end(t);
  if (block == NULL) check_full();
  return block != NULL ? h : -1;
}

static void release(struct thread *t, int h) {
  uint64_t offset = t->record->held[h];
  pattern_check(offset);
  PSMclearError();
  begin(t, OP_FREE, offset, 0);
  put(&t->record->held[h], 0);
  claim_turn(offset, t->id, 0);
  PSMfree(handle, block_at(offset));
  if (PSMlastError() != 0) fail_call("PSMfree");
  end(t);
}

/* While the claim is loose, whoever is given the block may take it over: then PSMrealloc has
 * moved it and has given it back. */
static void resize(struct thread *t, int h, uint64_t size) {
  uint64_t offset = t->record->held[h];
  pattern_check(offset);
  PSMclearError();
  put(&t->record->size, size);
  put(&t->record->align, 1);
  begin(t, OP_REALLOC, offset, 0);
  claim_turn(offset, t->id, t->id | CLAIM_LOOSE);
  void *moved = PSMrealloc(handle, block_at(offset), size);
  uint64_t now = moved != NULL ? offset_of(moved) : offset;
  if (now == offset) {
    claim_turn(offset, t->id | CLAIM_LOOSE, t->id);
  } else {
    claim_turn(now, 0, t->id);
    put(&t->record->held[h], now);
    uint64_t loose = t->id | CLAIM_LOOSE;
    (void)atomic_compare_exchange_strong(claim_at(offset), &loose, 0);
  }
  if (!pattern_intact(now, offset, moved != NULL ? size : UINT64_MAX))
    if (moved == NULL || size >= GRAIN) fail("PSMrealloc did not keep what was in the block");
  stamp(t, now, moved != NULL ? size : pattern_size(now));
  end(t);
  if (moved == NULL) check_full();
}

/* ---- The shared table ---- */

static bool publish(struct thread *t, int h, uint32_t place) {
  uint64_t offset = t->record->held[h];
  uint64_t empty = 0;
  begin(t, OP_PUBLISH, offset, place);
  claim_turn(offset, t->id, CLAIM_TABLE);
  bool done = atomic_compare_exchange_strong(&world->table[place], &empty,
                                             (uint64_t)(uintptr_t)block_at(offset));
  if (!done) claim_turn(offset, CLAIM_TABLE, t->id);
  if (done) put(&t->record->held[h], 0);
  end(t);
  return done;
}

/* What is at a place, whoever allocated it, as one of those held: which, or -1. */
static int take(struct thread *t, uint32_t place) {
  uint64_t value = world->table[place];
  int h = held_find(t, true, 0);
  if (value == 0 || h < 0) return -1;
  uint64_t offset = offset_of((void *)(uintptr_t)value);
  begin(t, OP_TAKE, offset, place);
  bool done = atomic_compare_exchange_strong(&world->table[place], &value, 0);
  if (done) {
    claim_turn(offset, CLAIM_TABLE, t->id);
    put(&t->record->held[h], offset);
  }
  end(t);
  if (done) pattern_check(offset);
  return done ? h : -1;
}

static uint32_t place_random(struct thread *t) { return (uint32_t)below(&t->seed, arena->places); }

static void churn(struct thread *t) {
  uint32_t place = place_random(t);
  uint64_t size = size_random(t);
  int h = world->table[place] == 0 ? acquire(t, size, size) : take(t, place);
  if (h < 0) return;
  uint64_t what = world->table[place] == 0 ? below(&t->seed, 8) : 7;
  if (what == 0) resize(t, h, size_random(t));
  if (what <= 3 && publish(t, h, place)) return;
  if (what <= 6 && publish(t, h, place_random(t))) return;
  if (what == 7) release(t, h);
}

/* Several of one size: more than one group, or slab, has. */
static void burst(struct thread *t) {
  uint64_t size = size_random(t);
  uint64_t times = 1 + below(&t->seed, 12);
  for (uint64_t i = 0; i < times && size <= small_max; i++) {
    int h = acquire(t, size, size);
    if (h < 0 || !publish(t, h, place_random(t))) break;
  }
  for (int h; below(&t->seed, HELD) != 0 && (h = held_any(t)) >= 0;) release(t, h);
}

/* Of the larger small blocks there are few to a slab: so much as a handful is claimed, cut, and
 * given back whole. */
static void handful(struct thread *t) {
  uint64_t size = small_max / 8 + below(&t->seed, small_max - small_max / 8);
  while (acquire(t, size, 0) >= 0) continue;
  for (int h; (h = held_any(t)) >= 0;) release(t, h);
}

static void resize_one(struct thread *t) {
  int h = held_any(t);
  if (h < 0) h = take(t, place_random(t));
  if (h < 0) return;
  uint64_t size = size_random(t);
  if (below(&t->seed, 2) != 0)
    size = pattern_size(t->record->held[h]) * (5 + below(&t->seed, 7)) / 8;
  resize(t, h, size <= arena->cap ? size : arena->cap);
}

/* ---- PSMallocTo and PSMfreeFrom ---- */

/* A place whose writer was killed stays out of use until it has been looked at. */
static bool writer_enter(struct thread *t, _Atomic uint64_t *writer) {
  uint64_t nobody = 0;
  return *writer == 0 && atomic_compare_exchange_strong(writer, &nobody, t->id);
}

/* Small and large blocks are published in two ways: both are wanted often. */
static uint64_t size_published(struct thread *t) {
  return below(&t->seed, 3) == 0 ? small_max + 1 + below(&t->seed, unit) : size_random(t);
}

static void place_fill(struct thread *t, uint32_t j) {
  void **place = (void **)(void *)&world->places[j];
  uint64_t size = size_published(t);
  PSMclearError();
  begin(t, OP_ALLOC_TO, 0, j);
  if (PSMallocTo(handle, size, place) == 0) {
    uint64_t offset = offset_of((void *)(uintptr_t)world->places[j]);
    stamp(t, offset, size); /* what has this claim is expected to be intact */
    claim_turn(offset, 0, CLAIM_PLACE);
  } else {
    check_full();
  }
  end(t);
}

static void place_empty(struct thread *t, uint32_t j) {
  void **place = (void **)(void *)&world->places[j];
  uint64_t offset = offset_of((void *)(uintptr_t)world->places[j]);
  pattern_check(offset);
  begin(t, OP_FREE_FROM, offset, j);
  claim_turn(offset, CLAIM_PLACE, 0);
  if (PSMfreeFrom(handle, place) != 0) fail_call("PSMfreeFrom");
  if (world->places[j] != 0) fail("PSMfreeFrom has left something at its place");
  end(t);
}

static void place_step(struct thread *t) {
  uint32_t j = (uint32_t)below(&t->seed, PLACES);
  if (!writer_enter(t, &arena->place_writer[j])) return;
  if (world->places[j] == 0)
    place_fill(t, j);
  else
    place_empty(t, j);
  arena->place_writer[j] = 0;
}

static uint64_t marker(void) { return ++arena->markers << 1 | 1; }

/* Whoever takes the block out leaves something that was never there before: until the caller
 * of PSMallocTo is reaped, the place decides whose the block is. */
static void race_fill(struct thread *t, uint32_t j) {
  uint64_t seen = world->races[j];
  if (is_block(seen) || !writer_enter(t, &arena->race_writer[j])) return;
  if (!is_block(world->races[j])) {
    world->races[j] = marker();
    PSMclearError();
    begin(t, OP_RACE_TO, 0, j);
    if (PSMallocTo(handle, size_published(t), (void **)(void *)&world->races[j]) != 0) check_full();
    end(t);
  }
  arena->race_writer[j] = 0;
}

static void race_take(struct thread *t, uint32_t j) {
  uint64_t value = world->races[j];
  int h = held_find(t, true, 0);
  if (!is_block(value) || h < 0) return;
  uint64_t offset = offset_of((void *)(uintptr_t)value);
  begin(t, OP_RACE_TAKE, offset, j);
  bool done = atomic_compare_exchange_strong(&world->races[j], &value, marker());
  if (done) {
    claim_turn(offset, 0, t->id);
    put(&t->record->held[h], offset);
    stamp(t, offset, GRAIN);
  }
  end(t);
}

/* Another may be faster: then there is a marker, or the block that was seen is free. */
static void race_empty(struct thread *t, uint32_t j) {
  if (!is_block(world->races[j])) return;
  begin(t, OP_RACE_FREE, 0, j);
  int result = PSMfreeFrom(handle, (void **)(void *)&world->races[j]);
  end(t);
  if (result != 0 && result != PSM_E_POINTER && result != PSM_E_DOUBLE_FREE)
    fail_call("PSMfreeFrom, racing,");
}

static void race_step(struct thread *t) {
  uint32_t j = (uint32_t)below(&t->seed, RACES);
  uint64_t what = below(&t->seed, 6);
  if (what < 3)
    race_fill(t, j);
  else if (what < 5)
    race_take(t, j);
  else
    race_empty(t, j);
}

/* ---- The lock ---- */

static void lock_step(struct thread *t) {
  begin(t, OP_LOCK, 0, 0);
  int result = PSMlock(handle, &world->lock);
  if (result != 0 && result != PSM_OWNER_DIED) fail_call("PSMlock");
  uint64_t before = atomic_exchange(&arena->inside, t->id);
  if (before != 0 && result == 0) fail("PSMlock has let two in, or has not told of a death");
  if (before != 0 && !thread_gone(before)) fail("PSMlock says of a living thread that it died");
  if (result == PSM_OWNER_DIED) world->right = world->left;
  if (world->left != world->right) fail("what the lock guards was changed by two at once");
  world->left++;
  world->right++;
  uint64_t own = t->id;
  if (!atomic_compare_exchange_strong(&arena->inside, &own, 0))
    fail("PSMlock has let another in meanwhile");
  if (PSMunlock(handle, &world->lock) != 0) fail_call("PSMunlock");
  end(t);
}

/* ---- */

void step(struct thread *t) {
  uint64_t what = below(&t->seed, 100);
  if (held_find(t, true, 0) < 0) release(t, held_any(t));
  if (what < 44)
    churn(t);
  else if (what < 54)
    resize_one(t);
  else if (what < 66)
    place_step(t);
  else if (what < 80)
    race_step(t);
  else if (what < 88)
    handful(t);
  else if (what < 94)
    burst(t);
  else if (what < 97)
    lock_step(t);
  else if (held_any(t) >= 0)
    release(t, held_any(t));
}

static void look(struct thread *t) {
  PSMStat stat;
  PSMBlock block = {NULL, 0};
  PSMMember members[4];
  begin(t, OP_LOOK, 0, 0);
  if (PSMstat(handle, &stat) != 0) fail_call("PSMstat");
  if (stat.used + stat.cached + stat.free > stat.size) fail("PSMstat counts more than there is");
  if (PSMmembers(handle, members, 4) < 1) fail_call("PSMmembers");
  for (int i = 0; i < 4 && PSMwalk(handle, &block) == 1; i++)
    if (offset_of(block.address) >= arena->size) fail("PSMwalk leaves the segment");
  int h = held_any(t);
  if (h >= 0) {
    uint64_t offset = t->record->held[h];
    if (PSMusableSize(handle, block_at(offset)) < pattern_size(offset))
      fail("PSMusableSize is less than what was asked for");
  }
  end(t);
}

void reap(struct thread *t) {
  begin(t, OP_REAP, 0, 0);
  int reaped = PSMreap(handle);
  if (reaped < 0) fail_call("PSMreap");
  t->record->reaped += (uint64_t)reaped;
  end(t);
}

void upkeep(struct thread *t) {
  switch (below(&t->seed, 6)) {
    case 0:
      begin(t, OP_TRIM, 0, 0);
      if (PSMtrim(handle, NULL) != 0) fail_call("PSMtrim");
      break;
    case 1:
      begin(t, OP_CHECK, 0, 0);
      if (PSMcheck(handle) != 0) fail_call("PSMcheck");
      if (PSMgetError(handle) != 0) fail("PSMgetError is %d", PSMgetError(handle));
      break;
    case 2:
      look(t);
      break;
    default:
      reap(t);
  }
  end(t);
}
