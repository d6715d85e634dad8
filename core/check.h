/* Count, walk and check what a segment holds. */
#ifndef PSM_CHECK_H
#define PSM_CHECK_H

#include "view.h"

int psm_stat(struct segment *s, PSMStat *stat);

/** Returns  1 and the next block; 0 after the last. */
int psm_walk(struct segment *s, PSMBlock *block);

/** Returns  PSM_OK, or PSM_E_CORRUPT with the thread's error set. */
int psm_check(struct segment *s);

int psm_members(struct segment *s, PSMMember *members, int count);

/** Is a block of a slab allocated? Its bit is set nowhere then. */
bool psm_block_used(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index);

#endif
