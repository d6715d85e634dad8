/* A world that does not cooperate: taken addresses, full disks, sudden ends, crowds. */
#include "harness.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

CASE(address_is_taken) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  char *zeros = calloc(1, 2 * MIB);
  h_write_file(h_path("the-occupant"), zeros, 2 * MIB);
  free(zeros);
  for (int shift = -1; shift <= 1; shift++) {
    char *at = h_text("%p", (void *)((char *)handle + shift * (ptrdiff_t)(MIB / 2)));
    CHECK_EQ(h_wait(h_spawn("taken", h_shm_name(""), at, h_path("the-occupant"), NULL)), 0);
  }
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
}
EXEC_CHILD(taken) {
  void *at = NULL;
  CHECK(sscanf(argv[1], "%p", &at) == 1);
  int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
  void *map = mmap(at, MIB, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
  CHECK_PTR(map, at);
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  CHECK_SETS(PSM_E_ADDRESS, PSMinit(argv[0], MIB, NULL, &handle));
  CHECK(handle == NULL);
  if (!strstr(PSMerrorString(PSM_E_ADDRESS), "the-occupant"))
    FAIL("does not say what lies there: %s", PSMerrorString(PSM_E_ADDRESS));
  CHECK(*(volatile char *)map == 0);
  CHECK(munmap(map, MIB) == 0);
  handle = h_init(argv[0], MIB); /* now it is free */
  PSMdeinit(handle);
  return 0;
}

/* A creator takes another address instead. */
CASE(creator_gives_way) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMdeinit(handle);
  void *map =
      mmap(handle, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK_PTR(map, handle);
  PSMHandle other = h_init(h_shm_name(""), MIB);
  CHECK((char *)other >= (char *)handle + MIB || (char *)other + MIB <= (char *)handle);
  PSMdeinit(other);
  munmap(map, MIB);
}

/* ---- A file system of 8 MiB --------------------------------------------------- */

static char *small_disk(void) {
  char *path = h_path("disk");
  CHECK(mkdir(path, 0700) == 0);
  if (unshare(CLONE_NEWNS) != 0) SKIP("no private mounts: %s", strerror(errno));
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("psm-test", path, "tmpfs", 0, "size=8m") != 0)
    SKIP("cannot mount a tmpfs: %s", strerror(errno));
  return path;
}

/* Take `bytes` of the disk, or all that is left. */
static void ballast(const char *path, size_t bytes) {
  static char zeros[4096];
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  while (bytes > 0 && write(fd, zeros, 4096) == 4096) bytes -= 4096;
  close(fd);
}

static size_t fill_up(PSMHandle handle, size_t size, void **blocks, size_t n, size_t limit) {
  PSMclearError();
  while (n < limit && (blocks[n] = PSMalloc(handle, size)) != NULL) {
    memset(blocks[n], (int)(n & 0xff), PSMusableSize(handle, blocks[n])); /* SIGBUS, if any */
    n++;
  }
  CHECK(n < limit);
  CHECK_EQ(PSMlastError(), PSM_E_NOSPACE);
  CHECK_EQ(PSMgetError(handle), 0);
  return n;
}

static void *in_a_new_thread(void *arg) {
  PSMHandle handle = arg;
  void *block = PSMalloc(handle, 24);
  if (block) memset(block, 1, 24);
  PSMfree(handle, block);
  return NULL;
}

CASE(full_disk) {
  enum { LIMIT = 600000 };
  static void *blocks[LIMIT];
  char *disk = small_disk(), *path = h_text("%s/segment", disk);
  ballast(h_text("%s/ballast", disk), 2 * MIB);
  PSMHandle handle = h_init(path, 64 * MIB);
  for (int round = 0; round < 3; round++) {
    size_t n = fill_up(handle, MIB, blocks, 0, LIMIT);
    CHECK(n >= 3);
    n = fill_up(handle, 10000, blocks, n, LIMIT);
    n = fill_up(handle, 500, blocks, n, LIMIT);
    n = fill_up(handle, 16, blocks, n, LIMIT);
    CHECK_EQ(h_stat(handle).blocks, n);
    h_sound(handle);
    h_join(h_thread(in_a_new_thread, handle));
    CHECK_EQ(h_wait(h_spawn("on_a_full_disk", path, h_text("%p", blocks[0]), NULL)), 0);
    pid_t child = h_fork();
    if (child == 0) {
      CHECK_SETS(0, PSMfree(handle, blocks[1]));
      void *again = PSMalloc(handle, 16);
      if (again) memset(again, 1, 16);
      PSMfree(handle, again);
      h_quit(0);
    }
    CHECK_EQ(h_wait(child), 0);
    CHECK(PSMreap(handle) >= 0);
    if (round == 1) { /* space returns: it is usable after */
      CHECK(unlink(h_text("%s/ballast", disk)) == 0);
      void *more = PSMalloc(handle, 3 * MIB / 2);
      CHECK(more != NULL);
      memset(more, 1, 3 * MIB / 2);
      CHECK_SETS(0, PSMfree(handle, more));
    }
    for (size_t i = 2; i < n; i++) {
      CHECK_EQ(*(unsigned char *)blocks[i], i & 0xff);
      CHECK_SETS(0, PSMfree(handle, blocks[i]));
    }
    CHECK_EQ(h_stat(handle).blocks, 0);
    h_sound(handle);
    CHECK_EQ(PSMtrim(handle, NULL), 0);
    CHECK(h_blocks_of(path) * 512 < (long long)(3 * MIB));
  }
  PSMdeinit(handle);
  CHECK(!h_exists(path));
}
EXEC_CHILD(on_a_full_disk) {
  void *block = NULL;
  CHECK(sscanf(argv[1], "%p", &block) == 1);
  PSMHandle handle = h_init(argv[0], 64 * MIB); /* to join takes no space */
  CHECK_SETS(0, PSMfree(handle, block));
  h_sound(handle);
  PSMdeinit(handle);
  return 0;
}

CASE(creation_on_a_full_disk) {
  char *disk = small_disk(), *path = h_text("%s/segment", disk);
  ballast(h_text("%s/ballast", disk), SIZE_MAX);
  size_t sizes[] = {30 * KIB, MIB, 64 * MIB};
  for (size_t i = 0; i < 3; i++) {
    PSMHandle handle = (PSMHandle)(uintptr_t)1;
    CHECK_SETS(PSM_E_NOSPACE, PSMinit(path, sizes[i], NULL, &handle));
    CHECK(handle == NULL && !h_exists(path));
  }
  CHECK(unlink(h_text("%s/ballast", disk)) == 0);
  PSMHandle handle = h_init(path, 64 * MIB);
  CHECK(PSMalloc(handle, MIB) != NULL);
  PSMdeinit(handle);
  CHECK(!h_exists(path));
  /* With a little space, creation either works or says so; then alloc either works or says so. */
  for (size_t room = 0; room < 300 * KIB; room += 4 * KIB) {
    ballast(h_text("%s/room", disk), room);
    ballast(h_text("%s/ballast", disk), SIZE_MAX);
    CHECK(unlink(h_text("%s/room", disk)) == 0 || room == 0);
    PSMclearError();
    PSMinit(path, 16 * MIB, NULL, &handle);
    if (handle) {
      void *block = PSMalloc(handle, 100);
      if (block)
        memset(block, 1, 100);
      else
        CHECK_EQ(PSMlastError(), PSM_E_NOSPACE);
      h_sound(handle);
      PSMdeinit(handle);
    } else {
      CHECK_EQ(PSMlastError(), PSM_E_NOSPACE);
    }
    CHECK(!h_exists(path));
    CHECK(unlink(h_text("%s/ballast", disk)) == 0);
  }
}

/* ---- A file system without fallocate ------------------------------------------- */

/* From now on, here and in programs that are started, the kernel knows no such call. The filter is
 * as in the kernel's headers, which not every C library comes with. */
static void be_without_fallocate(void) {
  struct instruction {
    uint16_t code;
    uint8_t if_true, if_false;
    uint32_t value;
  } code[] = {
      {0x20, 0, 0, 0}, /* load the call's number */
      {0x15, 0, 1, SYS_fallocate},
      {0x06, 0, 0, 0x00050000 | EOPNOTSUPP},
      {0x06, 0, 0, 0x7fff0000},
  };
  struct {
    uint16_t count;
    struct instruction *instructions;
  } filter = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (prctl(PR_SET_SECCOMP, 2, &filter, 0, 0) != 0) {
    SKIP_EMULATED("has no filters of system calls");
    SKIP("no filter of system calls: %s", strerror(errno));
  }
  CHECK(fallocate(0, 0, 0, 1) != 0 && errno == EOPNOTSUPP);
}

/* Room is made by writing, and what is there stays: the header among it. */
CASE(no_fallocate) {
  be_without_fallocate();
  PSMHandle handle = h_init(h_shm_name(""), 64 * MIB);
  h_work(handle);
  void *block = PSMalloc(handle, 8 * MIB);
  CHECK(block != NULL);
  CHECK(h_blocks_of(h_shm_path("")) * 512 >= (long long)(8 * MIB));
  CHECK_EQ(h_wait(h_spawn("joins_without_fallocate", h_shm_name(""), NULL)), 0);
  uint64_t bytes = 1;
  PSMfree(handle, block);
  CHECK_EQ(PSMtrim(handle, &bytes), 0);
  CHECK_EQ(bytes, 0); /* it gives nothing back either */
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(joins_without_fallocate) {
  PSMHandle handle = h_init(argv[0], 64 * MIB);
  h_work(handle);
  h_sound(handle);
  PSMdeinit(handle);
  return 0;
}

/* ---- Crowds and sudden ends ----------------------------------------------------- */

CASE(more_members_than_seats) {
  enum { SEATS = 1024 };
  static pid_t child[SEATS];
  static PSMMember members[SEATS + 1];
  h_gate ready = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int i = 1; i < SEATS; i++) {
    child[i] = h_fork();
    if (child[i] == 0) {
      h_gate_open(ready);
      for (;;) pause();
    }
  }
  for (int i = 1; i < SEATS; i++) h_gate_pass(ready);
  CHECK_EQ(PSMmembers(handle, members, SEATS + 1), SEATS);
  bool seen[SEATS] = {false};
  for (int i = 0; i < SEATS; i++) {
    CHECK(members[i].seat < SEATS && !seen[members[i].seat] && members[i].alive);
    seen[members[i].seat] = true;
  }
  CHECK_EQ(h_wait(h_spawn("seat", h_shm_name(""), "none", NULL)), 0);
  /* A child by fork that finds no seat does no harm. */
  pid_t extra = h_fork();
  if (extra == 0) {
    PSMclearError();
    if (!PSMalloc(handle, 100)) CHECK(PSMlastError() < 0);
    h_quit(0);
  }
  CHECK_EQ(h_wait(extra), 0);
  /* One dies without a word: its seat is there for the next. */
  h_kill(child[500]);
  CHECK_EQ(h_wait(h_spawn("seat", h_shm_name(""), "one", NULL)), 0);
  for (int i = 1; i < SEATS; i++)
    if (i != 500) CHECK(kill(child[i], SIGKILL) == 0);
  for (int i = 1; i < SEATS; i++)
    if (i != 500) CHECK_EQ(h_wait(child[i]), 1000 + SIGKILL);
  CHECK(PSMreap(handle) >= SEATS - 2);
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(seat) {
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  PSMclearError();
  PSMinit(argv[0], MIB, NULL, &handle);
  if (!strcmp(argv[1], "none")) {
    CHECK(handle == NULL);
    CHECK_EQ(PSMlastError(), PSM_E_MEMBERS);
    return 0;
  }
  /* Our parent holds what it reserved for its fork until it runs again. */
  for (int tries = 0; !handle && tries < 1000 && PSMlastError() == PSM_E_MEMBERS; tries++) {
    h_sleep_us(1000);
    PSMinit(argv[0], MIB, NULL, &handle);
  }
  CHECK(handle != NULL);
  PSMdeinit(handle);
  return 0;
}

CASE(file_unlinked_in_use) {
  PSMHandle old = h_init(h_shm_name(""), MIB);
  *(uint64_t *)PSMgetUser(old) = 1;
  CHECK(unlink(h_shm_path("")) == 0);
  PSMHandle fresh = h_init(h_shm_name(""), MIB);
  CHECK(fresh != old);
  CHECK_EQ(*(uint64_t *)PSMgetUser(fresh), 0);
  *(uint64_t *)PSMgetUser(fresh) = 2;
  CHECK_EQ(h_wait(h_spawn("newer", h_shm_name(""), NULL)), 0);
  void *a = PSMalloc(old, 1000), *b = PSMalloc(fresh, 1000);
  CHECK(a && b && PSMsegmentOf(a) == old && PSMsegmentOf(b) == fresh);
  PSMdeinit(old);
  CHECK(h_exists(h_shm_path(""))); /* the other one's */
  h_sound(fresh);
  PSMdeinit(fresh);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(newer) {
  PSMHandle handle = h_init(argv[0], MIB);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 2);
  CHECK(PSMalloc(handle, 10) != NULL);
  PSMdeinit(handle);
  return 0;
}

CASE(creator_is_killed) {
  uint64_t seed = h_seed;
  for (int round = 0; round < h_rounds(200); round++) {
    pid_t child = h_fork();
    if (child == 0)
      for (;;) PSMdeinit(h_init(h_shm_name(""), MIB));
    h_sleep_us((unsigned)h_below(&seed, 1500));
    h_kill(child);
    double began = h_now();
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    CHECK(h_now() - began < 5);
    CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 0);
    CHECK_EQ(h_stat(handle).blocks, 0);
    CHECK_EQ(h_stat(handle).members, 1);
    CHECK(PSMalloc(handle, 1000) != NULL);
    h_sound(handle);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
  }
}

/* Creating, joining and leaving at the same time: never a failure, never two segments. */
CASE(all_come_and_go_at_once) {
  enum { N = 4 };
  pid_t child[N];
  h_gate go = h_gate_new();
  for (int i = 0; i < N; i++) {
    child[i] = h_fork();
    if (child[i] == 0) {
      h_gate_pass(go);
      for (int round = 0; round < h_rounds(400); round++) {
        PSMHandle handle = h_init(h_shm_name(""), MIB);
        uint64_t *inside = PSMgetUser(handle);
        uint64_t here = __atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST);
        CHECK(here >= 1 && here <= N);
        struct stat st;
        CHECK(stat(h_shm_path(""), &st) == 0);
        void *block = PSMalloc(handle, 100);
        CHECK(block != NULL);
        PSMfree(handle, block);
        __atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
        PSMdeinit(handle);
      }
      h_quit(0);
    }
  }
  for (int i = 0; i < N; i++) h_gate_open(go);
  for (int i = 0; i < N; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK(!h_exists(h_shm_path("")));
}
