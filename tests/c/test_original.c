/* The results that programs written for the original PSMalloc depend on. */
#include "harness.h"

CASE(init_refuses_bad_names) {
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  CHECK_SETS(PSM_E_NAME, PSMinit(NULL, MIB, NULL, &handle));
  CHECK(handle == NULL);
  handle = (PSMHandle)(uintptr_t)1;
  CHECK_SETS(PSM_E_NAME, PSMinit("", MIB, NULL, &handle));
  CHECK(handle == NULL);
  CHECK_SETS(PSM_E_INVALID, PSMinit(h_shm_name(""), MIB, NULL, NULL));
  CHECK(!h_exists(h_shm_path("")));
}

CASE(init_refuses_sizes_too_small) {
  for (size_t size = 0; size <= 64; size++) {
    PSMHandle handle = (PSMHandle)(uintptr_t)1;
    CHECK_SETS(PSM_E_SIZE, PSMinit(h_shm_name(""), size, NULL, &handle));
    CHECK(handle == NULL);
    CHECK(!h_exists(h_shm_path("")));
  }
}

CASE(init_refuses_another_size) {
  PSMHandle first = h_init(h_shm_name(""), MIB);
  size_t others[] = {0, 64, MIB - 1, MIB + 1, MIB / 2, MIB * 2, MIB + 4096};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    PSMHandle other = (PSMHandle)(uintptr_t)1;
    CHECK_SETS(PSM_E_SIZE, PSMinit(h_shm_name(""), others[i], NULL, &other));
    CHECK(other == NULL);
    pid_t child = h_spawn("other_size", h_shm_name(""), h_text("%zu", others[i]), NULL);
    CHECK_EQ(h_wait(child), 0);
  }
  CHECK(PSMalloc(first, 100) != NULL);
  h_sound(first);
  PSMdeinit(first);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(other_size) {
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  CHECK_SETS(PSM_E_SIZE, PSMinit(argv[0], strtoul(argv[1], NULL, 10), NULL, &handle));
  CHECK(handle == NULL);
  return 0;
}

CASE(second_init_is_counted) {
  PSMHandle first = h_init(h_shm_name(""), MIB);
  PSMHandle second = h_init(h_shm_name(""), MIB);
  CHECK_PTR(first, second);
  CHECK_EQ(PSMmembers(first, NULL, 0), 1);
  PSMdeinit(first);
  CHECK(h_exists(h_shm_path("")));
  void *block = PSMalloc(first, 100);
  CHECK(block != NULL);
  PSMfree(first, block);
  /* Another spelling of the path is the same segment. */
  PSMHandle third = h_init(h_shm_path(""), MIB);
  CHECK_PTR(first, third);
  PSMdeinit(first);
  PSMdeinit(first);
  CHECK(!h_exists(h_shm_path("")));
  CHECK_SETS(PSM_E_HANDLE, PSMdeinit(first));
}

CASE(three_segments_at_once) {
  PSMHandle handle[3];
  void *block[3];
  for (int i = 0; i < 3; i++) {
    handle[i] = h_init(h_shm_name(h_text("%d", i)), MIB * (size_t)(i + 1));
    block[i] = PSMalloc(handle[i], 100 * KIB);
    CHECK(block[i] != NULL);
    h_fill(block[i], 100 * KIB, (uint64_t)i);
  }
  for (int i = 0; i < 3; i++) {
    CHECK(h_intact(block[i], 100 * KIB, (uint64_t)i));
    CHECK_PTR(PSMsegmentOf(block[i]), handle[i]);
    for (int j = 0; j < i; j++) {
      size_t distance = (size_t)llabs((long long)((char *)handle[i] - (char *)handle[j]));
      CHECK(distance >= MIB * (size_t)(j + 1));
    }
  }
  PSMdeinit(handle[1]);
  CHECK(h_intact(block[0], 100 * KIB, 0) && h_intact(block[2], 100 * KIB, 2));
  CHECK(!h_exists(h_shm_path("1")) && h_exists(h_shm_path("0")) && h_exists(h_shm_path("2")));
  PSMdeinit(handle[0]);
  PSMdeinit(handle[2]);
  CHECK(!h_exists(h_shm_path("0")) && !h_exists(h_shm_path("2")));
}

EXEC_CHILD(fills_and_ends) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint64_t *user = PSMgetUser(handle);
  *user = 4711;
  for (int i = 0; i < 9; i++) CHECK(PSMalloc(handle, 105 * KIB) != NULL);
  h_quit(0);
}

CASE(file_without_user_starts_afresh) {
  CHECK_EQ(h_wait(h_spawn("fills_and_ends", NULL)), 0);
  CHECK(h_exists(h_shm_path("")));
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 0);
  CHECK_EQ(h_stat(handle).blocks, 0);
  for (int i = 0; i < 9; i++) CHECK(PSMalloc(handle, 105 * KIB) != NULL);
  PSMdeinit(handle);
  /* Also with another size than the dead had. */
  CHECK_EQ(h_wait(h_spawn("fills_and_ends", NULL)), 0);
  handle = h_init(h_shm_name(""), 3 * MIB);
  CHECK_EQ(h_stat(handle).size, 3 * MIB);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(nulls_do_nothing) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *block = PSMalloc(handle, 32);
  CHECK(block != NULL);
  PSMdeinit(NULL);
  CHECK(PSMalloc(NULL, 100) == NULL);
  PSMfree(NULL, block);
  PSMfree(handle, NULL);
  PSMfree(NULL, NULL);
  CHECK_EQ(PSMgetError(NULL), -1);
  CHECK_EQ(PSMgetError(handle), 0);
  CHECK(PSMgetUser(NULL) == NULL);
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(size_zero_gives_a_block) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *block[100];
  for (int i = 0; i < 100; i++) {
    block[i] = PSMalloc(handle, 0);
    CHECK(block[i] != NULL && (uintptr_t)block[i] % 16 == 0);
    for (int j = 0; j < i; j++) CHECK(block[i] != block[j]);
  }
  CHECK_EQ(h_stat(handle).blocks, 100);
  for (int i = 0; i < 100; i++) PSMfree(handle, block[i]);
  CHECK_EQ(h_stat(handle).blocks, 0);
  PSMdeinit(handle);
}

CASE(user_bytes) {
  char *user = NULL;
  for (int round = 0; round < 2; round++) {
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    char *now = PSMgetUser(handle);
    CHECK(now != NULL && (uintptr_t)now % 8 == 0);
    CHECK_EQ(now - (char *)handle, 64);
    CHECK_PTR(PSMgetUser(handle), now);
    CHECK_EQ(*(uint64_t *)(void *)now, 0);
    memset(now, 0xff, 8);
    if (round) CHECK_PTR(user, now);
    user = now;
    CHECK_EQ(h_wait(h_spawn("user_bytes", h_shm_name(""), h_text("%p", (void *)user), NULL)), 0);
    CHECK_EQ(*(uint64_t *)(void *)now, 12345);
    h_sound(handle);
    PSMdeinit(handle);
  }
}
EXEC_CHILD(user_bytes) {
  PSMHandle handle = h_init(argv[0], MIB);
  void *expected = NULL;
  CHECK(sscanf(argv[1], "%p", &expected) == 1);
  CHECK_PTR(PSMgetUser(handle), expected);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), UINT64_MAX);
  *(uint64_t *)PSMgetUser(handle) = 12345;
  PSMdeinit(handle);
  return 0;
}

CASE(same_address_in_a_second_process) {
  size_t sizes[] = {30 * KIB, MIB, 16 * MIB, 256 * MIB};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    PSMHandle handle = h_init(h_shm_name(""), sizes[i]);
    void **root = PSMgetUser(handle);
    *root = PSMalloc(handle, 1000);
    CHECK(*root != NULL);
    h_fill(*root, 1000, 7);
    char *size = h_text("%zu", sizes[i]), *base = h_text("%p", (void *)handle);
    CHECK_EQ(h_wait(h_spawn("same_address", h_shm_name(""), size, base, NULL)), 0);
    CHECK(h_intact(*root, 1000, 8));
    PSMfree(handle, *root);
    CHECK_EQ(PSMgetError(handle), 0);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
  }
}
EXEC_CHILD(same_address) {
  PSMHandle handle = h_init(argv[0], strtoul(argv[1], NULL, 10));
  void *base = NULL;
  CHECK(sscanf(argv[2], "%p", &base) == 1);
  CHECK_PTR(handle, base);
  void **root = PSMgetUser(handle);
  CHECK(h_intact(*root, 1000, 7));
  PSMfree(handle, *root);
  *root = PSMalloc(handle, 1000);
  CHECK(*root != NULL);
  h_fill(*root, 1000, 8);
  PSMdeinit(handle);
  return 0;
}

CASE(given_address) {
  PSMHandle probe = h_init(h_shm_name("probe"), 4 * MIB);
  char *address = h_vacant(32 * MIB);
  PSMHandle handle = NULL;
  PSMinit(h_shm_name(""), MIB, address, &handle);
  CHECK_PTR(handle, address);
  CHECK(PSMalloc(handle, 1000) != NULL);
  char *base = h_text("%p", (void *)address);
  CHECK_EQ(h_wait(h_spawn("given_address", h_shm_name(""), base, "1", NULL)), 0);
  CHECK_EQ(h_wait(h_spawn("given_address", h_shm_name(""),
                          h_text("%p", (void *)(address + 8 * MIB)), "0", NULL)),
           0);
  /* Taken, in part taken, and not aligned. */
  char *bad[] = {(char *)probe, (char *)probe + 4 * MIB - h_granule(),
                 (char *)probe - MIB + h_granule(), address + 16 * MIB + 100,
                 address + 16 * MIB + 512};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    PSMHandle other = (PSMHandle)(uintptr_t)1;
    PSMclearError();
    PSMinit(h_shm_name("2"), MIB, bad[i], &other);
    CHECK(other == NULL);
    CHECK(PSMlastError() == PSM_E_ADDRESS || (i >= 3 && PSMlastError() == PSM_E_INVALID));
    CHECK(!h_exists(h_shm_path("2")));
  }
  h_sound(probe);
  PSMdeinit(handle);
  PSMdeinit(probe);
}
EXEC_CHILD(given_address) {
  void *base = NULL;
  CHECK(sscanf(argv[1], "%p", &base) == 1);
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  PSMclearError();
  PSMinit(argv[0], MIB, base, &handle);
  if (argv[2][0] == '0') {
    CHECK(handle == NULL);
    CHECK_EQ(PSMlastError(), PSM_E_ADDRESS);
    return 0;
  }
  CHECK_PTR(handle, base);
  PSMdeinit(handle);
  return 0;
}

CASE(small_segment_holds_a_block) {
  PSMHandle handle = h_init(h_shm_name(""), 30 * KIB);
  CHECK(PSMgetUser(handle) != NULL);
  for (int round = 0; round < 100; round++) {
    void *block = PSMalloc(handle, KIB);
    CHECK(block != NULL);
    h_fill(block, KIB, 3);
    PSMfree(handle, block);
  }
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(every_small_size_works_or_is_refused) {
  int refused = 0;
  for (size_t size = 64; size <= 64 * KIB; size += 64) {
    PSMHandle handle = (PSMHandle)(uintptr_t)1;
    PSMclearError();
    PSMinit(h_shm_name(""), size, NULL, &handle);
    if (!handle) {
      CHECK(size < 30 * KIB);
      CHECK_EQ(PSMlastError(), PSM_E_SIZE);
      CHECK(!h_exists(h_shm_path("")));
      refused++;
      continue;
    }
    PSMStat stat = h_stat(handle);
    CHECK_EQ(stat.size, size);
    void *block = PSMalloc(handle, 16);
    CHECK(block != NULL);
    CHECK((char *)block >= (char *)handle && (char *)block + 16 <= (char *)handle + size);
    h_fill(block, 16, size);
    if (size >= 30 * KIB) {
      void *big = PSMalloc(handle, KIB);
      CHECK(big != NULL && (char *)big + KIB <= (char *)handle + size);
      h_fill(big, KIB, size);
      PSMfree(handle, big);
    }
    CHECK(h_intact(block, 16, size));
    PSMfree(handle, block);
    h_sound(handle);
    PSMdeinit(handle);
  }
  CHECK(refused > 0);
}

CASE(nine_blocks_of_105_kib_fit_into_1_mib) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int round = 0; round < 3; round++) {
    void *block[9];
    for (int i = 0; i < 9; i++) {
      block[i] = PSMalloc(handle, 105 * KIB);
      CHECK(block[i] != NULL);
      h_fill(block[i], 105 * KIB, (uint64_t)i);
    }
    CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalloc(handle, 105 * KIB) == NULL));
    CHECK_EQ(PSMgetError(handle), 0);
    for (int i = 0; i < 9; i++) {
      CHECK(h_intact(block[i], 105 * KIB, (uint64_t)i));
      PSMfree(handle, block[(i * 4) % 9]);
      block[(i * 4) % 9] = PSMalloc(handle, 105 * KIB);
      CHECK(block[(i * 4) % 9] != NULL);
      h_fill(block[(i * 4) % 9], 105 * KIB, (uint64_t)((i * 4) % 9));
    }
    for (int i = 0; i < 9; i++) PSMfree(handle, block[i]);
    h_sound(handle);
  }
  PSMdeinit(handle);
}

CASE(every_size_in_1_mib) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  size_t largest = h_largest(handle);
  CHECK(largest >= 900 * KIB);
  for (size_t size = 0; size <= MIB; size += size < 8 * KIB ? 1 : 991) {
    PSMclearError();
    char *block = PSMalloc(handle, size);
    if (size <= largest) CHECK(block != NULL);
    if (!block) {
      CHECK_EQ(PSMlastError(), PSM_E_NOMEM);
      continue;
    }
    CHECK((uintptr_t)block % 16 == 0);
    CHECK(block > (char *)handle && block + size <= (char *)handle + MIB);
    CHECK(PSMusableSize(handle, block) >= size);
    if (size) block[0] = 1, block[size - 1] = 2;
    PSMfree(handle, block);
    CHECK_EQ(PSMlastError(), 0);
  }
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(last_deinit_removes_the_file) {
  PSMHandle handle = h_init(h_path("segment"), MIB);
  CHECK(h_exists(h_path("segment")));
  h_gate ready = h_gate_new(), go = h_gate_new();
  pid_t child =
      h_spawn("leave_later", h_path("segment"), h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  PSMdeinit(handle);
  CHECK(h_exists(h_path("segment")));
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  CHECK(!h_exists(h_path("segment")));
}
EXEC_CHILD(leave_later) {
  PSMHandle handle = h_init(argv[0], MIB);
  h_gate_open(h_gate_from(argv[1]));
  h_gate_pass(h_gate_from(argv[2]));
  CHECK(PSMalloc(handle, 100) != NULL);
  PSMdeinit(handle);
  return 0;
}

CASE(relative_name_and_chdir) {
  CHECK(chdir(h_directory) == 0);
  CHECK(h_mkdir("inner"));
  PSMHandle handle = h_init("segment", MIB);
  CHECK(h_exists(h_path("segment")));
  CHECK(chdir("inner") == 0);
  /* The name is now another file's, and that other segment is apart. */
  PSMHandle other = h_init("segment", MIB);
  CHECK(other != handle);
  CHECK(h_exists(h_path("inner/segment")));
  PSMdeinit(handle);
  CHECK(!h_exists(h_path("segment")) && h_exists(h_path("inner/segment")));
  CHECK(chdir("/") == 0);
  PSMdeinit(other);
  CHECK(!h_exists(h_path("inner/segment")));
}

CASE(sentences_and_version) {
  for (int code = PSM_OWNER_DIED; code >= PSM_E_SYSTEM; code--) {
    const char *sentence = PSMerrorString(code);
    CHECK(sentence != NULL && strlen(sentence) > 5);
    char *copy = h_text("%s", sentence);
    for (int other = PSM_OWNER_DIED; other > code; other--)
      CHECK(strcmp(copy, PSMerrorString(other)) != 0);
  }
  CHECK(PSMerrorString(12345) != NULL && PSMerrorString(-12345) != NULL);
  CHECK_EQ(PSMlastError(), 0);
  PSMHandle handle;
  PSMinit(h_path("none/segment"), MIB, NULL, &handle);
  CHECK(PSMlastError() < 0);
  CHECK(strstr(PSMerrorString(PSMlastError()), "none/segment") != NULL);
  PSMclearError();
  CHECK_EQ(PSMlastError(), 0);
  char *version = h_text("%d.%d.%d", PSM_VERSION_MAJOR, PSM_VERSION_MINOR, PSM_VERSION_PATCH);
  CHECK(strcmp(PSMversion(), version) == 0);
}
