/* Segments behind tickets: see checked.h for what that is good for.
 *
 * A slot's word holds its generation (upper half), whether it is taken and
 * open, and how many calls are inside. Who makes the count zero on a segment
 * that is no longer open leaves it, exactly once.
 */
#include "checked.h"

#include <inttypes.h>
#include <psm.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4096, TEXT = 512 };
#define TAKEN     UINT64_C(0x80000000)
#define OPEN      UINT64_C(0x40000000)
#define CALLS     UINT64_C(0x3fffffff)
#define LOW       UINT64_C(0xffffffff)
#define READ_MOST (UINT64_C(1) << 30) /* more than any language's byte string holds */

struct slot {
  _Atomic uint64_t word;
  PSMHandle handle;
  uint64_t base, size, first; /* blocks lie from base + first to base + size */
  bool offsets; /* a number below the size is one: the segment lies above its own size */
  bool readonly;
};

static struct slot slots[SLOTS];

/* ---- Failures ---- */

static _Thread_local int code;
static _Thread_local char reason[TEXT];

static const char *const code_names[] = {
    "PSM_OK",         "PSM_E_INVALID", "PSM_E_HANDLE",      "PSM_E_NAME",     "PSM_E_SIZE",
    "PSM_E_ADDRESS",  "PSM_E_MEMBERS", "PSM_E_NOMEM",       "PSM_E_NOSPACE",  "PSM_E_ACCESS",
    "PSM_E_FILETYPE", "PSM_E_FORMAT",  "PSM_E_VERSION",     "PSM_E_PLATFORM", "PSM_E_TRUNCATED",
    "PSM_E_CORRUPT",  "PSM_E_POINTER", "PSM_E_DOUBLE_FREE", "PSM_E_EXISTS",   "PSM_E_NOT_FOUND",
    "PSM_E_READONLY", "PSM_E_STATE",   "PSM_E_SYSTEM"};
_Static_assert(sizeof code_names / sizeof *code_names == 1 - PSM_E_SYSTEM, "a name per code");

static uint64_t fail(int why, const char *sentence) {
  code = why < 0 && why >= PSM_E_SYSTEM ? why : PSM_E_SYSTEM;
  (void)snprintf(reason, sizeof reason, "%s (%s)", sentence, code_names[-code]);
  return 0;
}

__attribute__((format(printf, 2, 3))) static uint64_t fail_with(int why, const char *format, ...) {
  char sentence[TEXT - 32];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(sentence, sizeof sentence, format, values);
  va_end(values);
  return fail(why, sentence);
}

/* Takes over what the call into the library met. */
static bool library_failed(void) {
  int why = PSMlastError();
  if (why != PSM_OK) (void)fail(why, PSMerrorString(why));
  return why != PSM_OK;
}

bool segment_failed(void) { return code != PSM_OK; }
const char *segment_code(void) { return code_names[-code]; }
const char *segment_reason(void) { return code != PSM_OK ? reason : ""; }

void segment_bytes_free(Bytes *bytes) {
  if (bytes->data != NULL) free(bytes->data - sizeof bytes->length);
}

const char *libraryVersion(void) {
  code = PSM_OK;
  return PSMversion();
}

const char *lastError(void) {
  static _Thread_local const char *last = "";
  last = code != PSM_OK ? segment_code() : "";
  code = PSM_OK;
  return last;
}

/* ---- Slots ---- */

static Segment *ticket(const struct slot *slot, uint64_t word) {
  uint64_t number = (word >> 32) % (UINT64_C(1) << 31) << 16 | (uint64_t)(slot - slots + 1);
  return (Segment *)(uintptr_t)number;
}

static struct slot *slot_of(const Segment *self) {
  uint64_t number = (uint64_t)(uintptr_t)self;
  uint64_t index = (number & 0xffff) - 1;
  return index < SLOTS ? &slots[index] : NULL;
}

static void retire(struct slot *slot) {
  PSMHandle handle = slot->handle;
  uint64_t generation = atomic_load(&slot->word) >> 32;
  PSMdeinit(handle);
  atomic_store(&slot->word, (generation + 1) << 32);
}

/* Change a slot's word, if the ticket is its and the segment open. */
static struct slot *change(const Segment *self, uint64_t add, uint64_t clear, uint64_t *now) {
  struct slot *slot = slot_of(self);
  if (slot == NULL) return NULL;
  uint64_t word = atomic_load(&slot->word);
  do {
    if (!(word & OPEN) || ticket(slot, word) != self) return NULL;
    *now = (word + add) & ~clear;
  } while (!atomic_compare_exchange_weak(&slot->word, &word, *now));
  return slot;
}

static struct slot *enter(const Segment *self) {
  uint64_t now;
  code = PSM_OK;
  PSMclearError();
  struct slot *slot = change(self, 1, 0, &now);
  if (slot == NULL) (void)fail(PSM_E_HANDLE, "this segment is closed: open it anew");
  return slot;
}

static void leave(struct slot *slot) {
  uint64_t now = atomic_fetch_sub(&slot->word, 1) - 1;
  if (!(now & OPEN) && !(now & CALLS)) retire(slot);
}

static bool shut(const Segment *self) {
  uint64_t now;
  struct slot *slot = change(self, 0, OPEN, &now);
  if (slot != NULL && !(now & CALLS)) retire(slot);
  return slot != NULL;
}

static struct slot *slot_take(void) {
  for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
    uint64_t word = atomic_load(&slot->word);
    if (!(word & LOW) && atomic_compare_exchange_strong(&slot->word, &word, word | TAKEN))
      return slot;
  }
  (void)fail_with(PSM_E_STATE, "%d segments are open: close one first", SLOTS);
  return NULL;
}

/* A program that ends in the ordinary way leaves, whatever it forgot. */
static void leave_all(void) {
  for (struct slot *slot = slots; slot < slots + SLOTS; slot++)
    (void)shut(ticket(slot, atomic_load(&slot->word)));
}

static atomic_flag watched = ATOMIC_FLAG_INIT;

/* ---- Life ---- */

Segment *Segment_open(const char *name, uint64_t size, int64_t flags, uint64_t address,
                      int64_t mode) {
  PSMStat stat = {0};
  struct slot *slot;
  code = PSM_OK;
  PSMclearError();
  if (flags < 0 || flags > 15 || mode < 0 || mode > 07777) {
    (void)fail_with(PSM_E_INVALID, "flags %#" PRIx64 " or mode %" PRIo64 " are out of range",
                    (uint64_t)flags, (uint64_t)mode);
    return NULL;
  }
  if ((slot = slot_take()) == NULL) return NULL;
  PSMOptions options = {size, (void *)(uintptr_t)address, (uint32_t)mode, (uint32_t)flags};
  uint64_t word = atomic_load(&slot->word);
  if (PSMopen(name, &options, &slot->handle) != PSM_OK || PSMstat(slot->handle, &stat) != PSM_OK) {
    (void)library_failed();
    PSMdeinit(slot->handle);
    atomic_store(&slot->word, word & ~LOW);
    return NULL;
  }
  slot->base = (uint64_t)(uintptr_t)slot->handle;
  slot->size = stat.size;
  slot->first = stat.metadata;
  slot->offsets = stat.size <= slot->base;
  /* How it is mapped was decided by the first open of this process. */
  slot->readonly = PSMself(slot->handle) == 0;
  if (!atomic_flag_test_and_set(&watched)) (void)atexit(leave_all);
  atomic_store(&slot->word, word | OPEN);
  return ticket(slot, word);
}

Segment *new_Segment(const char *name, uint64_t size) { return Segment_open(name, size, 0, 0, 0); }

void Segment_close(Segment *self) {
  struct slot *slot = enter(self);
  if (slot == NULL) return;
  (void)shut(self);
  leave(slot);
}

void delete_Segment(Segment *self) {
  code = PSM_OK;
  (void)shut(self);
}

bool Segment_isOpen(Segment *self) {
  struct slot *slot = enter(self);
  code = PSM_OK;
  if (slot != NULL) leave(slot);
  return slot != NULL;
}

/* ---- Every call has this form: enter, the expression, its failure, leave ---- */

#define POINTER(x) ((void *)(uintptr_t)(x))
#define NUMBER(x)  ((uint64_t)(uintptr_t)(x))

#define CALL(type, name, parameters, expression) \
  type Segment_##name parameters {               \
    struct slot *slot = enter(self);             \
    if (slot == NULL) return 0;                  \
    PSMHandle handle = slot->handle;             \
    (void)handle;                                \
    type result = (type)(expression);            \
    if (code == PSM_OK) (void)library_failed();  \
    leave(slot);                                 \
    return result;                               \
  }

#define CALL_VOID(name, parameters, expression) \
  void Segment_##name parameters {              \
    struct slot *slot = enter(self);            \
    if (slot == NULL) return;                   \
    PSMHandle handle = slot->handle;            \
    (void)handle;                               \
    (void)(expression);                         \
    if (code == PSM_OK) (void)library_failed(); \
    leave(slot);                                \
  }

#define SELF Segment *self

/* A place is an address, or the offset of one. Small numbers are neither: a
 * null pointer plus the offset of a field leads nowhere. */
static void *place_of(const struct slot *slot, uint64_t place) {
  bool offset = slot->offsets && place >= slot->first && place < slot->size;
  return POINTER(offset ? slot->base + place : place);
}

/* ---- Blocks ---- */

/* A call that found a way out in the end may have met a failure before. */
static uint64_t block_got(const void *block) {
  if (block != NULL) PSMclearError();
  return NUMBER(block);
}

static uint64_t next_block(PSMHandle handle, uint64_t block) {
  PSMBlock step = {POINTER(block), 0};
  return PSMwalk(handle, &step) == 1 ? NUMBER(step.address) : 0;
}

static uint64_t free_block(PSMHandle handle, uint64_t block) {
  PSMfree(handle, POINTER(block));
  return 0;
}

CALL(uint64_t, alloc, (SELF, uint64_t size), block_got(PSMalloc(handle, size)))
CALL(uint64_t, calloc, (SELF, uint64_t count, uint64_t size),
     block_got(PSMcalloc(handle, count, size)))
CALL(uint64_t, realloc, (SELF, uint64_t block, uint64_t size),
     block_got(PSMrealloc(handle, POINTER(block), size)))
CALL(uint64_t, alignedAlloc, (SELF, uint64_t alignment, uint64_t size),
     block_got(PSMalignedAlloc(handle, alignment, size)))
CALL(uint64_t, usableSize, (SELF, uint64_t block), PSMusableSize(handle, POINTER(block)))
CALL(uint64_t, nextBlock, (SELF, uint64_t block), next_block(handle, block))
CALL_VOID(free, (SELF, uint64_t block), free_block(handle, block))
CALL_VOID(allocTo, (SELF, uint64_t size, uint64_t place),
          PSMallocTo(handle, size, (void **)place_of(slot, place)))
CALL_VOID(freeFrom, (SELF, uint64_t place), PSMfreeFrom(handle, (void **)place_of(slot, place)))

/* ---- Memory ---- */

static void *fail_outside(const struct slot *slot, uint64_t place, uint64_t length) {
  char offsets[64] = "";
  if (slot->offsets)
    (void)snprintf(offsets, sizeof offsets, ", or offsets %#" PRIx64 " to %#" PRIx64, slot->first,
                   slot->size);
  (void)fail_with(PSM_E_POINTER,
                  "%" PRIu64 " bytes at %#" PRIx64 " are not in the segment's blocks: these have "
                  "addresses %#" PRIx64 " to %#" PRIx64 "%s",
                  length, place, slot->base + slot->first, slot->base + slot->size, offsets);
  return NULL;
}

/* The memory at a place, or NULL and a failure. */
static void *memory_at(const struct slot *slot, uint64_t place, uint64_t length, bool change_it) {
  void *memory = place_of(slot, place);
  uint64_t offset = NUMBER(memory) - slot->base;
  uint64_t from_user = NUMBER(memory) - NUMBER(PSMgetUser(slot->handle));
  bool in_blocks = offset >= slot->first && offset <= slot->size && length <= slot->size - offset;
  bool in_user = from_user <= 8 && length <= 8 - from_user;
  if (!in_blocks && !in_user) return fail_outside(slot, place, length);
  if (change_it && slot->readonly) {
    (void)fail(PSM_E_READONLY, PSMerrorString(PSM_E_READONLY));
    return NULL;
  }
  return memory;
}

static Bytes copy_out(const struct slot *slot, uint64_t place, uint64_t length) {
  Bytes bytes = {NULL, 0};
  const void *from = memory_at(slot, place, length, false);
  if (from == NULL) return bytes;
  if (length > READ_MOST) {
    (void)fail(PSM_E_SIZE, "a call reads at most 1 GiB: read in pieces");
    return bytes;
  }
  char *block = malloc(sizeof length + length);
  if (block == NULL) {
    (void)fail_with(PSM_E_SYSTEM, "no memory for %" PRIu64 " bytes", length);
    return bytes;
  }
  memcpy(block, &length, sizeof length);
  bytes.data = block + sizeof length;
  bytes.length = length;
  memcpy(bytes.data, from, length);
  return bytes;
}

static int copy_in(const struct slot *slot, uint64_t place, const char *bytes, uint64_t length) {
  void *to = bytes != NULL ? memory_at(slot, place, length, true) : NULL;
  if (bytes == NULL) (void)fail(PSM_E_INVALID, "there are no bytes to write: give some");
  if (to != NULL) memcpy(to, bytes, length);
  return 0;
}

Bytes Segment_read(Segment *self, uint64_t place, uint64_t length) {
  struct slot *slot = enter(self);
  if (slot == NULL) return (Bytes){NULL, 0};
  Bytes bytes = copy_out(slot, place, length);
  leave(slot);
  return bytes;
}

CALL_VOID(write, (SELF, uint64_t place, const char *bytes, uint64_t length),
          copy_in(slot, place, bytes, length))

/* Aligned ones are one atomic step: what was written before a poke is seen by
 * who peeks its value. */
#define PEEK_POKE(suffix, type, wide, poked, fits)                                       \
  static type load_##suffix(const struct slot *slot, uint64_t place) {                 \
    type value = 0;                                                                      \
    type *at = memory_at(slot, place, sizeof value, false);                                \
    if (at != NULL && place % sizeof value == 0)                                       \
      __atomic_load(at, &value, __ATOMIC_ACQUIRE);                                       \
    else if (at != NULL)                                                                 \
      memcpy(&value, at, sizeof value);                                                  \
    return value;                                                                        \
  }                                                                                      \
  static int store_##suffix(const struct slot *slot, uint64_t place, poked given) {    \
    type value = (type)given;                                                            \
    type *at = memory_at(slot, place, sizeof value, true);                                 \
    if (at == NULL) return 0;                                                            \
    if (!(fits)) return (int)fail(PSM_E_INVALID, "the number does not fit into " #type); \
    if (place % sizeof value == 0)                                                     \
      __atomic_store(at, &value, __ATOMIC_RELEASE);                                      \
    else                                                                                 \
      memcpy(at, &value, sizeof value);                                                  \
    return 0;                                                                            \
  }                                                                                      \
  CALL(wide, peek##suffix, (SELF, uint64_t place), load_##suffix(slot, place))       \
  CALL_VOID(poke##suffix, (SELF, uint64_t place, poked value),                         \
            store_##suffix(slot, place, value))

PEEK_POKE(I8, int8_t, int64_t, int64_t, (int64_t)value == given)
PEEK_POKE(I16, int16_t, int64_t, int64_t, (int64_t)value == given)
PEEK_POKE(I32, int32_t, int64_t, int64_t, (int64_t)value == given)
PEEK_POKE(I64, int64_t, int64_t, int64_t, true)
PEEK_POKE(U8, uint8_t, uint64_t, int64_t, (int64_t)value == given)
PEEK_POKE(U16, uint16_t, uint64_t, int64_t, (int64_t)value == given)
PEEK_POKE(U32, uint32_t, uint64_t, int64_t, (int64_t)value == given)
PEEK_POKE(U64, uint64_t, uint64_t, uint64_t, true)
PEEK_POKE(F64, double, double, double, true)

/* ---- Addresses and the user word ---- */

static uint64_t root_of(const struct slot *slot) {
  uint64_t address = load_U64(slot, NUMBER(PSMgetUser(slot->handle)));
  if (address == 0 || address - slot->base < slot->size) return address;
  return fail_with(PSM_E_POINTER, "the user word is %#" PRIx64 ": no address of this segment",
                   address);
}

static int set_root(const struct slot *slot, uint64_t address) {
  if (address != 0 && address - slot->base >= slot->size)
    return (int)fail_with(PSM_E_POINTER, "%#" PRIx64 " is not in this segment", address);
  return store_U64(slot, NUMBER(PSMgetUser(slot->handle)), address);
}

CALL(uint64_t, baseAddress, (SELF), slot->base)
CALL(uint64_t, size, (SELF), slot->size)
CALL(uint64_t, offset, (SELF, uint64_t address), PSMoffset(handle, POINTER(address)))
CALL(uint64_t, address, (SELF, uint64_t offset), NUMBER(PSMaddress(handle, offset)))
CALL(uint64_t, userAddress, (SELF), NUMBER(PSMgetUser(handle)))
CALL(uint64_t, user, (SELF), load_U64(slot, NUMBER(PSMgetUser(handle))))
CALL_VOID(setUser, (SELF, uint64_t value), store_U64(slot, NUMBER(PSMgetUser(handle)), value))
CALL(uint64_t, root, (SELF), root_of(slot))
CALL_VOID(setRoot, (SELF, uint64_t address), set_root(slot, address))

/* ---- Locks, members, upkeep ---- */

#define FIELD(name) \
  { #name, offsetof(PSMStat, name), sizeof((PSMStat *)0)->name }
static const struct {
  const char *name;
  size_t offset, size;
} fields[] = {FIELD(size),    FIELD(metadata), FIELD(used),      FIELD(cached),
              FIELD(free),    FIELD(largest),  FIELD(committed), FIELD(blocks),
              FIELD(members), FIELD(caches),   FIELD(unit),      FIELD(small_max)};

static uint64_t stat_field(PSMHandle handle, const char *name) {
  PSMStat stat;
  uint64_t wide;
  uint32_t narrow;
  for (size_t i = 0; name != NULL && i < sizeof fields / sizeof *fields; i++) {
    if (strcmp(fields[i].name, name) != 0) continue;
    if (PSMstat(handle, &stat) != PSM_OK) return 0;
    memcpy(&wide, (const char *)&stat + fields[i].offset, fields[i].size);
    memcpy(&narrow, &wide, sizeof narrow);
    return fields[i].size == sizeof wide ? wide : narrow;
  }
  return fail(PSM_E_INVALID,
              "no such figure; there are size metadata used cached free largest "
              "committed blocks members caches unit small_max");
}

/* Text that the caller frees; `list` gives the members, as many as there are places. */
static char *lines(int (*list)(const struct slot *, uint64_t, PSMMember *, int),
                   const struct slot *slot, uint64_t place) {
  enum { LINE = 80, MOST = 1024 };
  PSMMember *members = calloc(MOST, sizeof *members);
  char *text = malloc(MOST * LINE);
  int count = members != NULL && text != NULL ? list(slot, place, members, MOST) : 0;
  if (members == NULL || text == NULL) (void)fail(PSM_E_SYSTEM, "no memory for the members");
  if (text != NULL) *text = '\0';
  for (int i = 0, at = 0; i < count && i < MOST; i++)
    at += snprintf(text + at, LINE, "%" PRIu64 " %u %u %u %u\n", members[i].id, members[i].pid,
                   members[i].seat, members[i].start, members[i].alive);
  free(members);
  return text;
}

static int list_members(const struct slot *slot, uint64_t unused, PSMMember *members, int count) {
  (void)unused;
  return PSMmembers(slot->handle, members, count);
}

/* The cursor goes on also if deaths were missed: to the oldest that is remembered. */
static int list_deaths(const struct slot *slot, uint64_t place, PSMMember *dead, int count) {
  uint64_t cursor = load_U64(slot, place), before = cursor;
  if (code != PSM_OK) return 0;
  count = PSMdeaths(slot->handle, &cursor, dead, count);
  if (cursor != before) (void)store_U64(slot, place, cursor);
  return count;
}

static int try_lock(const struct slot *slot, uint64_t place) {
  int result = PSMtrylock(slot->handle, place_of(slot, place));
  if (result == PSM_E_STATE) PSMclearError(); /* that it is held is no failure here */
  return result == PSM_OK ? 1 : result == PSM_OWNER_DIED ? 2 : 0;
}

static uint64_t trim(PSMHandle handle) {
  uint64_t bytes = 0;
  (void)PSMtrim(handle, &bytes);
  return bytes;
}

CALL(bool, lockAt, (SELF, uint64_t place), PSMlock(handle, place_of(slot, place)) == PSM_OWNER_DIED)
CALL(int, tryLockAt, (SELF, uint64_t place), try_lock(slot, place))
CALL_VOID(unlockAt, (SELF, uint64_t place), PSMunlock(handle, place_of(slot, place)))
CALL(uint64_t, stat, (SELF, const char *field), stat_field(handle, field))
CALL(char *, members, (SELF), lines(list_members, slot, 0))
CALL(char *, deaths, (SELF, uint64_t place), lines(list_deaths, slot, place))
CALL(uint64_t, memberId, (SELF), PSMself(handle))
CALL(bool, alive, (SELF, uint64_t id), PSMalive(handle, id) == 1)
CALL(int, reap, (SELF), PSMreap(handle))
CALL(uint64_t, trim, (SELF), trim(handle))
CALL_VOID(check, (SELF), PSMcheck(handle))
CALL(bool, sound, (SELF), PSMgetError(handle) == PSM_OK)
