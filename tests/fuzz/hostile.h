/* Hostile writes: any byte of the metadata, aimed by the layout, now or in the middle of a call.
 *
 * One thing is not done: the lock of the spans never comes to name this process by a write from
 * outside. Such a word cannot be told from a lock that another thread of this process holds, and
 * to wait for that one is right. For the same reason a living holder lets go when it is waited
 * for. Nothing else may make a call wait, or take more steps than any call needs.
 */
#ifndef PSM_FUZZ_HOSTILE_H
#define PSM_FUZZ_HOSTILE_H

#include "fuzz.h"

enum { STRIKES = 8, WAITS_MAX = 8, STEPS_MAX = 20000000, LOCK_TAG = 0x7fffffff };

/* Where hostile writes go: the segment, or the file that is to become one. */
struct target {
  char *bytes;
  const struct geometry *geometry;
  uint32_t tag;  /* of this process in the lock; 0 while it is a file */
  int neighbour; /* the seat of a living member, or NO_SEAT */
  int file;      /* which holds that seat */
};

struct poke {
  uint64_t offset;
  uint64_t value;
  unsigned width; /* 1, 2, 4 or 8 bytes */
};

static struct {
  uint64_t steps; /* of this call */
  unsigned waits;
  struct target target;
  struct strike {
    uint32_t after; /* steps from now; 0 is none */
    struct poke poke;
  } strikes[STRIKES];
  unsigned armed, struck;
} fuzz;

/* ---- Aim ------------------------------------------------------------------ */

static uint64_t cache_field(struct input *in, const struct geometry *g, uint32_t cache,
                            unsigned *width) {
  uint8_t which = input_8(in);
  uint64_t at = g->cache_area + (uint64_t)cache * g->cache_size;
  if (which >= 0xe0) return at + (uint64_t)(which % 3) * 8;
  (void)width;
  return at + sizeof(struct cache_shm) +
         input_below(in, g->classes->count) * sizeof(struct slot_shm) + which % 2 * 8u;
}

/* In a descriptor, or anywhere in an annex or among the states: a group's word, or some states. */
static uint64_t group_field(struct input *in, const struct geometry *g, unsigned *width) {
  uint32_t unit = input_below(in, g->units);
  uint8_t which = input_8(in);
  bool narrow = (which & 1) != 0;
  if (narrow) *width = 4;
  bool annex = g->annex_size != 0 && (which & 4) != 0;
  uint32_t size = annex ? g->annex_size : g->states_size;
  if (size != 0 && (which & 2) != 0)
    return (annex ? g->annexes : g->states) + (uint64_t)unit * size +
           input_below(in, size / *width) * *width;
  uint64_t at = g->slabs + (uint64_t)unit * g->slab_size + sizeof(struct slab_shm);
  uint32_t index = (which >> 2) % g->near_groups;
  return narrow ? at + g->near_groups * sizeof(uint64_t) + index * sizeof(uint32_t)
                : at + index * sizeof(uint64_t);
}

/* A word of the metadata by its meaning, or any byte. */
static uint64_t poke_aim(struct input *in, const struct geometry *g, unsigned *width) {
  uint8_t area = input_8(in);
  *width = 8;
  switch (area % 16) {
    case 0:
      *width = area & 16 ? 4 : 8;
      return input_8(in) / *width * *width;
    case 1:
      *width = 4;
      return g->roster + (area & 16 ? input_below(in, PSM_SEATS * 4) : input_8(in) % 16u) * 4;
    case 2:
      return g->spans + input_8(in) % (sizeof(struct spans_shm) / 8) * 8;
    case 3:
    case 4:
      *width = 4;
      return g->table + input_below(in, g->units) * 4u;
    case 5:
      if (area & 16) return g->deaths + input_8(in) % (g->deaths_kept * 2) * 8;
      return g->committed + input_below(in, (g->chunks + 63) / 64) * 8u;
    case 6:
      *width = 4;
      return g->bin_heads + input_below(in, g->bins) * 4u;
    case 7: {
      uint32_t level = area / 16u % 3;
      return g->hints[level] + input_below(in, g->classes->count * g->hint_words[level]) * 8u;
    }
    case 8:
      *width = 4;
      return g->owners + input_below(in, g->caches) * 4u;
    case 9:
      *width = 4;
      return g->slabs + (uint64_t)input_below(in, g->units) * g->slab_size + (area & 16 ? 4 : 0);
    case 10:
    case 11:
      return group_field(in, g, width);
    case 12:
      return cache_field(in, g, input_below(in, g->caches), width);
    case 13:
      return cache_field(in, g, area / 16u % 2, width);
    case 14:
      *width = 4;
      return g->spans + (area & 16 ? 4 : 0);
    default:
      *width = 1u << area / 16 % 4;
      return input_take(in, 3) % (g->data - 8);
  }
}

/* ---- What is written ------------------------------------------------------ */

static uint64_t value_at(const struct target *t, uint64_t offset, unsigned width) {
  uint64_t value = 0;
  memcpy(&value, t->bytes + offset, width);
  return value;
}

/* Values that mean something to the library, or nearly so. */
static uint64_t poke_value(struct input *in, const struct target *t, uint64_t old) {
  const struct geometry *g = t->geometry;
  uint8_t form = input_8(in);
  switch (form % 20) {
    case 0:
      return 0;
    case 1:
      return ~UINT64_C(0);
    case 2:
      return input_8(in);
    case 3:
      return input_16(in);
    case 4:
      return input_32(in);
    case 5:
      return input_take(in, 8);
    case 6:
      return old ^ UINT64_C(1) << input_8(in) % 64;
    case 7:
      return old + (uint64_t)(int64_t)(int8_t)input_8(in);
    case 8:
      return unit_word(form / 20 % 4, input_8(in));
    case 9:
      return unit_word(form / 20 % 4, g->units - input_8(in) % 4u);
    case 10:
      return group_id(input_below(in, g->units), input_8(in) % PSM_GROUPS);
    case 11:
      return group_id(g->units - 2 + form / 20 % 4, input_8(in) % PSM_GROUPS);
    case 12:
      return g->data + (uint64_t)input_16(in) * 16;
    case 13:
      return g->data + ((uint64_t)g->units << g->shift) +
             (uint64_t)(int64_t)(int8_t)input_8(in) * 16;
    case 14:
      return g->size + (uint64_t)(int64_t)(int8_t)input_8(in);
    case 15:
      return g->base + input_take(in, 3);
    case 16:
      return (uint64_t)input_16(in) << TAG_SEAT_BITS | form / 20;
    case 17: {
      unsigned width;
      uint64_t from = poke_aim(in, g, &width);
      return value_at(t, from, width);
    }
    case 18:
      return g->units + 1 - form / 20 % 4;
    default:
      return UINT64_C(1) << input_8(in) % 64;
  }
}

static struct poke poke_read(struct input *in, const struct target *t) {
  struct poke poke;
  poke.offset = poke_aim(in, t->geometry, &poke.width);
  poke.value = poke_value(in, t, value_at(t, poke.offset, poke.width));
  return poke;
}

static void poke_apply(const struct target *t, const struct poke *poke) {
  uint32_t *lock = (uint32_t *)(void *)(t->bytes + t->geometry->spans);
  uint32_t before = *lock;
  memcpy(t->bytes + poke->offset, &poke->value, poke->width);
  if (t->tag != 0 && (*lock & LOCK_TAG) == t->tag && (before & LOCK_TAG) != t->tag) *lock = before;
}

/* Many words at once, from one on. */
static void storm(struct input *in, const struct target *t) {
  struct poke poke;
  poke.offset = poke_aim(in, t->geometry, &poke.width);
  uint32_t words = input_8(in) * 16u;
  uint8_t kind = input_8(in);
  poke.value = input_take(in, 8);
  for (; words > 0 && poke.offset + poke.width <= t->geometry->data; words--) {
    poke_apply(t, &poke);
    poke.offset += poke.width;
    if (kind & 1)
      poke.value = poke.value * UINT64_C(6364136223846793005) + UINT64_C(0x14057b7ef767814f);
    if (kind & 2) poke.value += input_8(in);
  }
}

/* ---- Strikes -------------------------------------------------------------- */

static void strike_arm(const struct poke *poke, uint32_t after) {
  struct strike *strike = &fuzz.strikes[0];
  for (unsigned i = 0; i < STRIKES && strike->after != 0; i++) strike = &fuzz.strikes[i];
  fuzz.armed += strike->after == 0;
  *strike = (struct strike){after + 1, *poke};
}

static void strike_all(void) {
  for (unsigned i = 0; i < STRIKES; i++) {
    struct strike *strike = &fuzz.strikes[i];
    if (strike->after == 0 || --strike->after > 0) continue;
    poke_apply(&fuzz.target, &strike->poke);
    fuzz.armed--;
    fuzz.struck++;
  }
}

static void fuzz_step(void) {
  if (++fuzz.steps > STEPS_MAX) FAIL("the call does not end");
  if (fuzz.armed > 0) strike_all();
}

/* ---- Waiting -------------------------------------------------------------- */

enum owner { NOBODY, NEIGHBOUR, OURSELVES };

/* Who holds a lock, as psm_tag_alive should see it. */
static enum owner owner_of(const struct target *t, uint32_t tag) {
  int seat = (int)(tag & ((1u << TAG_SEAT_BITS) - 1)) - 1;
  if (tag != 0 && tag == t->tag) return OURSELVES;
  if (seat < 0 || seat >= PSM_SEATS) return NOBODY;
  uint32_t tenure;
  memcpy(&tenure,
         t->bytes + t->geometry->roster + (uint64_t)seat * sizeof(struct seat_shm) +
             offsetof(struct seat_shm, tenure),
         sizeof tenure);
  if (seat_state(tenure) == SEAT_EMPTY || tag_of(tenure, seat) != tag) return NOBODY;
  if (seat == t->neighbour) return NEIGHBOUR;
  return t->tag == 0 && os_byte_held(t->file, BYTE_SEATS + (uint64_t)seat, 1, OS_TRY) ? OURSELVES
                                                                                      : NOBODY;
}

/* In place of sleeping on a lock. */
static long fuzz_syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  _Atomic uint32_t *word = va_arg(arguments, _Atomic uint32_t *);
  int operation = va_arg(arguments, int);
  va_end(arguments);
  CHECK(number == SYS_futex);
  if (operation != TO_WAIT) return 0;
  uint32_t tag = atomic_load(word) & LOCK_TAG;
  enum owner owner = owner_of(&fuzz.target, tag);
  bool spans = (char *)word == fuzz.target.bytes + fuzz.target.geometry->spans;
  if (owner == OURSELVES && spans) FAIL("the call waits for itself");
  if (owner != NOBODY) atomic_store(word, 0);
  if (++fuzz.waits > WAITS_MAX) FAIL("the call waits for ever, lock 0x%x", tag);
  return -1;
}

static void fuzz_call_begins(void) {
  fuzz.steps = 0;
  fuzz.waits = 0;
  PSMclearError();
}

static void fuzz_begins(void) { memset(&fuzz, 0, sizeof fuzz); }

#endif
