/* Where is every block? Asked while all threads that live are parked.
 *
 * A block in use is in the table or in a place, or a living thread holds it, or a dead one held
 * it, or it was in flight in a death: one for each killed thread at the most, and none in a
 * PSMallocTo. What the dead have left is freed, so that the storm can go on for ever.
 */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNKNOWN_MAX = 1000 };
enum {
  AT_TABLE = 1, /* in one of these three, and in one place only */
  AT_PLACE = 2,
  AT_RACE = 4,
  LIVING = 8,    /* a living thread holds it */
  TAKEN = 16,    /* a dead one was moving it into or out of the table */
  RACED = 32,    /* a dead one was taking it out of a race's place */
  GIVEN_UP = 64, /* a dead one was freeing it */
  SEEN = 128     /* the walk has come to it */
};

struct totals totals;

/* In use, though no record and no claim knows it: in flight in some death. */
static struct unknown {
  uint64_t offset, size;
  struct record *loser;
} unknowns[UNKNOWN_MAX];
static uint64_t unknown_count;

static uint8_t *marks; /* a byte for each address where a block can begin */
static uint64_t *orphans;
static uint64_t orphan_count, used_count;
static uint64_t unit, small_max;

static uint8_t *mark_at(uint64_t offset) {
  (void)claim_at(offset);
  return &marks[offset / GRAIN];
}

static void mark(uint64_t offset, uint8_t what) {
  const uint8_t single = AT_TABLE | AT_PLACE | AT_RACE | LIVING;
  uint8_t *m = mark_at(offset);
  if ((what & single) != 0 && (*m & single) != 0)
    fail("the block at %#llx is in two places (%u and %u)", (unsigned long long)offset, *m, what);
  *m |= what;
}

static uint64_t offset_in(uint64_t value) { return offset_of((void *)(uintptr_t)value); }

/* Calls `visit` for each thread that is in use, in the state given. */
static void each_thread(uint32_t state, void (*visit)(struct record *)) {
  for (int i = 0; i < PROCS; i++)
    for (int t = 0; t < THREADS && proc_state(&arena->procs[i]) == state; t++)
      visit(&arena->procs[i].records[t]);
}

static void mark_living(struct record *r) {
  for (int h = 0; h < HELD; h++)
    if (r->held[h] != 0) mark(r->held[h], LIVING);
}

static void mark_dead(struct record *r) {
  uint32_t op = r->op;
  switch (op) {
    case OP_PUBLISH:
    case OP_TAKE:
      mark(r->block, TAKEN);
      break;
    case OP_RACE_TAKE:
      mark(r->block, RACED);
      break;
    case OP_FREE:
    case OP_FREE_FROM:
      mark(r->block, GIVEN_UP);
      break;
    default:
      break;
  }
}

static void mark_all(void) {
  for (uint32_t i = 0; i < TABLE; i++)
    if (world->table[i] != 0) mark(offset_in(world->table[i]), AT_TABLE);
  for (int j = 0; j < PLACES; j++)
    if (world->places[j] != 0) mark(offset_in(world->places[j]), AT_PLACE);
  for (int j = 0; j < RACES; j++)
    if (is_block(world->races[j])) mark(offset_in(world->races[j]), AT_RACE);
  each_thread(PROC_RUNNING, mark_living);
  each_thread(PROC_DEAD, mark_dead);
}

static bool holds(const struct record *r, uint64_t offset) {
  for (int h = 0; h < HELD; h++)
    if (r->held[h] == offset) return true;
  return false;
}

/* ---- Blocks that nobody who lives can reach ---- */

static uint64_t lost_at;

static void lose_given_up(struct record *r) {
  if ((r->op == OP_FREE || r->op == OP_FREE_FROM) && r->block == lost_at) r->lost = 1;
}

/* Claimed by a thread that is dead: it held the block, or had just been given it. */
static void orphan_of(uint64_t offset, uint64_t id) {
  struct record *r = record_of(id);
  uint32_t op = r->op;
  if (r->id != id || proc_state(proc_of(id)) != PROC_DEAD)
    fail("the block at %#llx is claimed by a thread that does not hold it",
         (unsigned long long)offset);
  bool about = r->block == offset && (op == OP_FREE || op == OP_PUBLISH || op == OP_TAKE ||
                                      op == OP_RACE_TAKE || op == OP_REALLOC);
  if (holds(r, offset) || about) {
    totals.held++;
    return;
  }
  if ((op != OP_ALLOC && op != OP_REALLOC) || r->lost != 0)
    fail("the block at %#llx was claimed by a thread killed in %s, which lost %llu others",
         (unsigned long long)offset, op_texts[op], (unsigned long long)r->lost);
  r->lost = 1;
}

static void orphan(uint64_t offset, uint64_t size, uint8_t m, uint64_t claim) {
  orphans[orphan_count++] = offset;
  if (claim == CLAIM_TABLE && (m & TAKEN) != 0) {
    totals.held++;
  } else if (claim == 0 && (m & RACED) != 0) {
    totals.held++;
  } else if (claim == 0 && (m & GIVEN_UP) != 0) {
    lost_at = offset;
    each_thread(PROC_DEAD, lose_given_up);
  } else if (claim == 0) {
    if (unknown_count == UNKNOWN_MAX) fail("more than %d blocks are lost", UNKNOWN_MAX);
    unknowns[unknown_count++] = (struct unknown){offset, size, NULL};
  } else if (claim > CLAIM_WORLD) {
    orphan_of(offset, claim & ~CLAIM_LOOSE);
  } else {
    fail("the block at %#llx is in no table, but claimed for one (%llu)",
         (unsigned long long)offset, (unsigned long long)claim);
  }
}

static void settle(uint64_t offset, uint64_t size) {
  uint8_t *m = mark_at(offset);
  *m |= SEEN;
  used_count++;
  /* PSMrealloc had given this block back when its caller died, and PSMallocTo asks no claims. */
  if ((*m & (AT_PLACE | AT_RACE)) != 0 && (*claim_at(offset) & CLAIM_LOOSE) != 0)
    *claim_at(offset) = 0;
  uint64_t claim = *claim_at(offset);
  if (claim == CLAIM_WORLD) return;
  if ((*m & AT_RACE) != 0 && claim == 0) return;
  if ((*m & AT_PLACE) != 0 && claim == 0) return; /* places_mend looks at it */
  bool right = ((*m & AT_TABLE) != 0 && claim == CLAIM_TABLE) ||
               ((*m & AT_PLACE) != 0 && claim == CLAIM_PLACE) ||
               ((*m & LIVING) != 0 && claim > CLAIM_WORLD && record_of(claim)->id == claim &&
                holds(record_of(claim), offset));
  if (!right && (*m & (AT_TABLE | AT_PLACE | AT_RACE | LIVING)) != 0)
    fail("the block at %#llx (%u) has the claim %#llx", (unsigned long long)offset, *m,
         (unsigned long long)claim);
  if (!right) {
    orphan(offset, size, *m, claim);
    return;
  }
  pattern_check(offset);
  if (pattern_size(offset) > size) fail("a block is smaller than what was asked for");
}

/* ---- What should be in use is ---- */

static void expect_used(uint64_t offset, const char *whose) {
  if ((*mark_at(offset) & SEEN) == 0)
    fail("the block at %#llx is free, but %s", (unsigned long long)offset, whose);
}

static void expect_held(struct record *r) {
  for (int h = 0; h < HELD; h++) {
    uint64_t offset = r->held[h];
    if (offset != 0 && *claim_at(offset) == r->id) expect_used(offset, "a thread held it");
  }
}

static void expect_all(void) {
  for (uint32_t i = 0; i < TABLE; i++)
    if (world->table[i] != 0) expect_used(offset_in(world->table[i]), "is in the table");
  for (int j = 0; j < PLACES; j++)
    if (world->places[j] != 0)
      expect_used(offset_in(world->places[j]), "PSMallocTo has published it");
  for (int j = 0; j < RACES; j++)
    if (is_block(world->races[j]))
      expect_used(offset_in(world->races[j]), "PSMallocTo has published it among others");
  each_thread(PROC_RUNNING, expect_held);
  each_thread(PROC_DEAD, expect_held);
}

/* ---- The deaths ---- */

static void deaths_print(void) {
  for (int i = 0; i < PROCS; i++) {
    struct proc *p = &arena->procs[i];
    for (int t = 0; t < THREADS && proc_state(p) == PROC_DEAD; t++) {
      struct record *r = &p->records[t];
      printf("  dead %llx (%s): %s, block %#llx, size %llu, place %u, lost %llu\n",
             (unsigned long long)r->id, p->killed ? "killed" : "ended", op_texts[r->op],
             (unsigned long long)r->block, (unsigned long long)r->size, r->place,
             (unsigned long long)r->lost);
    }
  }
}

/* Could this thread have been given, in its last call, a block of this size? A small block may be
 * as large as its alignment; one of whole units only lies so. */
static bool could_lose(const struct record *r, uint64_t size) {
  if (!op_unknown[r->op] || r->lost != 0) return false;
  if (r->op == OP_RACE_FREE) return true;
  uint64_t least = r->size > GRAIN ? r->size : GRAIN;
  uint64_t aligned = least > r->align ? least : r->align;
  return size >= least && size <= (size <= small_max ? 2 * aligned : least + unit);
}

/* Give an unknown block to a dead thread, each of which takes one; those that had a thread
 * may have to go to another (augmenting paths). `tried` has a bit for each thread. */
static bool unknown_place(struct unknown *block, bool *tried) {
  for (int i = 0; i < PROCS * THREADS; i++) {
    struct record *r = &arena->procs[i / THREADS].records[i % THREADS];
    if (proc_state(&arena->procs[i / THREADS]) != PROC_DEAD) continue;
    if (tried[i] || !could_lose(r, block->size)) continue;
    tried[i] = true;
    struct unknown *other = unknowns;
    while (other < unknowns + unknown_count && other->loser != r) other++;
    if (other < unknowns + unknown_count && !unknown_place(other, tried)) continue;
    block->loser = r;
    return true;
  }
  return false;
}

static void unknown_settle(void) {
  for (uint64_t i = 0; i < unknown_count; i++) {
    bool tried[PROCS * THREADS] = {false};
    if (unknown_place(&unknowns[i], tried)) continue;
    deaths_print();
    for (uint64_t j = 0; j < unknown_count; j++)
      printf("  lost: %#llx of %llu bytes\n", (unsigned long long)unknowns[j].offset,
             (unsigned long long)unknowns[j].size);
    fail("%llu blocks are in use that no kill accounts for", (unsigned long long)unknown_count);
  }
  for (uint64_t i = 0; i < unknown_count; i++) unknowns[i].loser->lost = 1;
}

static void orphans_free(void) {
  for (uint64_t i = 0; i < orphan_count; i++) {
    *claim_at(orphans[i]) = 0;
    PSMclearError();
    PSMfree(handle, block_at(orphans[i]));
    if (PSMlastError() != 0) fail("what the dead have left cannot be freed");
  }
}

/* A claim that PSMrealloc had loosened is nobody's after it has freed the block. */
static void claim_tighten(struct record *r) {
  uint64_t loose = r->id | CLAIM_LOOSE;
  if (r->op == OP_REALLOC) (void)atomic_compare_exchange_strong(claim_at(r->block), &loose, 0);
}

/* A writer that was killed has published a block, or not, or not taken it back yet. */
static void places_mend(void) {
  for (int j = 0; j < PLACES; j++) {
    bool gone = arena->place_writer[j] != 0 && thread_gone(arena->place_writer[j]);
    uint64_t offset = world->places[j] != 0 ? offset_in(world->places[j]) : 0;
    if (offset != 0 && *claim_at(offset) == 0) {
      if (!gone) fail("a block was published by nobody");
      claim_turn(offset, 0, CLAIM_PLACE);
      pattern_write(offset, GRAIN, 0);
    }
    if (gone) arena->place_writer[j] = 0;
  }
  for (int j = 0; j < RACES; j++)
    if (arena->race_writer[j] != 0 && thread_gone(arena->race_writer[j])) arena->race_writer[j] = 0;
}

static void proc_sum(struct proc *p) {
  uint64_t lost = 0;
  for (int t = 0; t < THREADS; t++) {
    struct record *r = &p->records[t];
    for (int op = 0; op < OP_COUNT; op++) totals.counts[op] += r->counts[op];
    if (p->killed && !p->ending && (t == 0 || p->threads > 1)) totals.killed_in[r->op]++;
    if (r->longest > totals.longest) {
      totals.longest = r->longest;
      totals.slowest = r->slowest;
    }
    totals.reaped += r->reaped;
    lost += r->lost;
  }
  totals.lost += lost;
  if (lost > totals.lost_most) totals.lost_most = lost;
  totals.kills += p->killed && !p->ending;
  totals.workers += role_of(p->state) == ROLE_WORKER;
}

static void deaths_close(void) {
  for (int i = 0; i < PROCS; i++) {
    struct proc *p = &arena->procs[i];
    if (proc_state(p) != PROC_DEAD) continue;
    proc_sum(p);
    proc_clear(p);
  }
}

/* ---- The examination ---- */

/* A child that came too late to be admitted, and has gone, may still have a seat to be reaped. */
static void members_check(uint32_t living) {
  int members = -1;
  for (uint64_t begun = now_ns(); now_ns() - begun < UINT64_C(5000000000); sleep_us(300)) {
    int reaped = PSMreap(handle);
    if (reaped < 0) fail("PSMreap failed: %s", PSMerrorString(PSMlastError()));
    totals.reaped += (uint64_t)reaped;
    members = PSMmembers(handle, NULL, 0);
    if (members == (int)living + 1) return;
  }
  fail("%u processes and this one live, but PSMmembers is %d after PSMreap", living, members);
}

static void soundness_check(void) {
  if (PSMcheck(handle) != 0) fail("PSMcheck: %s", PSMerrorString(PSMlastError()));
  if (PSMgetError(handle) != 0) fail("PSMgetError is %d", PSMgetError(handle));
}

static void room_prepare(void) {
  PSMStat stat;
  size_t grains = (size_t)(arena->size / GRAIN);
  free(marks);
  free(orphans);
  marks = calloc(grains, sizeof *marks);
  orphans = malloc(grains * sizeof *orphans);
  if (marks == NULL || orphans == NULL) fail("no memory for the examination");
  orphan_count = unknown_count = used_count = 0;
  if (PSMstat(handle, &stat) != 0) fail("PSMstat failed");
  unit = stat.unit;
  small_max = stat.small_max;
}

void examine(uint32_t living, uint32_t threads) {
  PSMStat stat;
  members_check(living);
  soundness_check();
  room_prepare();
  mark_all();
  for (PSMBlock block = {NULL, 0}; PSMwalk(handle, &block) == 1;)
    settle(offset_of(block.address), block.size);
  expect_all();
  unknown_settle();
  orphans_free();
  each_thread(PROC_DEAD, claim_tighten);
  places_mend();
  deaths_close();
  if (PSMstat(handle, &stat) != 0) fail("PSMstat failed");
  if (stat.blocks != used_count - orphan_count)
    fail("PSMstat counts %llu blocks, there are %llu", (unsigned long long)stat.blocks,
         (unsigned long long)(used_count - orphan_count));
  if (stat.caches > threads + 1)
    fail("%u caches are in use by %u threads", stat.caches, threads + 1);
  totals.examinations++;
}

void examine_end(void) {
  for (uint64_t grain = 0; grain < arena->size / GRAIN; grain++)
    if (arena->claims[grain] != 0 && arena->claims[grain] != CLAIM_WORLD)
      fail("the block at %#llx is claimed (%#llx), but there is none",
           (unsigned long long)(grain * GRAIN), (unsigned long long)arena->claims[grain]);
  soundness_check();
}

uint64_t capacity(uint64_t size) {
  uint64_t count = 0;
  void **last = NULL;
  for (void **block; (block = PSMalloc(handle, size)) != NULL; count++) {
    *block = (void *)last;
    last = block;
  }
  if (PSMlastError() != PSM_E_NOMEM) fail("filling failed: %s", PSMerrorString(PSMlastError()));
  while (last != NULL) {
    void **before = *last;
    PSMclearError();
    PSMfree(handle, last);
    if (PSMlastError() != 0) fail("PSMfree failed: %s", PSMerrorString(PSMlastError()));
    last = before;
  }
  return count;
}
