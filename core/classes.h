/* Size to class and back. A class is a block size of which a slab, one unit,
 * holds a whole number with as little left over as possible.
 *
 * Candidates are 16 bytes apart at first, then a fraction of a doubling; each
 * grows to the largest size of which as many fit into a unit. The tables are
 * private to the process and depend on the unit only.
 */
#ifndef PSM_CLASSES_H
#define PSM_CLASSES_H

#include "compiler.h"

enum {
  PSM_CLASSES = 96, /* at most: one for each step from 16 bytes to 32 KiB */
  PSM_GROUP = 64,   /* blocks of a group: the bits of a word */
  PSM_GROUPS = 64,  /* groups of a slab at most: 64 KiB of 16-byte blocks */
  PSM_ALIGN = 16,
  PSM_SMALL = 32 * 1024, /* bytes of the largest small block there can be */
  PSM_STATED = 64,       /* bytes of the smallest blocks that have states */
  PSM_UNIT_MAX = 2 * PSM_SMALL
};

/* A group is offered to others once a quarter of it is free: taking groups
 * with one or two free blocks costs more than it saves. */
PSM_INLINE uint32_t offer_threshold(uint32_t blocks) { return (blocks + 3) / 4; }

PSM_INLINE uint64_t full_mask(uint32_t blocks) { return ~UINT64_C(0) >> (PSM_GROUP - blocks); }

struct psm_class {
  uint32_t size;       /* bytes of a block, a multiple of 16 */
  uint32_t reciprocal; /* ceil(2^32 / size) */
  uint16_t blocks;     /* of a slab */
  uint8_t groups;      /* of a slab */
  bool stated;         /* each block has a byte of state, see layout.h */
  uint64_t notable;    /* bit n - 1: a group with n free blocks may be worth an offer, or full */
};

struct psm_classes {
  uint32_t count;
  uint32_t small_max;                /* bytes of the largest small block */
  uint8_t of_16[PSM_SMALL / 16 + 1]; /* class by size in 16 bytes, rounded up */
  struct psm_class at[PSM_CLASSES];
};

/** The tables for units of 2^`shift` bytes: 12, 14 or 16. */
const struct psm_classes *psm_classes_for(uint32_t shift);

/** The class of a size of at most `small_max`. */
PSM_INLINE uint32_t size_class(const struct psm_classes *classes, uint64_t size) {
  return classes->of_16[(size + 15) / 16];
}

/* Which block of its slab an offset below 64 KiB lies in, times 2^32, and a
 * remainder. Exact: it exceeds offset * 2^32 / size by less than 2^31, and
 * 2^32 / size is more.
 *
 * size * reciprocal is 2^32 + e with e < size. At the begin of block i the
 * remainder is i * e, at most 2^16; r bytes behind it, r * reciprocal more, and a
 * reciprocal is at least 2^17. So a remainder below it means: a block begins here. */
PSM_INLINE uint64_t block_scaled(uint64_t offset, uint64_t reciprocal) {
  return offset * reciprocal;
}
PSM_INLINE bool block_begins(uint64_t scaled, uint32_t reciprocal) {
  return (uint32_t)scaled < reciprocal;
}
PSM_INLINE uint32_t block_index(const struct psm_class *cls, uint32_t offset) {
  return (uint32_t)(block_scaled(offset, cls->reciprocal) >> 32);
}

PSM_INLINE uint32_t group_blocks(const struct psm_class *cls, uint32_t group) {
  uint32_t left = cls->blocks - group * PSM_GROUP;
  return left < PSM_GROUP ? left : PSM_GROUP;
}

#endif
