/* Files.
 *
 * A segment's file is sparse: its size is only that of the address range, and
 * os_file_commit makes room for the bytes that are used. Windows does not
 * remove, and does not shorten, a file that anybody has mapped; the mappings of
 * a process that was killed may outlive its locks by a moment.
 */
#include <sddl.h>
#include <stdio.h>
#include <string.h>
#include <winioctl.h>

#include "win32.h"

#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

bool psm_win_again(int *tries) {
  enum { TRIES = 36, LONGEST = 6 };
  if (*tries >= TRIES) return false;
  Sleep(1u << (*tries < LONGEST ? *tries : LONGEST));
  ++*tries;
  return true;
}

/* ---- Opening ---- */

/* Who may use a new file: its owner, the system and administrators, as is usual,
 * and everybody as far as `mode` lets others. A group has no counterpart. */
static PSECURITY_DESCRIPTOR security_of(uint32_t mode) {
  union {
    TOKEN_USER user;
    char bytes[256];
  } token;
  HANDLE handle;
  DWORD size;
  wchar_t *owner = NULL, text[400];
  PSECURITY_DESCRIPTOR security = NULL;
  if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &handle)) return NULL;
  bool known = GetTokenInformation(handle, TokenUser, &token, sizeof token, &size) &&
               ConvertSidToStringSidW(token.user.User.Sid, &owner);
  (void)CloseHandle(handle);
  if (!known) return NULL;
  const wchar_t *others = (mode & 02) != 0   ? L"(A;;FRFWSD;;;WD)"
                          : (mode & 04) != 0 ? L"(A;;FR;;;WD)"
                                             : L"";
  (void)_snwprintf(text, sizeof text / sizeof *text, L"D:P(A;;FA;;;%ls)(A;;FA;;;SY)(A;;FA;;;BA)%ls",
                   owner, others);
  text[sizeof text / sizeof *text - 1] = 0;
  (void)LocalFree(owner);
  if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(text, SDDL_REVISION_1, &security, NULL))
    return NULL;
  return security;
}

static HANDLE file_create(const wchar_t *wide, DWORD access, DWORD attributes, uint32_t mode) {
  SECURITY_ATTRIBUTES security = {sizeof security, security_of(mode), FALSE};
  if (security.lpSecurityDescriptor == NULL) return INVALID_HANDLE_VALUE;
  HANDLE file = CreateFileW(wide, access, SHARE_ALL, &security, CREATE_NEW, attributes, NULL);
  DWORD error = GetLastError();
  (void)LocalFree(security.lpSecurityDescriptor);
  SetLastError(error);
  return file;
}

/* Bytes of a temporary file are written to the disk only if memory runs short. */
static DWORD attributes_of(const char *path) {
  const char *folder = os_shared_folder();
  size_t length = strlen(folder);
  bool shared = length > 1 && strncmp(path, folder, length - 1) == 0;
  return shared ? FILE_ATTRIBUTE_TEMPORARY : FILE_ATTRIBUTE_NORMAL;
}

static HANDLE open_or_create(const char *path, int how, uint32_t mode, bool *created) {
  wchar_t wide[WIDE_MAX];
  DWORD access = GENERIC_READ | ((how & OS_WRITE) != 0 ? GENERIC_WRITE : 0);
  SetLastError(ERROR_INVALID_NAME);
  if (!psm_win_path(path, wide)) return INVALID_HANDLE_VALUE;
  for (int tries = 0;;) {
    HANDLE file = CreateFileW(wide, access, SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE && GetLastError() == ERROR_FILE_NOT_FOUND &&
        (how & OS_CREATE) != 0) {
      file = file_create(wide, access, attributes_of(path), mode);
      *created = file != INVALID_HANDLE_VALUE;
      if (!*created && GetLastError() == ERROR_FILE_EXISTS && psm_win_again(&tries)) continue;
    }
    bool passes = file == INVALID_HANDLE_VALUE && GetLastError() == ERROR_SHARING_VIOLATION;
    if (!passes || !psm_win_again(&tries)) return file;
  }
}

static bool is_folder(const char *path) {
  wchar_t wide[WIDE_MAX];
  DWORD error = GetLastError();
  DWORD attributes = psm_win_path(path, wide) ? GetFileAttributesW(wide) : 0;
  SetLastError(error);
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

int os_file_open(const char *path, int how, uint32_t mode, os_file *file, bool *created) {
  *created = false;
  *file = open_or_create(path, how, mode, created);
  if (*file == INVALID_HANDLE_VALUE && GetLastError() == ERROR_FILE_NOT_FOUND &&
      (how & OS_CREATE) == 0)
    return PSM_E_NOT_FOUND;
  if (*file == INVALID_HANDLE_VALUE && !is_folder(path)) return psm_win_fail("open", path);
  if (*file != INVALID_HANDLE_VALUE && GetFileType(*file) == FILE_TYPE_DISK) return PSM_OK;
  if (*file != INVALID_HANDLE_VALUE) (void)CloseHandle(*file);
  *file = OS_NO_FILE;
  return psm_fail(PSM_E_FILETYPE, "'%.200s' is a directory, pipe or device, not a plain file",
                  path);
}

int os_file_reopen(os_file file, const char *path, const struct os_identity *identity, int how,
                   os_file *copy) {
  DWORD access = GENERIC_READ | ((how & OS_WRITE) != 0 ? GENERIC_WRITE : 0);
  bool created = false;
  *copy = os_file_is(file, identity) ? ReOpenFile(file, access, SHARE_ALL, 0) : OS_NO_FILE;
  if (*copy == OS_NO_FILE) *copy = open_or_create(path, how & OS_WRITE, 0, &created);
  if (*copy == OS_NO_FILE) return psm_win_fail("open again", path);
  if (os_file_is(*copy, identity)) return PSM_OK;
  (void)CloseHandle(*copy);
  *copy = OS_NO_FILE;
  return psm_fail(PSM_E_NOT_FOUND, "'%.200s' was replaced by another file", path);
}

void os_file_close(os_file file) { (void)CloseHandle(file); }

/* ---- Which file, and what is in it ---- */

/* ReFS has numbers of 128 bits; those of NTFS come out as they are. */
bool psm_win_identify(HANDLE file, struct os_identity *identity) {
  FILE_ID_INFO id;
  BY_HANDLE_FILE_INFORMATION old;
  if (GetFileInformationByHandleEx(file, FileIdInfo, &id, sizeof id)) {
    uint64_t low, high;
    memcpy(&low, &id.FileId, 8);
    memcpy(&high, (const char *)&id.FileId + 8, 8);
    identity->device = id.VolumeSerialNumber;
    identity->number = low ^ high * UINT64_C(0x9e3779b97f4a7c15);
    return true;
  }
  if (!GetFileInformationByHandle(file, &old)) return false;
  identity->device = old.dwVolumeSerialNumber;
  identity->number = (uint64_t)old.nFileIndexHigh << 32 | old.nFileIndexLow;
  return true;
}

bool os_file_is(os_file file, const struct os_identity *identity) {
  struct os_identity found;
  return file != OS_NO_FILE && psm_win_identify(file, &found) && found.device == identity->device &&
         found.number == identity->number;
}

bool os_path_is(const char *path, const struct os_identity *identity) {
  wchar_t wide[WIDE_MAX];
  if (!psm_win_path(path, wide)) return false;
  HANDLE file = CreateFileW(wide, 0, SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
  bool same = os_file_is(file, identity);
  if (file != INVALID_HANDLE_VALUE) (void)CloseHandle(file);
  return same;
}

int os_file_inspect(os_file file, struct os_identity *identity, uint64_t *size) {
  LARGE_INTEGER bytes;
  if (!psm_win_identify(file, identity) || !GetFileSizeEx(file, &bytes))
    return psm_win_fail("inspect", "the segment's file");
  *size = (uint64_t)bytes.QuadPart;
  return PSM_OK;
}

static bool read_once(os_file file, void *bytes, size_t count, uint64_t offset, DWORD *got) {
  OVERLAPPED at = {0};
  at.Offset = (DWORD)offset;
  at.OffsetHigh = (DWORD)(offset >> 32);
  *got = 0;
  return ReadFile(file, bytes, (DWORD)(count < 1 << 20 ? count : 1 << 20), got, &at) ||
         GetLastError() == ERROR_HANDLE_EOF;
}

int os_file_read(os_file file, void *bytes, size_t count, uint64_t offset, size_t *got) {
  DWORD n;
  for (*got = 0; *got < count; *got += n) {
    if (!read_once(file, (char *)bytes + *got, count - *got, offset + *got, &n))
      return psm_win_fail("read", "the segment's file");
    if (n == 0) break;
  }
  return PSM_OK;
}

static bool write_all(os_file file, const void *bytes, size_t count, uint64_t offset) {
  DWORD n;
  for (size_t done = 0; done < count; done += n) {
    OVERLAPPED at = {0};
    at.Offset = (DWORD)(offset + done);
    at.OffsetHigh = (DWORD)((offset + done) >> 32);
    size_t part = count - done < 1 << 20 ? count - done : 1 << 20;
    if (!WriteFile(file, (const char *)bytes + done, (DWORD)part, &n, &at)) return false;
  }
  return true;
}

int os_file_write(os_file file, const void *bytes, size_t count, uint64_t offset) {
  if (write_all(file, bytes, count, offset)) return PSM_OK;
  return psm_win_fail("write", "the segment's file");
}

/* ---- Its size, and room for it ---- */

/* A compressed file would have no room for the zeros that os_file_commit writes.
 * Where there are no sparse files all room is made at once. */
static void make_sparse(os_file file) {
  USHORT none = COMPRESSION_FORMAT_NONE;
  DWORD unused;
  (void)DeviceIoControl(file, FSCTL_SET_COMPRESSION, &none, sizeof none, NULL, 0, &unused, NULL);
  (void)DeviceIoControl(file, FSCTL_SET_SPARSE, NULL, 0, NULL, 0, &unused, NULL);
}

int os_file_resize(os_file file, uint64_t size) {
  FILE_END_OF_FILE_INFO end;
  end.EndOfFile.QuadPart = (LONGLONG)size;
  if (size != 0) make_sparse(file);
  for (int tries = 0; !SetFileInformationByHandle(file, FileEndOfFileInfo, &end, sizeof end);) {
    if (GetLastError() == ERROR_USER_MAPPED_FILE && psm_win_again(&tries)) continue;
    if (GetLastError() == ERROR_USER_MAPPED_FILE)
      return psm_fail(PSM_E_ACCESS, "a process that is no member has the segment's file mapped");
    if (GetLastError() == ERROR_INVALID_PARAMETER)
      return psm_fail(PSM_E_SIZE, "the file system cannot hold a file of %llu bytes",
                      (unsigned long long)size);
    return psm_win_fail("set the size of", "the segment's file");
  }
  return PSM_OK;
}

/* The file system makes room for what is written, were it zeros. */
int os_file_commit(os_file file, uint64_t offset, uint64_t count) {
  char bytes[16384];
  while (count > 0) {
    size_t part = count < sizeof bytes ? (size_t)count : sizeof bytes;
    DWORD got;
    if (!read_once(file, bytes, part, offset, &got)) return PSM_E_SYSTEM;
    memset(bytes + got, 0, part - got);
    if (!write_all(file, bytes, part, offset)) {
      DWORD error = GetLastError();
      bool full = error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL ||
                  error == ERROR_DISK_QUOTA_EXCEEDED;
      return full ? PSM_E_NOSPACE : PSM_E_SYSTEM;
    }
    offset += part;
    count -= part;
  }
  return PSM_OK;
}

/* Refused by file systems without sparse files, and by some for what is mapped:
 * the memory stays then. */
int os_file_punch(os_file file, uint64_t offset, uint64_t count) {
  FILE_ZERO_DATA_INFORMATION range;
  DWORD unused;
  range.FileOffset.QuadPart = (LONGLONG)offset;
  range.BeyondFinalZero.QuadPart = (LONGLONG)(offset + count);
  return DeviceIoControl(file, FSCTL_SET_ZERO_DATA, &range, sizeof range, NULL, 0, &unused, NULL)
             ? PSM_OK
             : PSM_E_SYSTEM;
}

/* ---- Removal ---- */

/* Gone at once, though others have it open: they find the name free. */
static bool remove_at_once(HANDLE file) {
  enum { DISPOSITION_EX = 21, DELETE_IT = 1, POSIX_WAY = 2, EVEN_READONLY = 0x10 };
  struct {
    DWORD flags;
  } disposition = {DELETE_IT | POSIX_WAY | EVEN_READONLY};
  return SetFileInformationByHandle(file, (FILE_INFO_BY_HANDLE_CLASS)DISPOSITION_EX, &disposition,
                                    sizeof disposition) != 0;
}

static bool rename_to(HANDLE file, const wchar_t *wide) {
  union {
    FILE_RENAME_INFO info;
    char bytes[sizeof(FILE_RENAME_INFO) + WIDE_MAX * sizeof(wchar_t)];
  } rename;
  size_t length = 0;
  while (wide[length] != 0) length++;
  memset(&rename.info, 0, sizeof rename.info);
  rename.info.FileNameLength = (DWORD)(length * sizeof *wide);
  memcpy(rename.info.FileName, wide, (length + 1) * sizeof *wide);
  return SetFileInformationByHandle(file, FileRenameInfo, &rename,
                                    (DWORD)(sizeof(FILE_RENAME_INFO) + length * sizeof *wide)) != 0;
}

/* Before Windows 10 1709, and in wine: the name stays until the last handle is
 * closed, so it is another one by then. */
static bool remove_by_and_by(HANDLE file, const char *path, const wchar_t *wide) {
  FILE_DISPOSITION_INFO disposition = {TRUE};
  char text[OS_PATH_MAX + 40];
  wchar_t gone[WIDE_MAX];
  (void)snprintf(text, sizeof text, "%s.%lu-%llx.gone", path, (unsigned long)GetCurrentProcessId(),
                 (unsigned long long)GetTickCount64());
  bool renamed = psm_win_path(text, gone) && rename_to(file, gone);
  if (SetFileInformationByHandle(file, FileDispositionInfo, &disposition, sizeof disposition))
    return true;
  DWORD error = GetLastError();
  if (renamed) (void)rename_to(file, wide);
  SetLastError(error);
  return false;
}

void os_file_remove(const char *path) {
  wchar_t wide[WIDE_MAX];
  if (!psm_win_path(path, wide)) return;
  HANDLE file =
      CreateFileW(wide, DELETE, SHARE_ALL, NULL, OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, NULL);
  if (file == INVALID_HANDLE_VALUE) return;
  for (int tries = 0; !remove_at_once(file);) {
    bool mapped = GetLastError() == ERROR_ACCESS_DENIED;
    if (!mapped && remove_by_and_by(file, path, wide)) break;
    if (!mapped) mapped = GetLastError() == ERROR_ACCESS_DENIED;
    if (!mapped || !psm_win_again(&tries)) break;
  }
  (void)CloseHandle(file);
}

/* ---- Neighbours ---- */

static bool sibling_read(const wchar_t *folder, const WIN32_FIND_DATAW *found, void *bytes,
                         size_t count, DWORD *got) {
  wchar_t wide[WIDE_MAX];
  uint64_t size = (uint64_t)found->nFileSizeHigh << 32 | found->nFileSizeLow;
  if ((found->dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) != 0)
    return false;
  if (size < count) return false;
  if (_snwprintf(wide, WIDE_MAX, L"%ls%ls", folder, found->cFileName) < 0) return false;
  wide[WIDE_MAX - 1] = 0;
  HANDLE file = CreateFileW(wide, GENERIC_READ, SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
  if (file == INVALID_HANDLE_VALUE) return false;
  bool read = read_once(file, bytes, count, 0, got) && *got > 0;
  (void)CloseHandle(file);
  return read;
}

void os_siblings_read(const char *path, void *bytes, size_t count,
                      bool (*visit)(void *context, size_t got), void *context) {
  WIN32_FIND_DATAW found;
  wchar_t folder[WIDE_MAX];
  size_t end = 0;
  if (!psm_win_path(path, folder)) return;
  for (size_t i = 0; folder[i] != 0; i++)
    if (folder[i] == L'\\') end = i + 1;
  if (end == 0 || end + 1 >= WIDE_MAX) return;
  folder[end] = L'*';
  folder[end + 1] = 0;
  HANDLE search = FindFirstFileW(folder, &found);
  if (search == INVALID_HANDLE_VALUE) return;
  folder[end] = 0;
  bool more = true;
  for (int seen = 0; more && seen < 4096; seen++) {
    DWORD got;
    if (sibling_read(folder, &found, bytes, count, &got)) more = visit(context, got);
    more = more && FindNextFileW(search, &found);
  }
  (void)FindClose(search);
}
