/* Memory that the file system has promised, so that no touch can fail. */
#ifndef PSM_COMMIT_H
#define PSM_COMMIT_H

#include "view.h"

/** Have the file open: programs that close descriptors they do not own may
 *  have closed ours. The mapping has kept the locks.
 *
 *  Returns  false if its path is gone as well.
 */
bool psm_file_regain(struct segment *s);

/** Commit what is not committed yet of a range. Under the span lock.
 *
 *  Returns  PSM_OK or PSM_E_NOSPACE, quietly; what succeeded stays.
 */
int psm_commit(struct segment *s, uint64_t offset, uint64_t count);

/** Commit some megabyte around a range if the file system has it to spare. */
int psm_commit_ahead(struct segment *s, uint64_t offset, uint64_t count);

void psm_touch_first(struct segment *s, uint32_t unit);

/** Map the pages of a unit, which is committed, if this process has not yet. */
PSM_INLINE void psm_touch(struct segment *s, uint32_t unit) {
  if (s->touched != NULL && (at_load(&s->touched[unit / 64]) >> unit % 64 & 1) == 0)
    psm_touch_first(s, unit);
}

/** Give back the chunks that lie wholly in a range.
 *
 *  Returns  bytes given back, of those that were committed.
 */
uint64_t psm_decommit(struct segment *s, uint64_t offset, uint64_t count);

uint64_t psm_committed_bytes(const struct segment *s);

#endif
