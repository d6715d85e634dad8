/* Where a segment goes. */
#ifndef PSM_ADDRESS_H
#define PSM_ADDRESS_H

#include "view.h"

/** Choose an address for a new segment: free in this process and not used by
 *  another segment that can be seen.
 *
 *  `attempt` 0, 1, ... tries again elsewhere.
 *
 *  Returns  PSM_OK and the geometry; PSM_E_ADDRESS.
 */
int psm_address_choose(const char *path, uint64_t size, uint32_t attempt,
                       struct geometry *geometry);

#endif
