/* Blocks of whole units. */
#ifndef PSM_LARGE_H
#define PSM_LARGE_H

#include "view.h"

/** Allocate whole units and, unless `where` is NULL, publish them.
 *
 *  Returns  PSM_OK and the offset in `*block`; PSM_E_NOMEM or PSM_E_NOSPACE,
 *           quietly.
 */
int psm_large_alloc(const struct worker *worker, uint64_t size, uint64_t alignment,
                    _Atomic uintptr_t *where, uint64_t *block);

/** Free what begins at an offset from unit 0.
 *
 *  Returns  PSM_OK, PSM_E_POINTER or PSM_E_DOUBLE_FREE, quietly.
 */
int psm_large_free(const struct worker *worker, uint64_t offset);

/** Bytes of the large block at an offset from unit 0.
 *
 *  Returns  PSM_OK, PSM_E_POINTER or PSM_E_DOUBLE_FREE, quietly.
 */
int psm_large_size(struct segment *s, uint64_t offset, uint64_t *size);

/** Make a large block fit `size` bytes where it is.
 *
 *  Returns  PSM_OK, or PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_large_resize(const struct worker *worker, uint64_t offset, uint64_t size);

#endif
