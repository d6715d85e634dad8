/* What psm.i wraps: PSM for languages that must not crash.
 *
 * Only numbers, text and bytes cross this border. A `Segment *` is no address
 * but a ticket: the number of a slot and how often the slot was given out. It
 * is never followed, so an old, forged or null one is refused. Every call takes
 * part in the use of its segment: one that is closed meanwhile, by another
 * thread or a finalizer, stays mapped until the call has ended.
 *
 * A `place` is an address in the segment's blocks, or of the user word, or the
 * offset of an address in the blocks. The two cannot be confused: a number
 * below the segment's size is an offset, and PSM puts no segment below its own
 * size; one that was put there by an explicit address takes addresses only.
 *
 * A call that fails says so in segment_failed(); what it returned means nothing.
 */
#ifndef PSM_SWIG_CHECKED_H
#define PSM_SWIG_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Segment Segment;

/* Bytes that the caller frees with segment_bytes_free. Their length also stands
 * in the 8 bytes before the first, for languages that get one pointer only. */
typedef struct Bytes {
  char *data;
  uint64_t length;
} Bytes;

/* ---- The failure of this thread's latest call ---- */

bool segment_failed(void);        /* false: it succeeded */
const char *segment_code(void);   /* "PSM_E_NOMEM" and so on */
const char *segment_reason(void); /* the sentence, with the code behind it */
void segment_bytes_free(Bytes *bytes);

/* ---- The module ---- */

const char *libraryVersion(void);
const char *lastError(void); /* segment_code, or "" */

/* ---- Life: as PSMinit and PSMopen; `address` 0 lets PSM choose ---- */

Segment *new_Segment(const char *name, uint64_t size);
Segment *Segment_open(const char *name, uint64_t size, int64_t flags, uint64_t address,
                      int64_t mode);
void Segment_close(Segment *self);  /* a second time: refused */
void delete_Segment(Segment *self); /* closes what is open; never fails */
bool Segment_isOpen(Segment *self);

/* ---- Blocks ---- */

uint64_t Segment_alloc(Segment *self, uint64_t size);
uint64_t Segment_calloc(Segment *self, uint64_t count, uint64_t size);
uint64_t Segment_realloc(Segment *self, uint64_t block, uint64_t size);
uint64_t Segment_alignedAlloc(Segment *self, uint64_t alignment, uint64_t size);
uint64_t Segment_usableSize(Segment *self, uint64_t block);
uint64_t Segment_nextBlock(Segment *self, uint64_t block);
void Segment_free(Segment *self, uint64_t block);
void Segment_allocTo(Segment *self, uint64_t size, uint64_t place);
void Segment_freeFrom(Segment *self, uint64_t place);

/* ---- Memory: refused outside of where blocks lie and the user word ---- */

Bytes Segment_read(Segment *self, uint64_t place, uint64_t length);
void Segment_write(Segment *self, uint64_t place, const char *bytes, uint64_t length);

int64_t Segment_peekI8(Segment *self, uint64_t place);
int64_t Segment_peekI16(Segment *self, uint64_t place);
int64_t Segment_peekI32(Segment *self, uint64_t place);
int64_t Segment_peekI64(Segment *self, uint64_t place);
uint64_t Segment_peekU8(Segment *self, uint64_t place);
uint64_t Segment_peekU16(Segment *self, uint64_t place);
uint64_t Segment_peekU32(Segment *self, uint64_t place);
uint64_t Segment_peekU64(Segment *self, uint64_t place);
double Segment_peekF64(Segment *self, uint64_t place);
void Segment_pokeI8(Segment *self, uint64_t place, int64_t value);
void Segment_pokeI16(Segment *self, uint64_t place, int64_t value);
void Segment_pokeI32(Segment *self, uint64_t place, int64_t value);
void Segment_pokeI64(Segment *self, uint64_t place, int64_t value);
void Segment_pokeU8(Segment *self, uint64_t place, int64_t value);
void Segment_pokeU16(Segment *self, uint64_t place, int64_t value);
void Segment_pokeU32(Segment *self, uint64_t place, int64_t value);
void Segment_pokeU64(Segment *self, uint64_t place, uint64_t value);
void Segment_pokeF64(Segment *self, uint64_t place, double value);

/* ---- Addresses and the user word ---- */

uint64_t Segment_baseAddress(Segment *self);
uint64_t Segment_size(Segment *self);
uint64_t Segment_offset(Segment *self, uint64_t address);
uint64_t Segment_address(Segment *self, uint64_t offset);
uint64_t Segment_userAddress(Segment *self);
uint64_t Segment_user(Segment *self);
void Segment_setUser(Segment *self, uint64_t value);
uint64_t Segment_root(Segment *self);                  /* the user word as an address */
void Segment_setRoot(Segment *self, uint64_t address); /* 0, or inside the segment */

/* ---- Locks, members, upkeep ---- */

bool Segment_lockAt(Segment *self, uint64_t place);   /* true: its owner died */
int Segment_tryLockAt(Segment *self, uint64_t place); /* 0: held; 1: locked; 2: its owner died */
void Segment_unlockAt(Segment *self, uint64_t place);
uint64_t Segment_stat(Segment *self, const char *field); /* a field of PSMStat */
/* Lines of "id pid seat start alive", malloc'ed; the cursor of PSMdeaths lies at `place`. */
char *Segment_members(Segment *self);
char *Segment_deaths(Segment *self, uint64_t place);
uint64_t Segment_memberId(Segment *self);
bool Segment_alive(Segment *self, uint64_t id);
int Segment_reap(Segment *self);
uint64_t Segment_trim(Segment *self);
void Segment_check(Segment *self); /* fails if the segment is not sound */
bool Segment_sound(Segment *self);

#ifdef __cplusplus
}
#endif

#endif /* PSM_SWIG_CHECKED_H */
