/* Large pages: an option of PSMopen that changes how memory is mapped, and nothing else. */
#include "harness.h"

enum { BLOCK = 1000, BLOCKS = 20000 }; /* some ten large pages */

static void blocks_fill(PSMHandle handle, void **blocks, int count) {
  for (int i = 0; i < count; i++) {
    CHECK((blocks[i] = PSMalloc(handle, BLOCK)) != NULL);
    h_fill(blocks[i], BLOCK, (uint64_t)i);
  }
}

static void blocks_check(void **blocks, int count) {
  for (int i = 0; i < count; i++) CHECK(h_intact(blocks[i], BLOCK, (uint64_t)i));
}

/* KiB of a segment that this process maps by large pages. */
static long large_mapped(PSMHandle handle) {
  FILE *maps = fopen("/proc/self/smaps", "re");
  CHECK(maps != NULL);
  char line[5000];
  long kib = 0, found;
  bool inside = false;
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
      inside = from >= (uintptr_t)handle && from < (uintptr_t)handle + 128 * MIB;
    if (inside && sscanf(line, "ShmemPmdMapped: %ld kB", &found) == 1) kib += found;
  }
  (void)fclose(maps);
  return kib;
}

/* Whether the system has them for shared memory at all, found without the library: at an address
 * and in a place of the file that are both a multiple of their size. */
static bool has_large_pages(void) {
  enum { COLLAPSE = 25, LARGE = 2 << 20 };
  int fd = memfd_create("psm-test", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, LARGE) != 0) return false;
  char *room = mmap(NULL, 2 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED);
  char *at = (char *)(((uintptr_t)room + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
  CHECK_PTR(mmap(at, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), at);
  at[0] = 1;
  bool can = madvise(at, LARGE, COLLAPSE) == 0;
  munmap(room, 2 * LARGE);
  close(fd);
  return can;
}

CASE(large_pages_are_used) {
  static void *blocks[BLOCKS];
  if (!has_large_pages()) SKIP("the system has no large pages for shared memory");
  PSMHandle handle = h_open(h_shm_name(""), 128 * MIB, PSM_OPEN_LARGE_PAGES);
  blocks_fill(handle, blocks, BLOCKS);
  CHECK(large_mapped(handle) >= 4 * 2048);
  blocks_check(blocks, BLOCKS);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(members_with_and_without_them) {
  void **blocks = h_shared(BLOCKS * sizeof *blocks);
  PSMHandle handle = h_open(h_shm_name(""), 128 * MIB, 0);
  blocks_fill(handle, blocks, BLOCKS / 2); /* in small pages, which become large ones */
  h_gate joined = h_gate_new(), done = h_gate_new();
  pid_t child =
      h_spawn("with_large_pages", h_shm_name(""), h_gate_text(joined), h_gate_text(done), NULL);
  h_gate_pass(joined);
  blocks_check(blocks, BLOCKS / 2);
  for (int i = 0; i < BLOCKS / 2; i += 2) PSMfree(handle, blocks[i]);
  h_gate_open(done);
  CHECK_EQ(h_wait(child), 0);
  for (int i = 1; i < BLOCKS / 2; i += 2) PSMfree(handle, blocks[i]);
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
}
EXEC_CHILD(with_large_pages) {
  static void *blocks[BLOCKS / 4];
  PSMHandle handle = h_open(argv[0], 128 * MIB, PSM_OPEN_LARGE_PAGES);
  blocks_fill(handle, blocks, BLOCKS / 4);
  h_gate_open(h_gate_from(argv[1]));
  h_gate_pass(h_gate_from(argv[2]));
  blocks_check(blocks, BLOCKS / 4);
  for (int i = 0; i < BLOCKS / 4; i++) PSMfree(handle, blocks[i]);
  h_work(handle);
  h_sound(handle);
  PSMdeinit(handle);
  return 0;
}

/* Trimming gives the memory back all the same, and it can be had again. */
CASE(trim_takes_large_pages_apart) {
  static void *blocks[BLOCKS];
  PSMHandle handle = h_open(h_shm_name(""), 128 * MIB, PSM_OPEN_LARGE_PAGES);
  for (int round = 0; round < 2; round++) {
    blocks_fill(handle, blocks, BLOCKS);
    long long before = h_blocks_of(h_shm_path(""));
    for (int i = 0; i < BLOCKS; i++) PSMfree(handle, blocks[i]);
    uint64_t bytes = 0;
    CHECK_EQ(PSMtrim(handle, &bytes), 0);
    CHECK(bytes > 15 * MIB);
    CHECK(h_blocks_of(h_shm_path("")) < before - (long long)(15 * MIB / 512));
    h_sound(handle);
  }
  PSMdeinit(handle);
}

/* Where there are no large pages the flag changes nothing: too small, or a file on a disk. */
CASE(segments_without_large_pages) {
  const char *names[] = {h_shm_name(""), h_path("file")};
  for (int i = 0; i < 2; i++) {
    PSMHandle handle = h_open(names[i], i == 0 ? MIB : 128 * MIB, PSM_OPEN_LARGE_PAGES);
    for (int n = 0; n < 300; n++) CHECK(PSMalloc(handle, BLOCK) != NULL);
    h_work(handle);
    h_sound(handle);
    PSMdeinit(handle);
  }
}
