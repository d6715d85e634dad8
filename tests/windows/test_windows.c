/* What only Windows has: no fork, addresses by 64 KiB, names without case, long paths, modules that
 * are unloaded, locks that can be seen only by trying to take them. */
#include "harness.h"

#ifndef PSM_SHARED_LIBRARY
#define PSM_SHARED_LIBRARY ""
#endif

/* The three calls do what they say where nobody is ever a child. */
CASE(inherit_calls_without_fork) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_SETS(PSM_E_STATE, PSMcancelInherit(handle));
  CHECK_SETS(PSM_E_STATE, CHECK(PSMexecuteInherit(handle) == NULL));
  CHECK_PTR(PSMprepareInherit(handle), handle);
  CHECK_SETS(PSM_E_STATE, CHECK(PSMexecuteInherit(handle) == NULL));
  PSMdeinit(handle);
  CHECK(h_exists(h_shm_path(""))); /* it waits for the child that was announced */
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMalloc(handle, 10) == NULL));
  CHECK_SETS(0, PSMcancelInherit(handle));
  CHECK(!h_exists(h_shm_path("")));
  CHECK_SETS(PSM_E_HANDLE, PSMcancelInherit(handle));
}

/* ---- Addresses ---------------------------------------------------------------------- */

static void refused_because_of(const char *name, const char *what) {
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  CHECK_SETS(PSM_E_ADDRESS, PSMinit(name, MIB, NULL, &handle));
  CHECK(handle == NULL);
  if (!strstr(PSMerrorString(PSM_E_ADDRESS), what))
    FAIL("does not say what lies there: %s", PSMerrorString(PSM_E_ADDRESS));
}

EXEC_CHILD(taken) {
  void *at = NULL;
  CHECK(sscanf(argv[1], "%p", &at) == 1);
  CHECK_PTR(VirtualAlloc(at, 65536, MEM_RESERVE, PAGE_NOACCESS), at);
  refused_because_of(argv[0], "memory of this process");
  CHECK(VirtualFree(at, 0, MEM_RELEASE));
  HANDLE file = h_file_open(argv[2]);
  HANDLE section = CreateFileMappingW(file, NULL, PAGE_READONLY, 0, 0, NULL);
  CHECK_PTR(MapViewOfFileEx(section, FILE_MAP_READ, 0, 0, 0, at), at);
  refused_because_of(argv[0], "the-occupant");
  CHECK(UnmapViewOfFile(at));
  CloseHandle(section);
  CloseHandle(file);
  PSMdeinit(h_init(argv[0], MIB)); /* now it is free */
  return 0;
}

CASE(address_is_taken) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  char *zeros = calloc(1, 128 * KIB);
  h_write_file(h_path("the-occupant"), zeros, 128 * KIB);
  free(zeros);
  for (int shift = 0; shift <= 14; shift += 7) {
    char *at = h_text("%p", (void *)((char *)handle + shift * (ptrdiff_t)h_granule()));
    CHECK_EQ(h_wait(h_spawn("taken", h_shm_name(""), at, h_path("the-occupant"), NULL)), 0);
  }
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(creator_gives_way) {
  PSMHandle handle = h_init(h_shm_name(""), MIB), other = NULL;
  PSMdeinit(handle);
  CHECK_PTR(VirtualAlloc((void *)handle, MIB, MEM_RESERVE, PAGE_NOACCESS), handle);
  other = h_init(h_shm_name(""), MIB);
  CHECK((char *)other >= (char *)handle + MIB || (char *)other + MIB <= (char *)handle);
  PSMdeinit(other);
}

CASE(addresses_are_multiples_of_64_kib) {
  PSMHandle probe = h_init(h_shm_name("probe"), MIB), handle = NULL;
  char *at = (char *)probe + 32 * MIB;
  CHECK_SETS(PSM_E_INVALID, PSMinit(h_shm_name(""), MIB, at + 4096, &handle));
  CHECK(strstr(PSMerrorString(PSM_E_INVALID), "65536") != NULL);
  PSMinit(h_shm_name(""), MIB, at + 65536, &handle);
  CHECK_PTR(handle, at + 65536);
  PSMdeinit(handle);
  PSMdeinit(probe);
}

/* ---- Names ---------------------------------------------------------------------------- */

CASE(names_without_case_and_with_either_slash) {
  PSMHandle handle = h_init(h_path("Segment"), MIB);
  char *forward = h_text("%s", h_path("SEGMENT"));
  for (char *at = forward; *at; at++)
    if (*at == '\\') *at = '/';
  CHECK_PTR(h_init(h_path("SEGMENT"), MIB), handle);
  CHECK_PTR(h_init(forward, MIB), handle);
  PSMdeinit(handle);
  PSMdeinit(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_path("Segment")));
}

CASE(paths_that_are_long_or_not_ascii) {
  char part[121];
  memset(part, 'x', 120);
  part[120] = 0;
  char *folder = h_text("\\\\?\\%s", h_directory);
  for (int i = 0; i < 4; i++) {
    folder = h_text("%s\\%s\xc3\xa9", folder, part);
    CHECK(h_mkdir(folder));
  }
  char *path = h_text("%s\\segment\xe4\xb8\xad", folder + 4);
  PSMHandle handle = h_init(path, MIB);
  CHECK(h_exists(h_text("\\\\?\\%s", path)));
  CHECK_PTR(h_init(h_text("\\\\?\\%s", path), MIB), handle);
  h_work(handle);
  PSMdeinit(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_text("\\\\?\\%s", path)));
  while (strlen(folder) > strlen(h_directory) + 4) {
    CHECK(RemoveDirectoryW(h_wide(folder)));
    *strrchr(folder, '\\') = 0;
  }
}

CASE(names_that_are_refused) {
  static const char *const names[] = {"shm:a\\b", "shm:a/b", "shm:a:b",  "stream.txt:more", "what?",
                                      "a*b",      "<",       "folder\\", "bad\xff\xfe"};
  CHECK(chdir(h_directory) == 0);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    PSMHandle handle = NULL;
    PSMclearError();
    PSMinit(names[i], MIB, NULL, &handle);
    if (handle != NULL || PSMlastError() != PSM_E_NAME)
      FAIL("%s: %d %s", names[i], PSMlastError(), PSMerrorString(PSMlastError()));
  }
  CHECK(chdir("\\") == 0);
}

/* ---- Who asks disturbs nobody ------------------------------------------------------------ */

MEMBER(asks_for_the_dead) {
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  uint64_t id = *(uint64_t *)PSMgetUser(handle);
  for (int i = 0; i < 3000; i++) CHECK_EQ(PSMalive(handle, id), 0);
  PSMdeinit(handle);
}

MEMBER(dies) {
  *(uint64_t *)PSMgetUser(handle) = PSMself(handle);
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  h_die();
}

/* Only a try to lock its byte tells that a member is dead: those who try at the same time must not
 * take each other for it. Nobody joins meanwhile, which would reap it. */
CASE(many_ask_whether_the_dead_are_alive) {
  enum { ASKERS = 3 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  h_gate ready = h_gate_new(), go = h_gate_new(), die = h_gate_new();
  pid_t victim = h_member(handle, "dies", h_gate_text(ready), h_gate_text(die), NULL);
  pid_t child[ASKERS];
  for (int i = 0; i < ASKERS; i++)
    child[i] = h_member(handle, "asks_for_the_dead", h_gate_text(ready), h_gate_text(go), NULL);
  for (int i = 0; i < ASKERS + 1; i++) h_gate_pass(ready);
  uint64_t id = *(uint64_t *)PSMgetUser(handle);
  CHECK_EQ(PSMalive(handle, id), 1);
  h_gate_open(die);
  CHECK_EQ(h_wait(victim), 1000 + SIGKILL);
  for (int i = 0; i < ASKERS; i++) h_gate_open(go);
  for (int i = 0; i < 3000; i++) CHECK_EQ(PSMalive(handle, id), 0);
  for (int i = 0; i < ASKERS; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK_EQ(PSMreap(handle), 1);
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
}

/* Asks about all seats at once, again and again, as one does who opens the file. */
static _Atomic bool asked_enough;
static void *asks_about_all(void *arg) {
  OVERLAPPED seats = {.OffsetHigh = UINT32_C(1) << 30};
  HANDLE file = h_file_open(arg);
  while (!asked_enough)
    if (LockFileEx(file, LOCKFILE_FAIL_IMMEDIATELY, 0, 1024, 0, &seats))
      CHECK(UnlockFileEx(file, 0, 1024, 0, &seats));
  CloseHandle(file);
  return NULL;
}

/* Who looks for a seat tells those who ask from those who sit there. */
CASE(seats_are_taken_among_those_who_ask) {
  PSMHandle keeper = h_open(h_shm_name(""), MIB, PSM_OPEN_KEEP);
  pthread_t asker = h_thread(asks_about_all, h_shm_path(""));
  for (int i = 0; i < h_rounds(1000); i++) {
    PSMMember member;
    PSMdeinit(keeper);
    keeper = h_init(h_shm_name(""), MIB);
    CHECK_EQ(PSMmembers(keeper, &member, 1), 1);
    CHECK_EQ(member.seat, 0);
  }
  asked_enough = true;
  h_join(asker);
  PSMdeinit(keeper);
}

/* ---- Sudden ends --------------------------------------------------------------------------- */

EXEC_CHILD(creates_for_ever) {
  h_gate_open(h_gate_from(argv[0]));
  for (;;) PSMdeinit(h_init(h_shm_name(""), MIB));
  return 1;
}

CASE(creator_is_killed) {
  uint64_t seed = h_seed;
  for (int round = 0; round < h_rounds(200); round++) {
    h_gate ready = h_gate_new();
    pid_t child = h_spawn("creates_for_ever", h_gate_text(ready), NULL);
    h_gate_pass(ready);
    h_gate_close(ready);
    h_sleep_us((unsigned)h_below(&seed, 5000));
    h_kill(child);
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 0);
    CHECK_EQ(h_stat(handle).blocks, 0);
    CHECK_EQ(h_stat(handle).members, 1);
    h_work(handle);
    h_sound(handle);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
  }
}

enum { COMERS = 4 };
EXEC_CHILD(comes_and_goes_at_once) {
  h_gate_pass(h_gate_from(argv[0]));
  for (int round = 0; round < h_rounds(400); round++) {
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    uint64_t *inside = PSMgetUser(handle);
    uint64_t here = __atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST);
    CHECK(here >= 1 && here <= COMERS);
    CHECK(h_exists(h_shm_path("")));
    void *block = PSMalloc(handle, 100);
    CHECK(block != NULL);
    PSMfree(handle, block);
    __atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
    PSMdeinit(handle);
  }
  return 0;
}

/* Creating, joining and leaving at the same time: never a failure, never two segments. */
CASE(all_come_and_go_at_once) {
  h_gate go = h_gate_new();
  pid_t child[COMERS];
  for (int i = 0; i < COMERS; i++)
    child[i] = h_spawn("comes_and_goes_at_once", h_gate_text(go), NULL);
  for (int i = 0; i < COMERS; i++) h_gate_open(go);
  for (int i = 0; i < COMERS; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK(!h_exists(h_shm_path("")));
}

/* Threads are cut off where they are. From one segment to the other each call takes a mutex of the
 * library, which is then locked for ever. (Files are left alone: wine itself hangs if a thread is cut
 * off in one of its calls for them.) */
static void *allocates_for_ever(void *arg) {
  PSMHandle *handles = arg;
  for (int i = 0;; i = !i) PSMfree(handles[i], PSMalloc(handles[i], 100));
  return NULL;
}
EXEC_CHILD(returns_among_threads) {
  static PSMHandle handles[2];
  for (int i = 0; i < 2; i++) handles[i] = h_init(h_shm_name(i ? "other" : ""), MIB);
  PSMfree(handles[0], PSMalloc(handles[0], 100));
  for (int i = 0; i < 3; i++) h_thread(allocates_for_ever, handles);
  h_sleep_us(10000);
  return 0;
}

CASE(process_ends_while_threads_allocate) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int round = 0; round < h_rounds(50); round++)
    CHECK_EQ(h_wait(h_spawn("returns_among_threads", NULL)), 0);
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
}

/* ---- The library as a module ----------------------------------------------------------------- */

static struct {
  void (*init)(const char *, size_t, void *, PSMHandle *);
  void (*deinit)(PSMHandle);
  void *(*alloc)(PSMHandle, size_t);
} loaded;

static FARPROC find(HMODULE library, const char *name) {
  FARPROC function = GetProcAddress(library, name);
  CHECK(function != NULL);
  return function;
}

static void *allocates_and_ends(void *arg) {
  CHECK(loaded.alloc(arg, 100) != NULL);
  return NULL;
}

/* The end of a thread calls into a library that the program has unloaded: it is still there. */
CASE(library_is_unloaded_before_a_thread_ends) {
  HMODULE library = LoadLibraryW(h_wide(PSM_SHARED_LIBRARY));
  CHECK(library != NULL);
  FARPROC functions[] = {find(library, "PSMinit"), find(library, "PSMdeinit"),
                         find(library, "PSMalloc")};
  memcpy(&loaded, functions, sizeof loaded);
  PSMHandle handle = NULL;
  loaded.init(h_shm_name(""), MIB, NULL, &handle);
  CHECK(handle != NULL);
  h_join(h_thread(allocates_and_ends, handle));
  loaded.deinit(handle);
  CHECK(FreeLibrary(library));
  CHECK(GetModuleHandleW(L"psm.dll") == library);
  CHECK(!h_exists(h_shm_path("")));
}
