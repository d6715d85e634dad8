/* The harness on Windows: processes from the command line, named semaphores, jobs. Included by
 * harness.h only. */
#ifndef PSM_TEST_HARNESS_WIN32_H
#define PSM_TEST_HARNESS_WIN32_H

#define WIN32_LEAN_AND_MEAN
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#include <windows.h>

#include <direct.h>
#include <io.h>
#include <winioctl.h>

#ifndef SIGKILL
#define SIGKILL 9
#endif

__attribute__((noreturn)) static inline void h_quit(int status) {
  fflush(NULL);
  TerminateProcess(GetCurrentProcess(), (UINT)status); /* no library hears of it */
  abort();
}

/* As if killed from outside. */
__attribute__((noreturn)) static inline void h_die(void) { h_quit(1000 + SIGKILL); }

#define pause() Sleep(INFINITE)

#define H_HAS_FORK 0
#define H_START_US 60000 /* a process takes about so long to begin */

/* ---- Time ----------------------------------------------------------------------- */

static inline double h_now(void) {
  LARGE_INTEGER ticks, each;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&each);
  return (double)ticks.QuadPart / (double)each.QuadPart;
}

static inline void h_sleep_us(unsigned us) {
  if (us >= 1000) Sleep(us / 1000);
  for (double end = h_now() + us % 1000 / 1e6; h_now() < end;) SwitchToThread();
}

/* ---- Memory --------------------------------------------------------------------- */

static inline size_t h_page_size(void) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

/* What the addresses of mappings are multiples of. */
static inline size_t h_granule(void) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwAllocationGranularity;
}

/* ---- Files ---------------------------------------------------------------------- */

static inline wchar_t *h_wide(const char *text) {
  int count = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
  wchar_t *wide = (wchar_t *)(void *)h_text("%*s", count * (int)sizeof *wide, "");
  CHECK(count > 0 && MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, count) == count);
  return wide;
}

static inline const char *h_temp(void) {
  static char path[MAX_PATH + 1];
  if (*path == 0) CHECK(GetTempPathA(sizeof path, path) > 0);
  return path;
}
static inline const char *h_shm_folder(void) {
  static char path[MAX_PATH + 8];
  snprintf(path, sizeof path, "%spsm\\", h_temp());
  return path;
}

static inline bool h_exists(const char *path) {
  return GetFileAttributesW(h_wide(path)) != INVALID_FILE_ATTRIBUTES;
}

static inline HANDLE h_file_open(const char *path) {
  HANDLE file = CreateFileW(h_wide(path), GENERIC_READ | GENERIC_WRITE,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                            OPEN_EXISTING, 0, NULL);
  CHECK(file != INVALID_HANDLE_VALUE);
  return file;
}
static inline void h_truncate(const char *path, size_t size) {
  HANDLE file = h_file_open(path);
  LARGE_INTEGER at;
  at.QuadPart = (LONGLONG)size;
  CHECK(SetFilePointerEx(file, at, NULL, FILE_BEGIN) && SetEndOfFile(file));
  CloseHandle(file);
}
static inline size_t h_file_size(const char *path) {
  HANDLE file = h_file_open(path);
  LARGE_INTEGER size;
  CHECK(GetFileSizeEx(file, &size));
  CloseHandle(file);
  return (size_t)size.QuadPart;
}
/* In units of 512 bytes. */
static inline long long h_blocks_of(const char *path) {
  DWORD high = 0, low = GetCompressedFileSizeW(h_wide(path), &high);
  CHECK(low != INVALID_FILE_SIZE || GetLastError() == NO_ERROR);
  return (long long)(((uint64_t)high << 32 | low) / 512);
}

/* Can memory be taken out of a file there that is mapped? */
static inline bool h_can_punch(const char *path) {
  HANDLE file =
      CreateFileW(h_wide(path), GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
  FILE_ZERO_DATA_INFORMATION range;
  DWORD unused;
  CHECK(file != INVALID_HANDLE_VALUE);
  CHECK(DeviceIoControl(file, FSCTL_SET_SPARSE, NULL, 0, NULL, 0, &unused, NULL));
  HANDLE section = CreateFileMappingW(file, NULL, PAGE_READWRITE, 0, 1 << 20, NULL);
  void *view = section ? MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 0) : NULL;
  CHECK(view != NULL);
  range.FileOffset.QuadPart = 0;
  range.BeyondFinalZero.QuadPart = 1 << 20;
  bool can =
      DeviceIoControl(file, FSCTL_SET_ZERO_DATA, &range, sizeof range, NULL, 0, &unused, NULL);
  UnmapViewOfFile(view);
  CloseHandle(section);
  CloseHandle(file);
  return can;
}
static inline bool h_link(const char *from, const char *to) {
  return CreateHardLinkW(h_wide(to), h_wide(from), NULL);
}
static inline bool h_mkdir(const char *path) { return CreateDirectoryW(h_wide(path), NULL); }

/* ---- Gates ---------------------------------------------------------------------- */

/* A gate between processes: each pass takes what one open gave, in whatever order. */
typedef struct h_gate {
  HANDLE semaphore;
  char *name;
} h_gate;

static inline h_gate h_gate_from(const char *text) {
  h_gate gate;
  gate.name = h_text("%s", text);
  gate.semaphore = CreateSemaphoreW(NULL, 0, 1 << 20, h_wide(text));
  CHECK(gate.semaphore != NULL);
  return gate;
}
static inline h_gate h_gate_new(void) {
  static LONG count;
  return h_gate_from(
      h_text("Local\\%s%d-%ld", h_prefix, (int)getpid(), (long)InterlockedIncrement(&count)));
}
static inline char *h_gate_text(h_gate gate) { return gate.name; }
static inline void h_gate_open(h_gate gate) { CHECK(ReleaseSemaphore(gate.semaphore, 1, NULL)); }
static inline void h_gate_pass(h_gate gate) {
  CHECK_EQ(WaitForSingleObject(gate.semaphore, 40000), WAIT_OBJECT_0);
}
static inline void h_gate_close(h_gate gate) { CloseHandle(gate.semaphore); }

/* ---- Processes ------------------------------------------------------------------ */

static inline pid_t h_fork(void) {
  SKIP("Windows has no fork");
  return -1;
}

/* Children are known by their process id; the handle keeps it from being used again. */
static struct h_process {
  pid_t pid;
  HANDLE handle;
} h_processes[2048];

static inline HANDLE h_process(pid_t pid) {
  for (size_t i = 0; i < sizeof h_processes / sizeof *h_processes; i++)
    if (h_processes[i].pid == pid && h_processes[i].handle) return h_processes[i].handle;
  FAIL("%d is no child of ours", (int)pid);
}

static inline void h_process_keep(pid_t pid, HANDLE handle) {
  size_t i = 0;
  while (i < sizeof h_processes / sizeof *h_processes && h_processes[i].handle) i++;
  CHECK(i < sizeof h_processes / sizeof *h_processes);
  h_processes[i].pid = pid;
  h_processes[i].handle = handle;
}

static inline void h_process_forget(pid_t pid) {
  for (size_t i = 0; i < sizeof h_processes / sizeof *h_processes; i++) {
    if (h_processes[i].pid != pid || !h_processes[i].handle) continue;
    CloseHandle(h_processes[i].handle);
    h_processes[i].handle = NULL;
  }
}

/* Start this program once more; no argument holds a quotation mark. */
static inline pid_t h_start(char *const *argv, HANDLE job) {
  wchar_t self[MAX_PATH];
  char *line = h_text("psm-test");
  CHECK(GetModuleFileNameW(NULL, self, MAX_PATH) > 0);
  for (; *argv; argv++) line = h_text("%s \"%s\"", line, *argv);
  STARTUPINFOW startup;
  PROCESS_INFORMATION process;
  memset(&startup, 0, sizeof startup);
  startup.cb = sizeof startup;
  fflush(NULL);
  /* Wine may fail by itself when all is busy, and says so. */
  for (int tries = 0; !CreateProcessW(self, h_wide(line), NULL, NULL, TRUE, CREATE_SUSPENDED, NULL,
                                      NULL, &startup, &process);
       tries++) {
    if (GetLastError() != ERROR_INTERNAL_ERROR || tries == 10)
      FAIL("no process: error %lu", (unsigned long)GetLastError());
    Sleep(100);
  }
  if (job) CHECK(AssignProcessToJobObject(job, process.hProcess));
  h_process_keep((pid_t)process.dwProcessId, process.hProcess);
  ResumeThread(process.hThread);
  CloseHandle(process.hThread);
  return (pid_t)process.dwProcessId;
}

enum { H_ARGUMENTS = 16 };
static inline pid_t h_spawn_list(const char *name, char *first, char *second, va_list args) {
  char *argv[H_ARGUMENTS] = {h_text("--child"),  h_prefix, h_directory,
                             h_text("%s", name), first,    second};
  int argc = first ? 6 : 4;
  while (argc < H_ARGUMENTS - 1 && (argv[argc] = va_arg(args, char *)) != NULL) argc++;
  argv[argc] = NULL;
  return h_start(argv, NULL);
}

/* Start EXEC_CHILD(name) of this executable anew, with arguments up to NULL. */
static inline pid_t h_spawn(const char *name, ...) {
  va_list args;
  va_start(args, name);
  pid_t pid = h_spawn_list(name, NULL, NULL, args);
  va_end(args);
  return pid;
}

/* By which name a segment was opened. */
static struct h_named {
  PSMHandle handle;
  char *name;
} h_named[64];
static inline void h_remember(PSMHandle handle, const char *name) {
  size_t i = 0;
  while (i < 63 && h_named[i].handle && h_named[i].handle != handle) i++;
  h_named[i].handle = handle;
  h_named[i].name = h_text("%s", name);
}

/* Start MEMBER(name) in the segment, with arguments up to NULL. It has joined when this returns. */
static inline pid_t h_member(PSMHandle handle, const char *name, ...) {
  h_gate joined = h_gate_new();
  size_t i = 0;
  while (i < 63 && h_named[i].handle != handle) i++;
  CHECK(h_named[i].handle == handle);
  va_list args;
  va_start(args, name);
  pid_t pid = h_spawn_list(name, h_named[i].name, h_gate_text(joined), args);
  va_end(args);
  HANDLE either[] = {joined.semaphore, h_process(pid)};
  CHECK(WaitForMultipleObjects(2, either, FALSE, 40000) < 2);
  h_gate_close(joined);
  return pid;
}

/* How a child ended: its exit status, or 1000 + SIGKILL. -1: not within `seconds`. */
static inline int h_wait_within(pid_t pid, double seconds) {
  DWORD status = 0;
  if (WaitForSingleObject(h_process(pid), (DWORD)(seconds * 1000)) == WAIT_TIMEOUT) return -1;
  CHECK(GetExitCodeProcess(h_process(pid), &status));
  h_process_forget(pid);
  return (int)status;
}

static inline int h_wait(pid_t pid) {
  int result = h_wait_within(pid, 40);
  if (result == -1) {
    TerminateProcess(h_process(pid), 1000 + SIGKILL);
    FAIL("child %d hangs", (int)pid);
  }
  return result;
}

static inline void h_kill(pid_t pid) {
  CHECK(TerminateProcess(h_process(pid), 1000 + SIGKILL));
  CHECK_EQ(h_wait(pid), 1000 + SIGKILL);
}

/* Does the system refuse writing there? */
static inline bool h_refuses_writing(void *address) {
  MEMORY_BASIC_INFORMATION region;
  CHECK(VirtualQuery(address, &region, sizeof region) != 0);
  return region.Protect == PAGE_READONLY;
}

/* A stopped process is alive and does nothing. */
static inline void h_suspend(pid_t pid, const char *call) {
  union {
    FARPROC any;
    LONG(WINAPI *function)(HANDLE);
  } found;
  found.any = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), call);
  CHECK(found.any != NULL && found.function(h_process(pid)) == 0);
}
static inline void h_stop(pid_t pid) { h_suspend(pid, "NtSuspendProcess"); }
static inline void h_continue(pid_t pid) { h_suspend(pid, "NtResumeProcess"); }

/* ---- The supervisor ----------------------------------------------------------------- */

static HANDLE h_job;

static inline void h_remove_matching(const char *folder, const char *prefix, bool trees);

static inline void h_remove_tree(const char *path) {
  h_remove_matching(h_text("%s\\", path), "", true);
  RemoveDirectoryW(h_wide(path));
}

/* What a killed process had mapped may be gone a moment later. */
static inline void h_remove_file(const char *path) {
  for (int tries = 0; !DeleteFileW(h_wide(path)) && tries < 100 && h_exists(path); tries++)
    Sleep(10);
}

static inline void h_remove_matching(const char *folder, const char *prefix, bool trees) {
  WIN32_FIND_DATAA found;
  HANDLE search = FindFirstFileA(h_text("%s%s*", folder, prefix), &found);
  if (search == INVALID_HANDLE_VALUE) return;
  do {
    if (!strcmp(found.cFileName, ".") || !strcmp(found.cFileName, "..")) continue;
    char *path = h_text("%s%s", folder, found.cFileName);
    if ((found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0)
      h_remove_file(path);
    else if (trees)
      h_remove_tree(path);
  } while (FindNextFileA(search, &found));
  FindClose(search);
}

static inline void h_clean(void) {
  h_remove_matching(h_shm_folder(), h_prefix, false);
  h_remove_tree(h_directory);
}

static void h_interrupted(int signal) {
  if (h_job) TerminateJobObject(h_job, 1000 + SIGKILL);
  h_clean();
  h_quit(128 + signal);
}

static inline void h_begin(const char *name) {
  snprintf(h_prefix, sizeof h_prefix, "psm-test-%d-%.40s-", (int)getpid(), name);
  snprintf(h_directory, sizeof h_directory, "%.80spsm-test-%d-%llx", h_temp(), (int)getpid(),
           (unsigned long long)GetTickCount64()); /* process ids come again soon */
  CHECK(h_mkdir(h_directory));
}

/* The result of one case, as an exit status; also printed. */
static inline int h_run(const h_entry *entry) {
  h_begin(entry->name);
  double began = h_now();
  char *argv[] = {h_text("--case"), h_prefix, h_directory, h_text("%s", entry->name), NULL};
  h_job = CreateJobObjectW(NULL, NULL);
  CHECK(h_job != NULL);
  pid_t pid = h_start(argv, h_job);
  int result = h_wait_within(pid, h_env("PSM_TEST_TIMEOUT", 60));
  TerminateJobObject(h_job, 1000 + SIGKILL);
  CloseHandle(h_job);
  h_job = NULL;
  h_clean();
  const char *word = result == 0    ? "ok"
                     : result == 77 ? "skipped"
                     : result == -1 ? "TIMEOUT"
                                    : "FAILED";
  if (result > 1000 || result < -1)
    printf("%s (status 0x%x) ", word, (unsigned)result);
  else
    printf("%s ", word);
  printf("%s %.2fs\n", entry->name, h_now() - began);
  fflush(stdout);
  return result == 0 || result == 77 ? result : 1;
}

#endif
