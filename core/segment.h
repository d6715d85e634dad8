/* Create, join, leave. */
#ifndef PSM_SEGMENT_H
#define PSM_SEGMENT_H

#include "view.h"

/** Create or join; see PSMopen.
 *
 *  Returns  PSM_OK and the segment; else a PSM_E_ code, and NULL there.
 */
int psm_segment_open(const char *name, const PSMOptions *options, struct segment **segment);

/** Leave once; see PSMdeinit. */
int psm_segment_close(PSMHandle handle);

/** Leave for good, whatever the count says. Under the opening lock. */
void psm_segment_leave(struct segment *s);

/** Leave those that no use is left of, and no child is to come for. Under the
 *  opening lock. */
void psm_segments_sweep(void);

#endif
