/* What threads kept that are no more. */
#ifndef PSM_KEPT_H
#define PSM_KEPT_H

#include "view.h"

/** Whose kept blocks are to be given back, and of which classes there may be some. */
struct keepers {
  uint64_t marks[4], classes[2];
};

/** Add a cache to those whose kept blocks are to be given back. */
void psm_keepers_add(const struct segment *s, struct keepers *keepers, uint32_t cache);

/** Give back all blocks that are kept by threads that are no more; under the span
 *  lock, and repeatable from any point.
 *
 *  Returns  false if a group was never seen at rest: its keepers must keep their marks.
 */
bool psm_kept_reclaim(struct segment *s, const struct keepers *keepers);

#endif
