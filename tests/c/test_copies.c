/* Two copies of the library in one process, as when two plug-ins each bring theirs: the one that
 * this program is linked with, and a shared one that it loads. They share a mapping and nothing
 * else, and each is a member.
 */
#include "harness.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#include <sys/syscall.h>
#endif

#ifndef PSM_SHARED_LIBRARY
#define PSM_SHARED_LIBRARY ""
#endif

struct copy {
  void (*init)(const char *, size_t, void *, PSMHandle *);
  int (*open)(const char *, const PSMOptions *, PSMHandle *);
  void (*deinit)(PSMHandle);
  void *(*alloc)(PSMHandle, size_t);
  void (*free)(PSMHandle, void *);
  int (*check)(PSMHandle);
  int (*lock)(PSMHandle, uint32_t *);
  int (*unlock)(PSMHandle, uint32_t *);
  int (*last_error)(void);
  void (*clear_error)(void);
};

static struct copy copies[2] = {{PSMinit, PSMopen, PSMdeinit, PSMalloc, PSMfree, PSMcheck, PSMlock,
                                 PSMunlock, PSMlastError, PSMclearError}};

#define A (&copies[0])
#define B (&copies[1])

static const char *library_path(void) {
  const char *path = getenv("PSM_SHARED_LIBRARY");
  if (path == NULL || *path == '\0') path = PSM_SHARED_LIBRARY;
  if (*path == '\0') SKIP("PSM_SHARED_LIBRARY names no shared library to load");
  return path;
}

#if defined(_WIN32)
static void need_loading(void) {}
static void *library_load(const char *path) {
  HMODULE library = LoadLibraryW(h_wide(path));
  if (library == NULL) FAIL("%s: error %lu", path, GetLastError());
  return library;
}
static void *library_find(void *library, const char *name) {
  return (void *)(intptr_t)GetProcAddress((HMODULE)library, name);
}
static bool is_mapped(PSMHandle handle) {
  MEMORY_BASIC_INFORMATION region;
  CHECK(VirtualQuery((void *)handle, &region, sizeof region) != 0);
  return region.State != MEM_FREE;
}
#else
static void need_loading(void) {
  if (dlopen(NULL, RTLD_NOW) == NULL) SKIP("a static program of this C library loads no other");
}
static void *library_load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) FAIL("%s", dlerror());
  return library;
}
static void *library_find(void *library, const char *name) { return dlsym(library, name); }
static bool is_mapped(PSMHandle handle) {
  unsigned char in_core;
  return mincore((void *)handle, 1, &in_core) == 0;
}
#endif

static void second_copy_load(void) {
  static const char *const names[] = {"PSMinit",      "PSMopen",      "PSMdeinit", "PSMalloc",
                                      "PSMfree",      "PSMcheck",     "PSMlock",   "PSMunlock",
                                      "PSMlastError", "PSMclearError"};
  void *library = library_load(library_path());
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *function = library_find(library, names[i]);
    CHECK(function != NULL);
    memcpy((char *)B + i * sizeof function, &function, sizeof function);
  }
  CHECK(B->init != PSMinit && B->alloc != PSMalloc);
}

static const size_t sizes[] = {24, 1000, 200 * KIB};

/* Each of the two, or one of them twice, allocates what the other frees. */
static void exchange(PSMHandle handle, const struct copy *a, const struct copy *b) {
  for (int round = 0; round < 4; round++) {
    for (size_t i = 0; i < 3; i++) {
      char *block = a->alloc(handle, sizes[i]), *other = b->alloc(handle, sizes[i]);
      CHECK(block != NULL && other != NULL && block != other);
      h_fill(block, sizes[i], i);
      h_fill(other, sizes[i], i + 9);
      CHECK(h_intact(block, sizes[i], i) && h_intact(other, sizes[i], i + 9));
      a->clear_error();
      b->clear_error();
      b->free(handle, block);
      a->free(handle, other);
      CHECK_EQ(a->last_error(), 0);
      CHECK_EQ(b->last_error(), 0);
      a->free(handle, block); /* refused, as it is free */
      CHECK_EQ(a->last_error(), PSM_E_DOUBLE_FREE);
    }
  }
  CHECK_EQ(a->check(handle), 0);
  CHECK_EQ(b->check(handle), 0);
}

static PSMHandle init_by(const struct copy *copy) {
  PSMHandle handle = NULL;
  copy->init(h_shm_name(""), 2 * MIB, NULL, &handle);
  if (handle == NULL) FAIL("a copy cannot join: %d", copy->last_error());
  return handle;
}

/* Both join, work together, and leave in either order; the first may come back meanwhile. */
CASE(two_copies_leave_in_either_order) {
  need_loading();
  second_copy_load();
  for (int order = 0; order < 8; order++) {
    const struct copy *first = &copies[order & 1], *second = &copies[!(order & 1)];
    const struct copy *leaver = order & 2 ? second : first, *stayer = order & 2 ? first : second;
    PSMHandle handle = init_by(first);
    void *kept = first->alloc(handle, 100);
    CHECK_PTR(init_by(second), handle);
    exchange(handle, A, B);
    CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
    leaver->deinit(handle);
    leaver->clear_error();
    CHECK(leaver->alloc(handle, 10) == NULL);
    CHECK_EQ(leaver->last_error(), PSM_E_HANDLE);
    CHECK(h_exists(h_shm_path("")));
    CHECK(is_mapped(handle));
    exchange(handle, stayer, stayer);
    if (order & 4) {
      CHECK_PTR(init_by(leaver), handle);
      exchange(handle, A, B);
      stayer->deinit(handle);
      CHECK(h_exists(h_shm_path("")));
      exchange(handle, leaver, leaver);
      stayer = leaver;
    }
    stayer->free(handle, kept);
    stayer->deinit(handle);
    CHECK(!h_exists(h_shm_path("")));
    CHECK(!is_mapped(handle));
  }
}

/* One of them only reads. It needs no seat, and takes nothing along; a mapping for reading is not
 * one that the other could write to. */
CASE(one_copy_only_reads) {
  need_loading();
  const PSMOptions reading = {2 * MIB, NULL, 0, PSM_OPEN_READONLY};
  second_copy_load();
  for (int order = 0; order < 4; order++) {
    const struct copy *writer = &copies[order & 1], *reader = &copies[!(order & 1)];
    PSMHandle handle = init_by(writer), read;
    CHECK_EQ(reader->open(h_shm_name(""), &reading, &read), 0);
    CHECK_PTR(read, handle);
    exchange(handle, writer, writer);
    if (order & 2) writer->deinit(handle);
    if (!(order & 2)) reader->deinit(handle);
    CHECK(is_mapped(handle));
    CHECK(h_exists(h_shm_path("")));
    if (order & 2) reader->deinit(handle);
    if (!(order & 2)) exchange(handle, writer, writer);
    if (!(order & 2)) writer->deinit(handle);
    CHECK(!is_mapped(handle));
    CHECK(!h_exists(h_shm_path("")));
  }
}

EXEC_CHILD(reads_first) {
  const PSMOptions reading = {2 * MIB, NULL, 0, PSM_OPEN_READONLY};
  PSMHandle handle, other;
  second_copy_load();
  CHECK_EQ(A->open(h_shm_name(""), &reading, &handle), 0);
  B->clear_error();
  B->init(h_shm_name(""), 2 * MIB, NULL, &other);
  if (other != NULL) exchange(handle, B, B);
  if (other == NULL) CHECK_EQ(B->last_error(), PSM_E_ADDRESS);
  B->deinit(other);
  CHECK(is_mapped(handle));
  A->deinit(handle);
  CHECK(!is_mapped(handle));
  return 0;
}

CASE(a_copy_that_reads_comes_first) {
  need_loading();
  (void)library_path();
  PSMHandle handle = h_init(h_shm_name(""), 2 * MIB);
  CHECK_EQ(h_wait(h_spawn("reads_first", NULL)), 0);
  PSMdeinit(handle);
}

#if H_HAS_FORK
/* For others they are two members of one pid, who come, go and die each by itself. */
CASE(two_copies_as_others_see_them) {
  need_loading();
  (void)library_path();
  for (int order = 0; order < 2; order++) {
    h_gate ready = h_gate_new(), go = h_gate_new();
    pid_t both = h_fork();
    if (both == 0) {
      const struct copy *leaver = &copies[order], *stayer = &copies[!order];
      second_copy_load();
      h_gate_pass(go);
      PSMHandle handle = init_by(A);
      CHECK_PTR(init_by(B), handle);
      exchange(handle, A, B);
      h_gate_open(ready);
      h_gate_pass(go);
      leaver->deinit(handle);
      exchange(handle, stayer, stayer);
      h_gate_open(ready);
      h_gate_pass(go);
      CHECK_PTR(init_by(leaver), handle);
      exchange(handle, A, B);
      CHECK_EQ(leaver->lock(handle, *(void **)PSMgetUser(handle)), 0);
      h_gate_open(ready);
      h_gate_pass(go);
      CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0);
      for (;;) exchange(handle, A, B);
    }
    PSMHandle handle = h_init(h_shm_name(""), 2 * MIB);
    uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
    *(void **)PSMgetUser(handle) = lock;
    static const int members[] = {3, 2, 3};
    for (int step = 0; step < 3; step++) {
      h_gate_open(go);
      h_gate_pass(ready);
      PSMMember member[4];
      CHECK_EQ(PSMmembers(handle, member, 4), members[step]);
      for (int i = 0; i < members[step]; i++) CHECK(member[i].alive);
      CHECK_EQ(PSMreap(handle), 0);
      exchange(handle, A, A);
    }
    h_gate_open(go);
    for (int i = 0; i < 50; i++) { /* and without their descriptors */
      h_sleep_us(500);
      CHECK_EQ(PSMreap(handle), 0);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 3);
    }
    h_kill(both);
    CHECK_EQ(PSMreap(handle), 2);
    CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
    CHECK_EQ(PSMunlock(handle, lock), 0);
    CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
    CHECK_EQ(h_stat(handle).caches, 1);
    CHECK(h_stat(handle).blocks <= 1 + 2); /* two in use, at the most */
    h_sound(handle);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
  }
}

/* In a child both are members again; it leaves in either order, or dies. */
CASE(two_copies_fork) {
  need_loading();
  second_copy_load();
  PSMHandle handle = init_by(A);
  CHECK_PTR(init_by(B), handle);
  exchange(handle, A, B);
  for (int end = 0; end < 6; end++) {
    const struct copy *leaver = &copies[end % 2], *stayer = &copies[!(end % 2)];
    void *kept = leaver->alloc(handle, 100);
    h_gate ready = h_gate_new();
    pid_t child = h_fork();
    if (child == 0) {
      stayer->free(handle, kept);
      exchange(handle, A, B);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 4);
      CHECK_EQ(PSMreap(handle), 0);
      if (end / 2 == 1) leaver->deinit(handle);
      if (end / 2 == 1) exchange(handle, stayer, stayer);
      h_gate_open(ready);
      if (end / 2 != 0)
        for (;;) pause();
      leaver->deinit(handle);
      CHECK(is_mapped(handle));
      exchange(handle, stayer, stayer);
      stayer->deinit(handle);
      CHECK(!is_mapped(handle));
      h_quit(0);
    }
    h_gate_pass(ready);
    static const int dead[] = {0, 1, 2};
    /* Not beside it: what one of them frees twice, the other may have taken in between. */
    if (end / 2 == 0) CHECK_EQ(h_wait(child), 0);
    exchange(handle, A, B);
    CHECK_EQ(PSMmembers(handle, NULL, 0), 2 + dead[end / 2]);
    CHECK_EQ(PSMreap(handle), 0);
    if (end / 2 != 0) h_kill(child);
    CHECK_EQ(PSMreap(handle), dead[end / 2]);
    exchange(handle, A, B);
    A->clear_error();
    A->free(handle, kept);
    CHECK_EQ(A->last_error(), PSM_E_DOUBLE_FREE);
  }
  A->deinit(handle);
  B->deinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
#else
LEFT_OUT(two_copies_as_others_see_them, "Windows has no descriptors to close")
LEFT_OUT(two_copies_fork, "Windows has no fork")
#endif
