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

/** Give back the chunks that lie wholly in a range.
 *
 *  Returns  bytes given back.
 */
uint64_t psm_decommit(struct segment *s, uint64_t offset, uint64_t count);

uint64_t psm_committed_bytes(const struct segment *s);

#endif
