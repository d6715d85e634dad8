/* Wrong arguments: each is refused with its own error, and nothing changes. */
#include "harness.h"

/* ---- Pointers --------------------------------------------------------------- */

/* What must not change. Figures that depend on whose cache holds a free block are left out. */
static bool same(PSMHandle handle, PSMStat before) {
  PSMStat now = h_stat(handle);
  return now.blocks == before.blocks && now.used == before.used && now.largest == before.largest &&
         now.free + now.cached == before.free + before.cached && now.members == before.members;
}

static void refused(PSMHandle handle, void *pointer) {
  PSMStat before = h_stat(handle);
  CHECK_REFUSED(PSMfree(handle, pointer));
  CHECK_REFUSED(CHECK_EQ(PSMusableSize(handle, pointer), 0));
  CHECK_REFUSED(CHECK(PSMrealloc(handle, pointer, 50) == NULL));
  CHECK(same(handle, before));
  h_sound(handle);
}

CASE(double_free_small) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  size_t sizes[] = {0, 1, 16, 40, 100, 500, 1000, 2000};
  for (size_t i = 0; i < 8; i++) {
    void *keep = PSMalloc(handle, sizes[i]), *block = PSMalloc(handle, sizes[i]);
    CHECK(keep && block);
    CHECK_SETS(0, PSMfree(handle, block));
    for (int again = 0; again < 3; again++) {
      CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, block));
      refused(handle, block);
    }
    CHECK_EQ(h_stat(handle).blocks, i + 1);
    /* It is handed out once, not twice. */
    void *first = PSMalloc(handle, sizes[i]), *second = PSMalloc(handle, sizes[i]);
    CHECK(first && second && first != second && first != keep && second != keep);
    PSMfree(handle, first);
    PSMfree(handle, second);
  }
  PSMdeinit(handle);
}

static void *free_it(void *arg) {
  void **pair = arg;
  CHECK_SETS(0, PSMfree(pair[0], pair[1]));
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(pair[0], pair[1]));
  return NULL;
}
static void *free_again(void *arg) {
  void **pair = arg;
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(pair[0], pair[1]));
  return NULL;
}

CASE(double_free_by_another_thread) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (size_t size = 16; size < 2000; size += 333) {
    void *keep = PSMalloc(handle, size);
    void *pair[2] = {handle, PSMalloc(handle, size)};
    CHECK(keep && pair[1]);
    h_join(h_thread(free_it, pair)); /* another frees what I have allocated */
    refused(handle, pair[1]);
    pair[1] = PSMalloc(handle, size);
    PSMfree(handle, pair[1]); /* into my cache */
    h_join(h_thread(free_again, pair));
    refused(handle, pair[1]);
  }
  PSMdeinit(handle);
}

MEMBER(frees_again) {
  void **blocks = *(void ***)PSMgetUser(handle);
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, blocks[0])); /* in the parent's cache */
  CHECK_SETS(0, PSMfree(handle, blocks[1]));
  CHECK_SETS(0, PSMfree(handle, blocks[2]));
  CHECK_REFUSED(PSMfree(handle, blocks[1]));
  CHECK_REFUSED(PSMfree(handle, blocks[2]));
  PSMdeinit(handle);
}

CASE(double_free_by_another_process) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *small = PSMalloc(handle, 100), *large = PSMalloc(handle, 100 * KIB);
  void *cached = PSMalloc(handle, 100), *keep = PSMalloc(handle, 100);
  CHECK(small && large && cached && keep);
  PSMfree(handle, cached);
  void **blocks = PSMalloc(handle, 3 * sizeof *blocks);
  blocks[0] = cached, blocks[1] = small, blocks[2] = large;
  *(void ***)PSMgetUser(handle) = blocks;
  CHECK_EQ(h_wait(h_member(handle, "frees_again", NULL)), 0);
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, small));
  refused(handle, large);
  CHECK_EQ(h_stat(handle).blocks, 2);
  PSMdeinit(handle);
}

CASE(double_free_large) {
  PSMHandle handle = h_init(h_shm_name(""), 8 * MIB);
  size_t sizes[] = {100 * KIB, 300 * KIB, MIB};
  for (size_t i = 0; i < 3; i++) {
    void *left = PSMalloc(handle, sizes[i]), *block = PSMalloc(handle, sizes[i]);
    void *right = PSMalloc(handle, sizes[i]);
    CHECK(left && block && right);
    CHECK_SETS(0, PSMfree(handle, block));
    refused(handle, block);
    CHECK_SETS(0, PSMfree(handle, left)); /* joined with the free one behind it */
    refused(handle, block);
    refused(handle, left);
    CHECK_SETS(0, PSMfree(handle, right));
    refused(handle, block);
    refused(handle, right);
  }
  PSMdeinit(handle);
}

/* The slab of the block is given back and becomes a part of something else. */
CASE(double_free_after_the_slab_went) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  enum { N = 8000 };
  static void *blocks[N];
  int n = 0;
  while (n < N && (blocks[n] = PSMalloc(handle, 100)) != NULL) n++;
  CHECK(n > 1000);
  for (int i = 0; i < n; i++) CHECK_SETS(0, PSMfree(handle, blocks[i]));
  char *large = PSMalloc(handle, 900 * KIB); /* takes every slab back */
  CHECK(large != NULL);
  for (int i = 0; i < n; i += 37)
    if (blocks[i] != large) refused(handle, blocks[i]);
  h_fill(large, 900 * KIB, 1);
  CHECK(h_intact(large, 900 * KIB, 1));
  PSMfree(handle, large);
  for (int i = 0; i < n; i += 37) refused(handle, blocks[i]);
  PSMdeinit(handle);
}

CASE(interior_pointers) {
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  size_t sizes[] = {1, 40, 100, 700, 3000, 20000, 100 * KIB, 500 * KIB};
  for (size_t i = 0; i < 8; i++) {
    char *block = PSMalloc(handle, sizes[i]);
    CHECK(block != NULL);
    size_t usable = PSMusableSize(handle, block);
    for (size_t at = 1; at < usable; at += at < 70 ? 1 : usable / 13 + 1)
      refused(handle, block + at);
    refused(handle, block + usable - 1);
    CHECK_EQ(h_stat(handle).blocks, 1);
    CHECK_SETS(0, PSMfree(handle, block));
  }
  PSMdeinit(handle);
}

CASE(pointers_from_elsewhere) {
  PSMHandle handle = h_init(h_shm_name("a"), MIB), other = h_init(h_shm_name("b"), MIB);
  void *theirs = PSMalloc(other, 100), *heap = malloc(100), *mine = PSMalloc(handle, 100);
  int local = 0;
  CHECK(theirs && heap && mine);
  void *bad[] = {theirs,
                 heap,
                 &local,
                 (void *)(uintptr_t)16,
                 (void *)(uintptr_t)1,
                 (void *)UINTPTR_MAX,
                 (char *)handle - 16,
                 (char *)handle + MIB,
                 (char *)handle + 3 * MIB,
                 (void *)(uintptr_t)0x7fffffffffff};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    CHECK_SETS(PSM_E_POINTER, PSMfree(handle, bad[i]));
    refused(handle, bad[i]);
  }
  CHECK_EQ(h_stat(other).blocks, 1);
  CHECK_SETS(0, PSMfree(other, theirs));
  free(heap);
  PSMdeinit(handle);
  PSMdeinit(other);
}

CASE(pointers_into_metadata) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *block[20];
  for (size_t i = 0; i < 20; i++) block[i] = PSMalloc(handle, i * 60);
  PSMStat before = h_stat(handle);
  for (size_t at = 0; at < before.metadata; at += 8) {
    char *pointer = (char *)handle + at;
    CHECK_REFUSED(PSMfree(handle, pointer));
  }
  refused(handle, handle);
  refused(handle, PSMgetUser(handle));
  CHECK(same(handle, before));
  for (size_t i = 0; i < 20; i++) CHECK_SETS(0, PSMfree(handle, block[i]));
  PSMdeinit(handle);
}

/* Every address of a segment: only where a block begins may it be freed. */
CASE(every_address_of_a_segment) {
  PSMHandle handle = h_init(h_shm_name(""), 256 * KIB);
  char *block[40];
  for (size_t i = 0; i < 40; i++) {
    block[i] = PSMalloc(handle, i * i);
    CHECK(block[i] != NULL);
  }
  for (size_t i = 0; i < 40; i += 3) PSMfree(handle, block[i]), block[i] = NULL;
  PSMStat before = h_stat(handle);
  for (char *p = (char *)handle; p < (char *)handle + 256 * KIB; p++) {
    bool is_block = false;
    for (size_t i = 0; i < 40; i++) is_block = is_block || p == block[i];
    if (!is_block)
      CHECK_REFUSED(PSMfree(handle, p));
    else
      CHECK(PSMusableSize(handle, p) > 0);
  }
  CHECK(same(handle, before));
  h_sound(handle);
  PSMdeinit(handle);
}

/* ---- Handles and sizes ------------------------------------------------------- */

static void bad_handle(PSMHandle handle) {
  char byte = 0;
  void *place = &byte;
  uint32_t lock = 0;
  PSMStat stat;
  PSMBlock block = {NULL, 0};
  PSMMember member;
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMalloc(handle, 100) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMcalloc(handle, 1, 100) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMrealloc(handle, NULL, 100) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMrealloc(handle, &byte, 100) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMalignedAlloc(handle, 64, 100) == NULL));
  CHECK_SETS(PSM_E_HANDLE, PSMfree(handle, &byte));
  CHECK_SETS(PSM_E_HANDLE, CHECK_EQ(PSMusableSize(handle, &byte), 0));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMgetUser(handle) == NULL));
  CHECK_SETS(PSM_E_HANDLE, PSMdeinit(handle));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMaddress(handle, 4096) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK_EQ(PSMoffset(handle, &byte), 0));
  PSMclearError();
  CHECK_EQ(PSMgetError(handle), PSM_E_HANDLE);
  CHECK_EQ(PSMlastError(), 0); /* as the manual says */
  CHECK_EQ(PSMallocTo(handle, 10, &place), PSM_E_HANDLE);
  CHECK_EQ(PSMfreeFrom(handle, &place), PSM_E_HANDLE);
  CHECK_EQ(PSMlock(handle, &lock), PSM_E_HANDLE);
  CHECK_EQ(PSMtrylock(handle, &lock), PSM_E_HANDLE);
  CHECK_EQ(PSMunlock(handle, &lock), PSM_E_HANDLE);
  CHECK_EQ(PSMstat(handle, &stat), PSM_E_HANDLE);
  CHECK_EQ(PSMwalk(handle, &block), PSM_E_HANDLE);
  CHECK_EQ(PSMcheck(handle), PSM_E_HANDLE);
  CHECK_EQ(PSMmembers(handle, &member, 1), PSM_E_HANDLE);
  CHECK_EQ(PSMreap(handle), PSM_E_HANDLE);
  CHECK_EQ(PSMtrim(handle, NULL), PSM_E_HANDLE);
  CHECK_EQ(PSMlastError(), PSM_E_HANDLE);
}

CASE(bad_handles) {
  int local = 0;
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *block = PSMalloc(handle, 100);
  bad_handle((PSMHandle)(void *)&local);
  bad_handle((PSMHandle)(uintptr_t)1);
  bad_handle((PSMHandle)UINTPTR_MAX);
  bad_handle((PSMHandle)(void *)((char *)handle + 8));
  bad_handle((PSMHandle)(void *)((char *)handle + 4096));
  bad_handle((PSMHandle)block);
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMdeinit(handle);
  bad_handle(handle);
  /* This thread has used it; it is another's after a new segment took the address. */
  PSMHandle again = h_init(h_shm_name(""), MIB);
  void *fresh = PSMalloc(again, 100);
  CHECK(fresh != NULL);
  CHECK_EQ(h_stat(again).blocks, 1);
  CHECK_SETS(0, PSMfree(again, fresh));
  h_sound(again);
  PSMdeinit(again);
}

CASE(huge_sizes) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  size_t sizes[] = {
    MIB,
    2 * MIB,
    SIZE_MAX,
    SIZE_MAX - 1,
    SIZE_MAX - 4095,
    SIZE_MAX - 65535,
    PTRDIFF_MAX,
    (size_t)PTRDIFF_MAX + 1,
#if SIZE_MAX > UINT32_MAX
    (size_t)1 << 32,
    (size_t)1 << 48,
#endif
  };
  const size_t count = sizeof sizes / sizeof *sizes;
  PSMStat before = h_stat(handle);
  for (size_t i = 0; i < count; i++) {
    CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalloc(handle, sizes[i]) == NULL));
    CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, 1, sizes[i]) == NULL));
    CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalignedAlloc(handle, 64, sizes[i]) == NULL));
  }
  CHECK(same(handle, before));
  PSMHandle other = NULL;
  for (size_t i = 2; i < 8; i++) {
    PSMclearError();
    PSMinit(h_shm_name("2"), sizes[i], NULL, &other);
    CHECK(other == NULL && (PSMlastError() == PSM_E_SIZE || PSMlastError() == PSM_E_ADDRESS));
    CHECK(!h_exists(h_shm_path("2")));
  }
  PSMdeinit(handle);
}

CASE(small_alignment_of_members_and_locks) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t outside = 0, *lock = PSMcalloc(handle, 2, sizeof *lock);
  CHECK(lock != NULL);
  CHECK_EQ(PSMlock(handle, &outside), PSM_E_INVALID);
  CHECK_EQ(PSMlock(handle, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMtrylock(handle, &outside), PSM_E_INVALID);
  CHECK_EQ(PSMtrylock(handle, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMlock(handle, (uint32_t *)(void *)((char *)lock + 1)), PSM_E_INVALID);
  CHECK_EQ(PSMlock(handle, (uint32_t *)(void *)((char *)handle + MIB)), PSM_E_INVALID);
  CHECK_EQ(PSMunlock(handle, &outside), PSM_E_INVALID);
  CHECK_EQ(PSMunlock(handle, lock), PSM_E_STATE);
  CHECK_EQ(PSMlock(handle, lock), 0);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  CHECK_EQ(PSMunlock(handle, lock), PSM_E_STATE);
  CHECK_EQ(PSMmembers(handle, NULL, 3), PSM_E_INVALID);
  PSMMember member[3];
  CHECK_EQ(PSMmembers(handle, member, -1), PSM_E_INVALID);
  CHECK_EQ(PSMmembers(handle, member, 3), 1);
  CHECK_EQ(member[0].pid, getpid());
  CHECK_EQ(member[0].alive, 1);
  CHECK(member[0].seat < 1024);
  PSMdeinit(handle);
}
