/* Result codes and their sentences; the thread's last error. */
#ifndef PSM_STATUS_H
#define PSM_STATUS_H

#include "compiler.h"
#include "psm.h"

/** Record a failure of this thread.
 *
 *  `format` may be NULL, which leaves the code's general sentence.
 *
 *  Returns  `code`.
 */
int psm_fail(int code, const char *format, ...) PSM_PRINTF(2, 3);

/** Record nothing for a while: a call that succeeds leaves the error alone.
 *
 *  Returns  what it was before, to put back.
 */
bool psm_hush(bool hushed);

int psm_last_error(void);
void psm_clear_error(void);
const char *psm_sentence(int code);

#endif
