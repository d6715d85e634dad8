/* What the files of this folder share. */
#ifndef PSM_WIN32_H
#define PSM_WIN32_H

#include "../os.h"

enum { WIDE_MAX = OS_PATH_MAX };

#ifndef ERROR_DISK_QUOTA_EXCEEDED
#define ERROR_DISK_QUOTA_EXCEEDED 1295L
#endif

/** Set the thread's error from the system's last error.
 *
 *  Returns  its PSM_E_ code.
 */
int psm_win_fail(const char *doing, const char *path);

/** A path of ours as the system takes it: wide, absolute, of any length.
 *
 *  Returns  false if it is no UTF-8 or too long for `wide`, of WIDE_MAX.
 */
bool psm_win_path(const char *path, wchar_t *wide);

/** A name that the system gave, as a path of ours, of OS_PATH_MAX bytes. */
bool psm_win_unpath(const wchar_t *wide, char *path);

/** Which file a handle is of. Quiet. */
bool psm_win_identify(HANDLE file, struct os_identity *identity);

/** Once more, after something that passes by itself, such as another program's
 *  look at the file: sleeps a little longer each time.
 *
 *  Returns  false after about two seconds in all.
 */
bool psm_win_again(int *tries);

#endif
