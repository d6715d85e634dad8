/* The whole file format: what lies where in a segment.
 *
 *    header     never changes after creation, but for state, user and error
 *    roster     1024 seats of members
 *    spans      the span lock, what its holder is about, the bins' bitmap
 *    table      one word per unit: the truth about spans
 *    committed  one bit per unit-sized chunk of the file
 *    bins       heads of the lists of free runs (derived)
 *    hints 2, 1 which words of the hints below are not zero (derived)
 *    owners     one word per cache: the seat that uses it
 *    grants     one word per cache: how much its thread may keep, in 16 bytes; by that thread
 *    deaths     a ring of the members that died last
 *  - up to here committed at creation, what follows when first needed -
 *    hints 0    per class, a bit per unit: slabs worth a look (derived)
 *    slabs      one descriptor per unit: links of free runs, the groups of slabs
 *    annexes    per unit, the groups of slabs that have more than a descriptor holds
 *    states     per unit, the states of its blocks, or the groups of smaller ones
 *    caches     the free blocks that threads have claimed
 *    data       units
 *
 * The geometry follows from the size and the base alone; a header that says
 * otherwise is refused. Nothing that is private to a process is ever in here.
 */
#ifndef PSM_LAYOUT_H
#define PSM_LAYOUT_H

#include <stddef.h>

#include "classes.h"

#define PSM_MAGIC UINT64_C(0x0a0d4745534d5350) /* "PSMSEG\r\n" */

enum {
  PSM_FORMAT = 5,
  PSM_SEATS = 1024,
  PSM_USER_OFFSET = 64,
  PSM_BINS_MAX = 256,
  PSM_CACHES_MIN = 2,
  PSM_CACHES_MAX = 4096,
  PSM_DEATHS_MIN = 8, /* remembered */
  PSM_DEATHS_MAX = 1024,
  PSM_SIZE_MIN = 28 * 1024,
  PSM_SIZE_BITS = sizeof(void *) == 8 ? 45 : 31 /* a size is below 2 to this power */
};

enum { STATE_CREATING = 1, STATE_READY = 2 };
enum { KEEP_FILE = 1 };

struct header_shm {
  uint64_t magic; /* these by the creator, before anything else */
  uint32_t format;
  uint8_t pointer_size; /* bytes */
  uint8_t byte_order;   /* 1 little, 2 big */
  uint16_t header_size; /* bytes */
  uint64_t size;        /* bytes of the file */
  uint64_t base;        /* address in every member */
  uint32_t unit_shift;
  uint32_t units;
  uint64_t data;          /* offset of unit 0 */
  uint64_t checksum;      /* of all before it */
  _Atomic uint32_t state; /* READY is the creator's last store */
  _Atomic uint32_t keep;  /* KEEP_FILE: by any member, never taken back */
  uint8_t user[8];        /* by the application */
  _Atomic int32_t error;  /* PSM_E_CORRUPT, by whoever meets it first */
  uint8_t spare[180];
};
_Static_assert(sizeof(struct header_shm) == 256, "format");
_Static_assert(offsetof(struct header_shm, checksum) == 48, "format");
_Static_assert(offsetof(struct header_shm, user) == PSM_USER_OFFSET, "format");

enum { SEAT_EMPTY = 0, SEAT_RESERVED = 1, SEAT_JOINED = 2, SEAT_LEFT = 3 };

/* By the member, whose claim to it is a kernel lock on byte `seat`; when that
 * is gone, by the reaper under the span lock. Who takes the seat of a dead
 * member over leaves its pid there, and in `pending` its generation, until
 * that death is on record. */
struct seat_shm {
  _Atomic uint32_t pid;     /* 0 in a seat reserved for a child */
  _Atomic uint32_t start;   /* low 32 bits of the process's start time */
  _Atomic uint32_t tenure;  /* generation << 2 | SEAT_; stored last */
  _Atomic uint32_t pending; /* inherits prepared and not yet executed */
};
_Static_assert(sizeof(struct seat_shm) == 16, "format");

/* One of the members that died last; by a reaper, under the span lock. */
struct death_shm {
  uint64_t id;
  uint32_t pid, start;
};
_Static_assert(sizeof(struct death_shm) == 16, "format");

/* By the holder of `lock`, but for the lock itself. */
struct spans_shm {
  _Atomic uint32_t lock;
  _Atomic uint32_t marked;   /* 1 + the unit being cut or given back, or 0 */
  _Atomic uint64_t to_block; /* large PSMallocTo: offset of the block, or 0 */
  _Atomic uint64_t to_where; /* where it is to be published (offset) */
  _Atomic uint64_t to_old;   /* what was there before */
  _Atomic uint64_t deaths;   /* recorded so far; after the record itself */
  _Atomic uint32_t seats;    /* that were ever taken: none beyond is looked at */
  _Atomic uint32_t asked;    /* the seat at which the next joiner begins to ask who is dead */
  _Atomic uint32_t pressure; /* how often memory ran short: keep nothing for yourself */
  _Atomic uint32_t shortage; /* no unit was free when one was last asked for */
  uint32_t spare[2];
  uint64_t bin_map[PSM_BINS_MAX / 64];
  uint64_t spare_too[4];
};
_Static_assert(sizeof(struct spans_shm) == 128, "format");

/* The table's place is the same in every segment: a free adds it to the base. */
enum {
  PSM_TABLE_OFFSET =
      sizeof(struct header_shm) + PSM_SEATS * sizeof(struct seat_shm) + sizeof(struct spans_shm)
};

/* A unit's word in the table. Heads tile the segment; a word that is not a
 * head means something only as the last of a free run. A slab's word is odd and
 * its class in the lowest byte, which leads a free to the class at once. */
enum { UNIT_TAIL = 0, UNIT_SLAB = 1, UNIT_FREE = 2, UNIT_LARGE = 4 };
#define unit_word(kind, value) \
  ((uint32_t)(value) << (3u - 2u * ((uint32_t)(kind)&1u)) | (uint32_t)(kind))
#define unit_kind(word)  ((word) & (1u | (~(word)&1u) * 6u)) /* odd: one bit says all; else three */
#define unit_value(word) ((word) >> (3u - 2u * ((word)&1u))) /* length in units; a slab's class */

/** The lowest byte of a unit's word, alone. */
PSM_INLINE uint32_t unit_byte(const _Atomic uint32_t *word) {
  return at_load_acquire((const _Atomic uint8_t *)word + BYTE_LOWEST);
}

/* `free` and `owner` are all there is to know about a group of blocks.
 * free:  bit set = block free; set by anyone, cleared by the owner only.
 * owner: 0, 1 + the cache that may take from it, or OWNER_MARK. From 0 by
 *        whoever claims it; back to 0 by that one only, or by its reaper. */
enum { GROUP_SIZE = sizeof(uint64_t) + sizeof(uint32_t) };

#define OWNER_MARK UINT32_C(0xffffffff) /* being cut or given back */

/* Most classes have no more groups than lie here: what a free touches of their
 * slabs is one line of 64 bytes, and those lines lie close together. */
struct slab_shm {
  _Atomic uint32_t next, prev; /* 1 + unit, while a free run begins here (span lock) */
  _Atomic uint64_t groups[];   /* geometry's `near_groups`: all `free`, then all `owner` */
};
_Static_assert(sizeof(struct slab_shm) == 8, "format");

/* A block's state, a byte for every PSM_STATED bytes of units: no two blocks that have
 * states begin in the same. It says something while the block's bit is neither in `free`
 * nor in a slot: used by the application, or else who keeps it, to allocate it again
 * without asking anyone. Used is stored before the bit is cleared; a mark stays when the
 * keeper sets the bit again, and means nothing then. The mark of a cache is the one of an
 * owner; those without so small a one keep nothing. Never 0: see psm_groups_at. */
enum { BLOCK_FREE = 1, BLOCK_MARK_MAX = 0xbf, BLOCK_USED = 0xc0 };

/** The state of a used block: it tells where in its part of the unit the block begins. */
PSM_INLINE uint8_t used_state(uint64_t offset) {
  return (uint8_t)(BLOCK_USED | offset % PSM_STATED);
}

/** The mark of a worker with this id; 0 if it cannot keep blocks. */
PSM_INLINE uint8_t keeper_mark(uint32_t id) {
  return id > BLOCK_FREE && id <= BLOCK_MARK_MAX ? (uint8_t)id : 0;
}

/* What one thread has claimed of one class; by that thread, or its reaper.
 * bits != 0 only while the group's owner is this cache. A block that is in
 * `bits`, or in `free` of a group that this cache owns, is free. */
#define SLOT_CHANGE (UINT64_C(1) << 40)
struct slot_shm {
  _Atomic uint64_t bits;
  _Atomic uint64_t group; /* changes << 40 | 1 + unit * 64 + group, or 0; before the claim */
};
_Static_assert(sizeof(struct slot_shm) == 16, "format");

struct cache_shm {
  _Atomic uint64_t to_block; /* small PSMallocTo: offset of the block, or 0 */
  _Atomic uint64_t to_where;
  _Atomic uint64_t to_old;
  _Atomic uint64_t keeps[2]; /* a bit per class of which blocks may bear this cache's mark */
  uint64_t spare[3];
  struct slot_shm slots[];
};
_Static_assert(sizeof(struct cache_shm) == 64, "format");

/** Where everything lies; private to the process, from size and base alone. */
struct geometry {
  uint64_t size, base;
  uint32_t shift, units;
  uint32_t caches, bins, chunks, deaths_kept;
  uint32_t near_groups;           /* that a descriptor holds */
  uint32_t slab_size, annex_size; /* bytes of one descriptor, of one annex */
  uint32_t states_size;           /* bytes of the states of one unit; 0: there are none */
  uint32_t cache_size;            /* bytes of one cache */
  uint32_t hint_words[3];         /* words per class and level */
  uint64_t roster, spans, table, committed, bin_heads, hints[3], owners, grants, deaths;
  uint64_t eager; /* end of what is committed at creation */
  uint64_t slabs, annexes, states, cache_area, data;
  const struct psm_classes *classes;
};

/** Returns  false if no segment of `size` bytes can be. */
bool psm_geometry(struct geometry *geometry, uint64_t size, uint64_t base);

uint32_t psm_bin_of(uint32_t units);

/** Where the groups of a class lie: offsets of the words of unit 0's first group, and bytes
 *  from a unit's to the next one's.
 *
 *  In the descriptor, if they fit there; else in the annex; and those of the smallest blocks,
 *  which have no states, in place of them. Who is late, and claims what was a group once, finds
 *  that it is owned: where owners lie in one class lie owners or states in all others, or
 *  nothing, and there the marks stay. `free` may be 0, and lies where no owners are.
 */
struct group_place {
  uint64_t free, owners;
  uint32_t stride;
};
struct group_place psm_groups_at(const struct geometry *geometry, uint32_t cls);

/** Fill what never changes, checksum and all. */
void psm_header_fill(struct header_shm *header, const struct geometry *geometry);

/** Does a header describe a segment that this library can use, in a file of
 *  `file_size` bytes? On success `geometry` is filled.
 *
 *  Returns  PSM_OK, or a PSM_E_ code without setting the thread's error.
 */
int psm_header_judge(const struct header_shm *header, uint64_t file_size,
                     struct geometry *geometry);

#endif
