/* Names: from UTF-8 to what the system takes and back, errors in words, the
 * folder of `shm:` names.
 *
 * Paths of ours look as users write them (C:\folder\file, \\server\share\file);
 * the system gets them with the prefix that lifts its limit of 260 characters.
 */
#include <stdio.h>
#include <string.h>

#include "win32.h"

static const wchar_t *const verbatim = L"\\\\?\\";
static const wchar_t *const verbatim_share = L"\\\\?\\UNC\\";

static size_t wide_length(const wchar_t *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

static bool wide_begins(const wchar_t *text, const wchar_t *with) {
  for (; *with != 0; text++, with++)
    if (*text != *with) return false;
  return true;
}

static bool to_wide(const char *text, wchar_t *wide, size_t count) {
  return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, (int)count) > 0;
}

static bool to_utf8(const wchar_t *wide, char *text, size_t count) {
  return WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, (int)count, NULL, NULL) > 0;
}

bool psm_win_path(const char *path, wchar_t *wide) {
  bool share = path[0] == '\\' && path[1] == '\\';
  const wchar_t *prefix = share ? verbatim_share : verbatim;
  size_t length = wide_length(prefix);
  if (share && (path[2] == '?' || path[2] == '.')) return to_wide(path, wide, WIDE_MAX);
  memcpy(wide, prefix, length * sizeof *wide);
  return to_wide(share ? path + 2 : path, wide + length, WIDE_MAX - length);
}

bool psm_win_unpath(const wchar_t *wide, char *path) {
  if (wide_begins(wide, verbatim_share)) {
    path[0] = '\\';
    return to_utf8(wide + wide_length(verbatim_share) - 1, path + 1, OS_PATH_MAX - 1);
  }
  if (wide_begins(wide, verbatim) || wide_begins(wide, L"\\??\\")) wide += 4;
  return to_utf8(wide, path, OS_PATH_MAX);
}

/* ---- Errors ---- */

static int code_of(DWORD error) {
  switch (error) {
    case ERROR_ACCESS_DENIED:
    case ERROR_WRITE_PROTECT:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_PRIVILEGE_NOT_HELD:
      return PSM_E_ACCESS;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_DISK_QUOTA_EXCEEDED:
      return PSM_E_NOSPACE;
    case ERROR_FILE_TOO_LARGE:
      return PSM_E_SIZE;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_FILENAME_EXCED_RANGE:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_DIRECTORY:
    case ERROR_CANT_RESOLVE_FILENAME:
      return PSM_E_NAME;
    default:
      return PSM_E_SYSTEM;
  }
}

int psm_win_fail(const char *doing, const char *path) {
  DWORD error = GetLastError();
  wchar_t wide[160];
  char text[320];
  DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                                error, 0, wide, sizeof wide / sizeof *wide, NULL);
  while (length > 0 && (wide[length - 1] <= L' ' || wide[length - 1] == L'.')) length--;
  if (length < sizeof wide / sizeof *wide) wide[length] = 0;
  if (length == 0 || !to_utf8(wide, text, sizeof text)) (void)snprintf(text, sizeof text, "error");
  return psm_fail(code_of(error), "cannot %s '%.150s': %.100s (%lu)", doing, path, text,
                  (unsigned long)error);
}

/* ---- Folders ---- */

static char shared_folder[OS_PATH_MAX];
static os_once shared_folder_once = OS_ONCE_INIT;

/* The temporary folder is a user's own, and under Remote Desktop a session's. */
static void shared_folder_find(void) {
  static const char inner[] = "psm\\.";
  wchar_t wide[MAX_PATH + 8];
  DWORD length = GetTempPathW(MAX_PATH + 1, wide);
  if (length == 0 || length > MAX_PATH) return;
  if (!to_utf8(wide, shared_folder, sizeof shared_folder - sizeof inner)) return;
  size_t end = strlen(shared_folder);
  memcpy(shared_folder + end, inner, sizeof inner);
}

const char *os_shared_folder(void) {
  os_run_once(&shared_folder_once, shared_folder_find);
  return shared_folder;
}

static int shared_path(const char *name, char *path) {
  wchar_t wide[WIDE_MAX];
  if (*name == '\0' || strpbrk(name, "/\\:") != NULL || strcmp(name, ".") == 0 ||
      strcmp(name, "..") == 0)
    return psm_fail(PSM_E_NAME, "'shm:%.200s': after shm: stands a name without slashes", name);
  size_t length = strlen(os_shared_folder());
  if (length < 2) return psm_fail(PSM_E_SYSTEM, "the system names no temporary folder");
  if (length + strlen(name) >= OS_PATH_MAX)
    return psm_fail(PSM_E_NAME, "the name is longer than a path may be");
  memcpy(path, shared_folder, length - 2);
  path[length - 2] = '\0';
  if (psm_win_path(path, wide)) (void)CreateDirectoryW(wide, NULL);
  (void)snprintf(path + length - 2, OS_PATH_MAX - length + 2, "\\%s", name);
  return PSM_OK;
}

/* ---- From a name to a path ---- */

/* Where a file or folder lies, free of links; false with the system's error if
 * there is none. Some drivers, and wine for long paths, cannot say it: then it
 * lies where the path leads. */
static bool final_path(const wchar_t *wide, wchar_t *final) {
  HANDLE file = CreateFileW(wide, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                            OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
  if (file == INVALID_HANDLE_VALUE) return false;
  DWORD length = GetFinalPathNameByHandleW(file, final, WIDE_MAX, 0);
  (void)CloseHandle(file);
  if (length == 0 || length >= WIDE_MAX)
    memcpy(final, wide, (wide_length(wide) + 1) * sizeof *wide);
  return true;
}

static int fail_long(const char *name) {
  return psm_fail(PSM_E_NAME, "the path of '%.150s' is longer than %d bytes", name,
                  OS_PATH_MAX - 1);
}

struct resolving {
  wchar_t name[WIDE_MAX], full[WIDE_MAX], wide[WIDE_MAX], final[WIDE_MAX];
  char path[OS_PATH_MAX];
};

static int resolve_new(struct resolving *r, const char *name, const wchar_t *file, char *path) {
  DWORD attributes = GetFileAttributesW(r->wide);
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0)
    return psm_fail(PSM_E_NAME, "'%.200s' is a symbolic link that leads nowhere", name);
  size_t folder = wide_length(r->wide) - wide_length(file);
  r->wide[folder] = 0;
  if (!final_path(r->wide, r->final)) return psm_win_fail("find the folder of", name);
  size_t length = wide_length(r->final);
  if (length + wide_length(file) + 2 > WIDE_MAX) return fail_long(name);
  if (r->final[length - 1] != L'\\') r->final[length++] = L'\\';
  memcpy(r->final + length, file, (wide_length(file) + 1) * sizeof *file);
  return psm_win_unpath(r->final, path) ? PSM_OK : fail_long(name);
}

static int resolve_in(struct resolving *r, const char *name, char *path) {
  wchar_t *file = NULL;
  if (!to_wide(name, r->name, WIDE_MAX))
    return psm_fail(PSM_E_NAME, "the name is no UTF-8, or longer than %d bytes", OS_PATH_MAX - 1);
  DWORD length = GetFullPathNameW(r->name, WIDE_MAX, r->full, &file);
  if (length == 0) return psm_win_fail("use the name", name);
  if (length >= WIDE_MAX || !to_utf8(r->full, r->path, sizeof r->path)) return fail_long(name);
  if (wide_begins(r->full, L"\\\\.\\"))
    return psm_fail(PSM_E_FILETYPE, "'%.200s' is a device or pipe, not a plain file", name);
  if (file == NULL || *file == 0)
    return psm_fail(PSM_E_NAME, "'%.200s' ends in a slash: name a file in it", name);
  for (const wchar_t *at = file; *at != 0; at++)
    if (*at == L':')
      return psm_fail(PSM_E_NAME, "'%.200s': the name of a file has no colon in it", name);
  if (!psm_win_path(r->path, r->wide)) return fail_long(name);
  if (final_path(r->wide, r->final))
    return psm_win_unpath(r->final, path) ? PSM_OK : fail_long(name);
  if (GetLastError() == ERROR_FILE_NOT_FOUND) return resolve_new(r, name, file, path);
  return psm_win_fail("use the name", name);
}

int os_path_resolve(const char *name, char *path) {
  char full[OS_PATH_MAX];
  if (*name == '\0') return psm_fail(PSM_E_NAME, "the name is empty: give a path or shm:NAME");
  if (strlen(name) >= sizeof full)
    return psm_fail(PSM_E_NAME, "the name is longer than %zu bytes", sizeof full - 1);
  if (strncmp(name, "shm:", 4) == 0) {
    int result = shared_path(name + 4, full);
    if (result != PSM_OK) return result;
    name = full;
  }
  struct resolving *r = HeapAlloc(GetProcessHeap(), 0, sizeof *r);
  if (r == NULL) return psm_fail(PSM_E_SYSTEM, "this process has no memory left");
  int result = resolve_in(r, name, path);
  (void)HeapFree(GetProcessHeap(), 0, r);
  return result;
}
