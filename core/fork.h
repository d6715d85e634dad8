/* A child is a member from the moment fork returns. */
#ifndef PSM_FORK_H
#define PSM_FORK_H

#include "view.h"

/** See to it that forks are noticed from now on. */
void psm_fork_watch(void);

/** The three inherit calls; PSM_OK or a PSM_E_ code with the error set. */
int psm_inherit_prepare(PSMHandle handle);
int psm_inherit_execute(PSMHandle handle);
int psm_inherit_cancel(PSMHandle handle);

#endif
