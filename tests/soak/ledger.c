/* The arena and the blocks: who is what, whose is which, and is it intact. */
#include "soak.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct arena *arena;
PSMHandle handle;
struct world *world;
void (*fail_end)(void);

#define OP_TEXT(name, text, unknown)    text,
#define OP_UNKNOWN(name, text, unknown) unknown,
const char *const op_texts[OP_COUNT] = {OPS(OP_TEXT)};
const bool op_unknown[OP_COUNT] = {OPS(OP_UNKNOWN)};

size_t arena_bytes(uint64_t size) {
  return sizeof(struct arena) + (size_t)(size / GRAIN) * sizeof(uint64_t);
}

void fail(const char *format, ...) {
  uint32_t nobody = 0;
  if (atomic_compare_exchange_strong(&arena->failed, &nobody, 1)) {
    va_list args;
    va_start(args, format);
    vsnprintf(arena->failure, sizeof arena->failure, format, args);
    va_end(args);
    arena->failed = 2;
  }
  fail_end();
  _exit(1);
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sleep_us(uint64_t us) {
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  while (nanosleep(&t, &t) && errno == EINTR) continue;
}

/* splitmix64 */
static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t random_next(uint64_t *state) { return mix(*state += 0x9e3779b97f4a7c15u); }
uint64_t below(uint64_t *state, uint64_t limit) { return random_next(state) % limit; }

void halt_wait(uint32_t halt) {
  struct timespec limit = {0, 2000000};
  (void)syscall(SYS_futex, &arena->halt, FUTEX_WAIT, halt, &limit, NULL, 0);
}

void halt_set(uint32_t halt) {
  arena->halt = halt;
  (void)syscall(SYS_futex, &arena->halt, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- Processes ---- */

int proc_reserve(uint32_t role, int parent, uint64_t *state) {
  *state = ++arena->started << 32 | (uint64_t)parent << 16 | role << 8 | PROC_RESERVED;
  for (int i = 0; i < PROCS; i++) {
    uint64_t seen = arena->procs[i].state;
    if (state_of(seen) != PROC_EMPTY) continue;
    if (atomic_compare_exchange_strong(&arena->procs[i].state, &seen, *state)) return i;
  }
  return -1;
}

bool proc_turn(struct proc *p, uint64_t from, uint32_t to) {
  return atomic_compare_exchange_strong(&p->state, &from, (from & ~UINT64_C(255)) | to);
}

void proc_clear(struct proc *p) {
  p->pid = 0;
  p->threads = 1;
  p->known = p->killed = p->doom = p->ending = 0;
  memset(p->records, 0, sizeof p->records);
  p->state = (p->state & ~UINT64_C(255)) | PROC_EMPTY;
}

bool thread_gone(uint64_t id) {
  struct proc *p = proc_of(id);
  uint64_t state = p->state;
  return incarnation_of(state) != id >> 8 || state_of(state) != PROC_RUNNING || p->killed ||
         p->ending;
}

/* ---- Claims ---- */

_Atomic uint64_t *claim_at(uint64_t offset) {
  if (offset == 0 || offset >= arena->size || offset % GRAIN != 0)
    fail("no block can begin at offset %#llx", (unsigned long long)offset);
  return &arena->claims[offset / GRAIN];
}

/* A block that PSMrealloc has given back may come here before its caller knows. */
void claim_turn(uint64_t offset, uint64_t from, uint64_t to) {
  _Atomic uint64_t *claim = claim_at(offset);
  uint64_t seen = from;
  while (!atomic_compare_exchange_strong(claim, &seen, to)) {
    if (from != 0 || (seen != 0 && (seen & CLAIM_LOOSE) == 0)) {
      const struct record *record = record_of(seen);
      fail("the block at %#llx was to go from %#llx to %#llx, but is claimed by %#llx%s (%s)",
           (unsigned long long)offset, (unsigned long long)from, (unsigned long long)to,
           (unsigned long long)seen, seen > 255 && thread_gone(seen) ? ", which is gone" : "",
           seen > 255 && record->id == seen ? op_texts[record->op] : "-");
    }
  }
}

/* ---- Patterns ----
 *
 * 16 bytes say how large the block is and by whom, and a sum of that and of the address; words
 * that follow from the sum stand in the rest, side by side or, in larger blocks, some way apart. */

static uint64_t stride(uint64_t size) { return size <= 512 ? 8 : size <= 8192 ? 64 : 512; }

static uint64_t *word_of(uint64_t offset, uint64_t at) {
  return (uint64_t *)(void *)((char *)handle + offset + at);
}

void pattern_write(uint64_t offset, uint64_t size, uint64_t stamp) {
  uint64_t first = stamp << 32 | size;
  uint64_t sum = mix(offset + mix(first));
  *word_of(offset, 0) = first;
  *word_of(offset, 8) = sum;
  for (uint64_t at = GRAIN; at + 8 <= size; at += stride(size)) *word_of(offset, at) = sum + at;
  uint64_t last = (size - 8) & ~UINT64_C(7);
  if (last >= GRAIN) *word_of(offset, last) = sum + last;
}

uint64_t pattern_size(uint64_t offset) { return *word_of(offset, 0) & UINT32_MAX; }

bool pattern_intact(uint64_t offset, uint64_t written, uint64_t limit) {
  uint64_t size = pattern_size(offset);
  uint64_t sum = mix(written + mix(*word_of(offset, 0)));
  if (*word_of(offset, 8) != sum || size < GRAIN || size > arena->size - written) return false;
  uint64_t last = (size - 8) & ~UINT64_C(7);
  if (last >= GRAIN && last + 8 <= limit && *word_of(offset, last) != sum + last) return false;
  if (limit > size) limit = size;
  for (uint64_t at = GRAIN; at + 8 <= limit; at += stride(size))
    if (*word_of(offset, at) != sum + at) return false;
  return true;
}

void pattern_check(uint64_t offset) {
  if (pattern_intact(offset, offset, UINT64_MAX)) return;
  fail("the block at %#llx was changed: it begins with %016llx %016llx", (unsigned long long)offset,
       (unsigned long long)*word_of(offset, 0), (unsigned long long)*word_of(offset, 8));
}
