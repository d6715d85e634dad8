/* A program of calls and hostile writes, read from the fuzzer's input.
 *
 * What every call must keep, whatever the metadata says: what it hands out lies in the segment, a
 * failure sets a code, a walk goes upwards. While nothing hostile has been done, blocks do not
 * overlap either and PSMcheck agrees.
 */
#ifndef PSM_FUZZ_PROGRAM_H
#define PSM_FUZZ_PROGRAM_H

#include "hostile.h"

enum { BLOCKS = 16, THREADS = 2, OPERATIONS_MAX = 400, TOUCHED_MAX = 1 << 20 };

struct program {
  struct input *in;
  struct segment *segment;
  PSMHandle handle;
  bool clean; /* nothing hostile has been done */
  bool readonly;
  struct {
    char *at;
    uint64_t size;
  } blocks[BLOCKS];
  struct thread threads[THREADS]; /* those that are not the present one */
  unsigned thread;
};

#define CALL(call) (fuzz_call_begins(), (call))

static uint64_t offset_in(const struct program *p, const void *address) {
  return (uint64_t)((uintptr_t)address - (uintptr_t)p->segment->base);
}

static bool block_inside(const struct program *p, const void *address, uint64_t size) {
  uint64_t offset = offset_in(p, address);
  return offset <= p->segment->geometry.size && size <= p->segment->geometry.size - offset;
}

static void failure_told(void) {
  int code = PSMlastError();
  CHECK(code <= PSM_E_INVALID && code >= PSM_E_SYSTEM);
  CHECK(PSMerrorString(code)[0] != '\0');
}

static void result_told(int result) {
  if (result < 0) CHECK(PSMlastError() == result);
  if (result < 0) failure_told();
}

/* ---- Blocks --------------------------------------------------------------- */

static void block_note(struct program *p, uint32_t slot, void *block, uint64_t size) {
  if (block == NULL) {
    failure_told();
    return;
  }
  if (!block_inside(p, block, size))
    FAIL("a block of %" PRIu64 " bytes lies at offset %" PRIx64 " of %" PRIx64 " bytes", size,
         offset_in(p, block), p->segment->geometry.size);
  if (p->clean) {
    CHECK((uintptr_t)block % PSM_ALIGN == 0 && offset_in(p, block) >= p->segment->data);
    for (uint32_t i = 0; i < BLOCKS; i++) {
      if (p->blocks[i].at == NULL || i == slot) continue;
      CHECK((char *)block + size <= p->blocks[i].at ||
            p->blocks[i].at + p->blocks[i].size <= (char *)block);
    }
  }
  p->blocks[slot].at = block;
  p->blocks[slot].size = size;
}

/* Sizes near those at which something changes. */
static uint64_t take_size(struct program *p) {
  uint8_t form = input_8(p->in);
  const struct segment *s = p->segment;
  switch (form % 8) {
    case 0:
    case 1:
      return input_8(p->in);
    case 2:
      return input_16(p->in);
    case 3:
      return s->classes->small_max - 1u + form / 8 % 4;
    case 4:
      return (uint64_t)(form / 8) << s->shift;
    case 5:
      return s->classes->at[input_below(p->in, s->classes->count)].size;
    case 6:
      return s->data_size - ((uint64_t)(form / 8) << s->shift);
    default:
      return input_take(p->in, form / 8 % 8);
  }
}

/* Of what is cleared or copied: much of it takes long and shows nothing new. */
static uint64_t touched_size(struct program *p) {
  uint64_t size = take_size(p);
  return size > TOUCHED_MAX && size < p->segment->geometry.size ? TOUCHED_MAX : size;
}

static void block_drop(struct program *p, uint32_t slot) {
  p->blocks[slot].at = NULL;
  p->blocks[slot].size = 0;
}

static void do_free(struct program *p, uint32_t slot) {
  CALL(PSMfree(p->handle, p->blocks[slot].at));
  if (p->clean) CHECK(PSMlastError() == PSM_OK);
  block_drop(p, slot);
}

static void do_realloc(struct program *p, uint32_t slot) {
  uint64_t size = touched_size(p);
  void *block = CALL(PSMrealloc(p->handle, p->blocks[slot].at, size));
  block_note(p, slot, block, size);
}

static void do_calloc(struct program *p, uint32_t slot) {
  uint64_t size = touched_size(p);
  uint32_t count = input_8(p->in) % 4u;
  void *block = CALL(PSMcalloc(p->handle, count, size));
  block_note(p, slot, block, count * size);
  if (p->clean && block != NULL)
    for (uint64_t i = 0; i < count * size; i += 16) CHECK(((char *)block)[i] == 0);
}

static void do_aligned(struct program *p, uint32_t slot) {
  uint64_t size = take_size(p);
  uint64_t alignment = UINT64_C(1) << input_8(p->in) % 64;
  void *block = CALL(PSMalignedAlloc(p->handle, alignment, size));
  block_note(p, slot, block, size);
  if (p->clean && block != NULL) CHECK((uintptr_t)block % alignment == 0);
}

/* The first and the last bytes, as an application would: they lie between the guards. */
static void do_fill(struct program *p, uint32_t slot) {
  char *at = p->blocks[slot].at;
  uint64_t size = p->blocks[slot].size;
  uint8_t byte = input_8(p->in);
  if (at == NULL || p->readonly) return;
  uint64_t part = size < 64 ? size : 64;
  memset(at, byte, part);
  memset(at + (size - part), byte, part);
}

static void do_usable(struct program *p, uint32_t slot) {
  const char *at = p->blocks[slot].at;
  uint64_t size = CALL(PSMusableSize(p->handle, at));
  if (size > 0) CHECK(block_inside(p, at, size));
  if (size == 0 && at != NULL) failure_told();
  if (p->clean) CHECK(size >= p->blocks[slot].size);
}

/* ---- Places and locks ----------------------------------------------------- */

/* The user word, a word of a block, or any address near the segment. */
static void *take_place(struct program *p) {
  uint8_t form = input_8(p->in);
  if (form % 4 == 0) return p->segment->header->user;
  if (form % 4 == 3) return (void *)((uintptr_t)p->segment->base + input_take(p->in, 3) * 8 - 4096);
  const char *at = p->blocks[form / 4 % BLOCKS].at;
  return at != NULL ? (void *)(uintptr_t)(at + (form >> 6) * 8u) : p->segment->header->user;
}

static void do_alloc_to(struct program *p) {
  void **where = take_place(p);
  uint64_t size = take_size(p);
  int result = CALL(PSMallocTo(p->handle, size, where));
  result_told(result);
  if (result == PSM_OK && fuzz.struck == 0) CHECK(block_inside(p, *where, size));
}

/* The application's own pointers to a block that it has freed by other ways. */
static void block_forget(struct program *p, uint64_t address) {
  for (uint32_t i = 0; i < BLOCKS; i++)
    if ((uintptr_t)p->blocks[i].at == address) block_drop(p, i);
}

static void do_free_from(struct program *p) {
  void **where = take_place(p);
  bool readable = block_inside(p, where, sizeof *where) && ((uintptr_t)where & 7) == 0;
  uint64_t value = readable ? (uintptr_t)*where : 0;
  int result = CALL(PSMfreeFrom(p->handle, where));
  result_told(result);
  if (result == PSM_OK) block_forget(p, value);
}

static void do_free_any(struct program *p) {
  char *at = p->segment->base + input_take(p->in, 3);
  CALL(PSMfree(p->handle, at));
  if (PSMlastError() == PSM_OK) block_forget(p, (uintptr_t)at);
}

static void do_lock(struct program *p) {
  uintptr_t place = (uintptr_t)take_place(p);
  uint8_t form = input_8(p->in);
  uint32_t *lock = (uint32_t *)(place + 4 * (form & 1u));
  bool mine = block_inside(p, lock, 4) && ((uintptr_t)lock & 3) == 0 &&
              (*lock & LOCK_TAG) == p->segment->tag;
  if (!mine) {
    int result = CALL((form & 2u) != 0 ? PSMtrylock(p->handle, lock) : PSMlock(p->handle, lock));
    result_told(result);
    if (result < 0) return;
  }
  int result = CALL(PSMunlock(p->handle, lock));
  result_told(result);
}

/* ---- Looking -------------------------------------------------------------- */

static void do_walk(struct program *p) {
  PSMBlock block = {NULL, 0};
  uint8_t form = input_8(p->in);
  if (form & 0x80) block.address = p->segment->base + input_take(p->in, 3);
  for (uint32_t i = form % 64u; i > 0; i--) {
    uintptr_t last = (uintptr_t)block.address;
    int result = CALL(PSMwalk(p->handle, &block));
    result_told(result);
    if (result <= 0) break;
    CHECK((uintptr_t)block.address > last);
    CHECK(block_inside(p, block.address, block.size));
  }
}

static void do_stat(struct program *p) {
  PSMStat stat;
  result_told(CALL(PSMstat(p->handle, &stat)));
  CHECK(stat.size == p->segment->geometry.size && stat.committed <= stat.size);
  CHECK(stat.members <= PSM_SEATS && stat.caches <= p->segment->geometry.caches);
  if (p->clean) CHECK(stat.metadata + stat.used + stat.cached + stat.free <= stat.size);
}

static void do_check(struct program *p) {
  unsigned struck = fuzz.struck;
  int result = CALL(PSMcheck(p->handle));
  result_told(result);
  CHECK(result == PSM_OK || result == PSM_E_CORRUPT);
  if (p->clean && result != PSM_OK) FAIL("%s", PSMerrorString(result));
  int told = CALL(PSMgetError(p->handle));
  if (result != PSM_OK && struck == fuzz.struck && !p->readonly) CHECK(told == PSM_E_CORRUPT);
}

static void do_members(struct program *p) {
  PSMMember members[8];
  int count = CALL(PSMmembers(p->handle, members, 8));
  CHECK(count >= 0 && count <= PSM_SEATS);
  for (int i = 0; i < count && i < 8; i++)
    CHECK(members[i].seat < PSM_SEATS && members[i].alive <= 1);
}

static void do_deaths(struct program *p) {
  PSMMember members[4];
  uint64_t cursor = input_take(p->in, input_8(p->in) % 9u);
  int count = input_8(p->in) % 5;
  int result = CALL(PSMdeaths(p->handle, &cursor, members, count));
  result_told(result);
  CHECK(result <= count);
  for (int i = 0; i < result; i++) {
    CHECK(members[i].seat < PSM_SEATS && members[i].alive == 0);
    int alive = CALL(PSMalive(p->handle, members[i].id));
    CHECK(alive == 0 || alive == 1);
    if (p->clean) CHECK(alive == 0);
  }
  uint64_t self = CALL(PSMself(p->handle));
  int alive = CALL(PSMalive(p->handle, self));
  if (p->clean && !p->readonly) CHECK(alive == 1);
}

static void do_upkeep(struct program *p) {
  uint64_t bytes = 0;
  int result;
  if (input_8(p->in) & 1) {
    result = CALL(PSMtrim(p->handle, &bytes));
    CHECK(bytes <= p->segment->geometry.size);
  } else {
    result = CALL(PSMreap(p->handle));
    CHECK(result <= PSM_SEATS);
  }
  result_told(result);
}

static void do_addresses(struct program *p) {
  uint64_t offset = input_take(p->in, input_8(p->in) % 9u);
  void *address = CALL(PSMaddress(p->handle, offset));
  if (address != NULL)
    CHECK(block_inside(p, address, 1) && PSMoffset(p->handle, address) == offset);
  if (address != NULL) CHECK(PSMsegmentOf(address) == p->handle);
  if (address == NULL && offset != 0) failure_told();
  CHECK(CALL(PSMgetUser(p->handle)) == p->segment->header->user);
  (void)CALL(PSMgetError(p->handle));
}

static void do_inherit(struct program *p) {
  switch (input_8(p->in) % 3) {
    case 0:
      if (CALL(PSMprepareInherit(p->handle)) == NULL) failure_told();
      break;
    case 1:
      CALL(PSMcancelInherit(p->handle));
      break;
    default:
      if (CALL(PSMexecuteInherit(p->handle)) == NULL) failure_told();
  }
}

/* ---- Hostile -------------------------------------------------------------- */

static void do_poke(struct program *p) {
  struct poke poke = poke_read(p->in, &fuzz.target);
  p->clean = false;
  if (!p->readonly) poke_apply(&fuzz.target, &poke);
}

static void do_strike(struct program *p) {
  uint8_t after = input_8(p->in);
  struct poke poke = poke_read(p->in, &fuzz.target);
  p->clean = false;
  if (!p->readonly) strike_arm(&poke, after < 0xe0 ? after : (after - 0xdfu) * 64u);
}

static void do_storm(struct program *p) {
  p->clean = false;
  if (!p->readonly) storm(p->in, &fuzz.target);
}

/* Another thread of the process goes on. */
static void do_switch(struct program *p) {
  p->threads[p->thread] = psm_thread;
  p->thread = (p->thread + 1) % THREADS;
  psm_thread = p->threads[p->thread];
}

static void program_step(struct program *p) {
  uint8_t what = input_8(p->in);
  uint32_t slot = what / 32u + (what & 1) * 8u;
  switch (what % 32 / 2) {
    case 0:
    case 1: {
      uint64_t size = take_size(p);
      void *block = CALL(PSMalloc(p->handle, size));
      block_note(p, slot, block, size);
      break;
    }
    case 2:
      do_free(p, slot);
      break;
    case 3:
      do_realloc(p, slot);
      break;
    case 4:
      do_calloc(p, slot);
      break;
    case 5:
      do_aligned(p, slot);
      break;
    case 6:
      do_alloc_to(p);
      break;
    case 7:
      do_free_from(p);
      break;
    case 8:
      slot < 8 ? do_lock(p) : do_usable(p, slot);
      break;
    case 9:
      slot < 8 ? do_walk(p) : do_check(p);
      break;
    case 10:
      slot < 4 ? do_members(p) : slot < 8 ? do_deaths(p) : do_stat(p);
      break;
    case 11:
      slot < 8 ? do_upkeep(p) : do_addresses(p);
      break;
    case 12:
      if (slot < 4)
        do_inherit(p);
      else if (slot < 8)
        do_switch(p);
      else
        do_fill(p, slot - 8 + (input_8(p->in) & 8u));
      break;
    case 13:
      slot < 12 ? do_strike(p) : do_storm(p);
      break;
    case 14:
      do_free_any(p);
      break;
    default:
      do_poke(p);
  }
}

static void program_run(struct program *p) {
  for (int i = 0; i < OPERATIONS_MAX && p->in->at < p->in->end; i++) program_step(p);
}

#endif
