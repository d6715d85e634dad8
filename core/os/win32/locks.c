/* Kernel locks on single bytes of a file.
 *
 * A lock belongs to the open file and goes when its last handle is closed, at
 * the latest with the process. Windows keeps others from reading and writing
 * a locked byte, so all of them lie beyond any data. It cannot be asked who
 * holds a lock: who wants to know must try to take it. A try that shares does
 * not disturb others who ask, and who wants the byte for itself tells askers
 * from holders by a try of the same kind.
 */
#include "win32.h"

#define BYTE_FILE (UINT64_C(1) << 62 | UINT64_C(1) << 32) /* that os_file_lock takes */

enum { ASKERS_TRIES = 10000 };

static bool lock_take(os_file file, uint64_t byte, uint64_t count, DWORD how) {
  OVERLAPPED at = {0};
  at.Offset = (DWORD)byte;
  at.OffsetHigh = (DWORD)(byte >> 32);
  return LockFileEx(file, how, 0, (DWORD)count, (DWORD)(count >> 32), &at) != 0;
}

static bool lock_drop(os_file file, uint64_t byte, uint64_t count) {
  OVERLAPPED at = {0};
  at.Offset = (DWORD)byte;
  at.OffsetHigh = (DWORD)(byte >> 32);
  return UnlockFileEx(file, 0, (DWORD)count, (DWORD)(count >> 32), &at) != 0;
}

static bool lock_try(os_file file, uint64_t byte, uint64_t count, DWORD how) {
  return lock_take(file, byte, count, how | LOCKFILE_FAIL_IMMEDIATELY);
}

/* Others who ask have the byte for the time of two calls. */
static int try_among_askers(os_file file, uint64_t byte) {
  for (int tries = 0; tries < ASKERS_TRIES; tries++) {
    if (lock_try(file, byte, 1, LOCKFILE_EXCLUSIVE_LOCK)) return PSM_OK;
    if (GetLastError() != ERROR_LOCK_VIOLATION)
      return psm_win_fail("lock a byte of", "the segment's file");
    if (!lock_try(file, byte, 1, 0)) return PSM_E_STATE;
    (void)lock_drop(file, byte, 1);
    (void)SwitchToThread();
  }
  return PSM_E_STATE;
}

int os_byte_lock(os_file file, uint64_t byte, int how) {
  DWORD kind = (how & OS_SHARED) != 0 ? 0 : LOCKFILE_EXCLUSIVE_LOCK;
  if ((how & OS_WAIT) == 0 && kind != 0) return try_among_askers(file, byte);
  if ((how & OS_WAIT) == 0) return lock_try(file, byte, 1, kind) ? PSM_OK : PSM_E_STATE;
  if (lock_take(file, byte, 1, kind)) return PSM_OK;
  return psm_win_fail("lock a byte of", "the segment's file");
}

void os_byte_unlock(os_file file, uint64_t byte) { (void)lock_drop(file, byte, 1); }

int os_file_lock(os_file file) {
  if (lock_take(file, BYTE_FILE, 1, LOCKFILE_EXCLUSIVE_LOCK)) return PSM_OK;
  return psm_win_fail("lock", "the segment's file");
}

void os_file_unlock(os_file file) { (void)lock_drop(file, BYTE_FILE, 1); }

/* A share of our own would hide whether others have one: it is given up for the
 * question, which nobody sees who has not os_file_lock. */
bool os_byte_held(os_file file, uint64_t byte, uint64_t count, int kind) {
  DWORD how = (kind & OS_SHARED) != 0 ? LOCKFILE_EXCLUSIVE_LOCK : 0;
  bool shared = how != 0 && lock_drop(file, byte, count);
  bool held = !lock_try(file, byte, count, how);
  if (!held) (void)lock_drop(file, byte, count);
  if (shared) (void)lock_take(file, byte, count, 0);
  return held;
}
