/* Every way to allocate, and every way to look at what is allocated. */
#include "harness.h"

CASE(calloc_is_zero) {
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  uint64_t seed = h_seed;
  for (int round = 0; round < h_rounds(2000); round++) {
    size_t size = h_below(&seed, 10) ? h_below(&seed, 3000) : h_below(&seed, 300 * KIB);
    size_t count = h_below(&seed, 4) + 1;
    unsigned char *block = PSMcalloc(handle, count, size);
    CHECK(block != NULL);
    for (size_t i = 0; i < count * size; i++) CHECK(block[i] == 0);
    memset(block, 0xee, PSMusableSize(handle, block));
    PSMfree(handle, block);
  }
  CHECK(PSMcalloc(handle, 0, 100) != NULL && PSMcalloc(handle, 100, 0) != NULL);
  size_t half = (size_t)1 << (sizeof(size_t) * 4);
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, half, half) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, half, half + 1) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, SIZE_MAX, 2) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, 3, SIZE_MAX / 2) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMcalloc(handle, 1, 5 * MIB) == NULL));
  CHECK(PSMcalloc(NULL, 1, 1) == NULL);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(realloc_keeps_the_content) {
  PSMHandle handle = h_init(h_shm_name(""), 8 * MIB);
  uint64_t seed = h_seed;
  char *block = PSMrealloc(handle, NULL, 10);
  CHECK(block != NULL);
  size_t size = 10;
  h_fill(block, size, 0);
  for (int round = 1; round < h_rounds(3000); round++) {
    size_t next = h_below(&seed, 3) ? h_below(&seed, 2000) : h_below(&seed, 600 * KIB);
    char *copy = malloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, block, size);
    char *moved = PSMrealloc(handle, block, next);
    CHECK(moved != NULL && (uintptr_t)moved % 16 == 0);
    CHECK(memcmp(moved, copy, size < next ? size : next) == 0);
    free(copy);
    CHECK(PSMusableSize(handle, moved) >= next);
    if (moved != block) CHECK_REFUSED(CHECK(PSMusableSize(handle, block) == 0));
    block = moved, size = next;
    h_fill(block, size, (uint64_t)round);
    CHECK_EQ(h_stat(handle).blocks, 1);
  }
  PSMfree(handle, block);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(realloc_in_place_and_failing) {
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  /* Within the usable size a block stays where it is. */
  char *block = PSMalloc(handle, 100);
  CHECK(block != NULL);
  CHECK_PTR(PSMrealloc(handle, block, PSMusableSize(handle, block)), block);
  PSMfree(handle, block);
  /* A large block grows into free space behind it, and shrinks. */
  block = PSMalloc(handle, MIB);
  CHECK(block != NULL);
  h_fill(block, MIB, 5);
  size_t free_before = (size_t)h_stat(handle).free;
  CHECK_PTR(PSMrealloc(handle, block, 300 * KIB), block);
  CHECK((size_t)h_stat(handle).free >= free_before + 700 * KIB);
  CHECK(h_intact(block, 300 * KIB, 5));
  CHECK_PTR(PSMrealloc(handle, block, 2 * MIB), block);
  CHECK(h_intact(block, 300 * KIB, 5));
  /* What cannot be had leaves the block as it was. */
  h_fill(block, 2 * MIB, 6);
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMrealloc(handle, block, 5 * MIB) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMrealloc(handle, block, SIZE_MAX) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMrealloc(handle, NULL, 5 * MIB) == NULL));
  CHECK(h_intact(block, 2 * MIB, 6));
  CHECK(PSMrealloc(NULL, block, 10) == NULL);
  /* Size 0 is a small block, not a free. */
  block = PSMrealloc(handle, block, 0);
  CHECK(block != NULL && PSMusableSize(handle, block) < KIB);
  CHECK_EQ(h_stat(handle).blocks, 1);
  PSMfree(handle, block);
  CHECK_SETS(PSM_E_DOUBLE_FREE, CHECK(PSMrealloc(handle, block, 100) == NULL));
  block = PSMalloc(handle, 200 * KIB);
  CHECK(block != NULL);
  CHECK_SETS(PSM_E_POINTER, CHECK(PSMrealloc(handle, block + 16, 100) == NULL));
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(aligned) {
  PSMHandle handle = h_init(h_shm_name(""), 128 * MIB);
  size_t sizes[] = {0, 1, 15, 16, 17, 63, 100, 1000, 4095, 5000, 33333, 70001, 500 * KIB, 3 * MIB};
  for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
    void *blocks[14];
    for (size_t i = 0; i < 14; i++) {
      blocks[i] = PSMalignedAlloc(handle, alignment, sizes[i]);
      CHECK(blocks[i] != NULL);
      CHECK((uintptr_t)blocks[i] % alignment == 0 && (uintptr_t)blocks[i] % 16 == 0);
      CHECK(PSMusableSize(handle, blocks[i]) >= sizes[i]);
      h_fill(blocks[i], sizes[i], alignment + i);
    }
    CHECK_EQ(h_stat(handle).blocks, 14);
    for (size_t i = 0; i < 14; i++) {
      CHECK(h_intact(blocks[i], sizes[i], alignment + i));
      CHECK_SETS(0, PSMfree(handle, blocks[i]));
    }
    CHECK_EQ(h_stat(handle).blocks, 0);
  }
  size_t bad[] = {0, 3, 24, 100, 4097, SIZE_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK_SETS(PSM_E_INVALID, CHECK(PSMalignedAlloc(handle, bad[i], 100) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalignedAlloc(handle, SIZE_MAX / 4 + 1, 100) == NULL));
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalignedAlloc(handle, 4096, SIZE_MAX - 100) == NULL));
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(alloc_to_and_free_from) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void **table = PSMcalloc(handle, 100, sizeof *table);
  CHECK(table != NULL);
  for (size_t i = 0; i < 100; i++) {
    size_t size = i % 10 ? i * 10 : 5000 * (i / 50 + 1);
    CHECK_EQ(PSMallocTo(handle, size, &table[i]), 0);
    CHECK(table[i] != NULL && PSMusableSize(handle, table[i]) >= size);
    h_fill(table[i], size, i);
  }
  CHECK_EQ(h_stat(handle).blocks, 101);
  void *second = table[2];
  for (size_t i = 0; i < 100; i += 2) {
    CHECK_EQ(PSMfreeFrom(handle, &table[i]), 0);
    CHECK(table[i] == NULL);
    CHECK_EQ(PSMfreeFrom(handle, &table[i]), 0); /* NULL: nothing */
  }
  CHECK_EQ(h_stat(handle).blocks, 51);
  /* What it replaces is not freed. */
  void *old = table[1];
  CHECK_EQ(PSMallocTo(handle, 100, &table[1]), 0);
  CHECK(table[1] != old);
  CHECK_SETS(0, PSMfree(handle, old));
  /* Failures leave the place alone. */
  old = table[1];
  CHECK_EQ(PSMallocTo(handle, 2 * MIB, &table[1]), PSM_E_NOMEM);
  CHECK_PTR(table[1], old);
  void *outside = old, *null = NULL;
  CHECK_EQ(PSMallocTo(handle, 100, &outside), PSM_E_INVALID);
  CHECK_PTR(outside, old);
  CHECK_EQ(PSMallocTo(handle, 100, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMallocTo(handle, 100, (void **)(void *)((char *)&table[1] + sizeof(void *) / 2)),
           PSM_E_INVALID);
  CHECK_EQ(PSMfreeFrom(handle, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMfreeFrom(handle, &null), PSM_E_INVALID);
  CHECK_EQ(PSMfreeFrom(handle, &outside), PSM_E_INVALID);
  CHECK_EQ(PSMfreeFrom(handle, (void **)(void *)((char *)&table[1] + sizeof(void *) / 2)),
           PSM_E_INVALID);
  CHECK_EQ(PSMallocTo(NULL, 100, &table[1]), PSM_E_HANDLE);
  CHECK_EQ(PSMfreeFrom(NULL, &table[1]), PSM_E_HANDLE);
  table[2] = second; /* freed already */
  CHECK_EQ(PSMfreeFrom(handle, &table[2]), PSM_E_DOUBLE_FREE);
  CHECK_PTR(table[2], second);
  table[2] = (char *)table[1] + 8;
  CHECK_EQ(PSMfreeFrom(handle, &table[2]), PSM_E_POINTER);
  CHECK_PTR(table[2], (char *)table[1] + 8);
  CHECK_EQ(h_stat(handle).blocks, 51);
  /* The user bytes are such a place too. */
  CHECK_EQ(PSMallocTo(handle, 100, PSMgetUser(handle)), 0);
  CHECK_EQ(PSMfreeFrom(handle, PSMgetUser(handle)), 0);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(addresses) {
  PSMHandle handle = h_init(h_shm_name(""), MIB), other = h_init(h_shm_name("2"), MIB);
  char *block = PSMalloc(handle, 1000);
  CHECK(block != NULL);
  for (char *p = block; p < block + 1000; p++) {
    uint64_t offset = PSMoffset(handle, p);
    CHECK_EQ(offset, p - (char *)handle);
    CHECK_PTR(PSMaddress(handle, offset), p);
    CHECK_PTR(PSMsegmentOf(p), handle);
  }
  CHECK_EQ(PSMoffset(handle, NULL), 0);
  CHECK(PSMaddress(handle, 0) == NULL);
  CHECK_EQ(PSMoffset(handle, (char *)handle + MIB - 1), MIB - 1);
  CHECK_SETS(PSM_E_POINTER, CHECK_EQ(PSMoffset(handle, (char *)handle + MIB), 0));
  CHECK_SETS(PSM_E_POINTER, CHECK_EQ(PSMoffset(handle, (char *)handle - 1), 0));
  CHECK_SETS(PSM_E_POINTER, CHECK_EQ(PSMoffset(handle, &block), 0));
  CHECK_SETS(PSM_E_POINTER, CHECK_EQ(PSMoffset(other, block), 0));
  CHECK_SETS(PSM_E_POINTER, CHECK(PSMaddress(handle, MIB) == NULL));
  CHECK_SETS(PSM_E_POINTER, CHECK(PSMaddress(handle, UINT64_MAX) == NULL));
  CHECK(PSMsegmentOf(NULL) == NULL && PSMsegmentOf(&block) == NULL);
  CHECK(PSMsegmentOf((char *)handle - 1) != handle && PSMsegmentOf((char *)handle + MIB) != handle);
  CHECK_PTR(PSMsegmentOf(handle), handle);
  CHECK_PTR(PSMsegmentOf((char *)other + MIB - 1), other);
  PSMdeinit(other);
  CHECK(PSMsegmentOf(other) == NULL);
  CHECK_SETS(PSM_E_HANDLE, CHECK_EQ(PSMoffset(other, block), 0));
  PSMdeinit(handle);
}

/* ---- A model: what must be allocated, in the order of addresses ------------- */

typedef struct {
  char *at;
  size_t size;
  uint64_t seed;
} held;
enum { MODEL_MAX = 4000 };
static struct {
  held block[MODEL_MAX];
  size_t count;
} model;

static size_t model_place(const char *at) /* of the first one not below */
{
  size_t low = 0, high = model.count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (model.block[middle].at < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void model_add(char *at, size_t size, uint64_t seed) {
  size_t i = model_place(at), room = size ? size : 1;
  CHECK(model.count < MODEL_MAX);
  if (i < model.count) CHECK(at + room <= model.block[i].at);
  if (i > 0)
    CHECK(model.block[i - 1].at + (model.block[i - 1].size ? model.block[i - 1].size : 1) <= at);
  memmove(&model.block[i + 1], &model.block[i], (model.count++ - i) * sizeof(held));
  model.block[i] = (held){at, size, seed};
  h_fill(at, size, seed);
}

static held model_remove(size_t i) {
  held block = model.block[i];
  CHECK(h_intact(block.at, block.size, block.seed));
  memmove(&model.block[i], &model.block[i + 1], (--model.count - i) * sizeof(held));
  return block;
}

static size_t a_size(uint64_t *seed) {
  switch (h_below(seed, 20)) {
    case 0:
      return h_below(seed, 200 * KIB);
    case 1:
      return h_below(seed, 20 * KIB);
    case 2:
      return (size_t)1 << h_below(seed, 17);
    default:
      return h_below(seed, 1000);
  }
}

static void compare_walk(PSMHandle handle) {
  PSMBlock block = {NULL, 0};
  size_t i = 0;
  uint64_t used = 0;
  int more;
  while ((more = PSMwalk(handle, &block)) == 1) {
    CHECK(i < model.count);
    CHECK_PTR(block.address, model.block[i].at);
    CHECK(block.size >= model.block[i].size);
    CHECK_EQ(block.size, PSMusableSize(handle, block.address));
    used += block.size;
    i++;
  }
  CHECK_EQ(more, 0);
  CHECK_EQ(i, model.count);
  PSMStat stat = h_stat(handle);
  CHECK_EQ(stat.blocks, model.count);
  CHECK_EQ(stat.used, used);
  CHECK(stat.used + stat.cached + stat.free <= stat.size - stat.metadata);
  CHECK(stat.largest <= stat.size - stat.metadata - stat.used);
  CHECK(stat.committed <= stat.size + stat.unit && stat.committed >= stat.used);
  h_sound(handle);
}

static void random_model(size_t size, int steps) {
  PSMHandle handle = h_init(h_shm_name(""), size);
  uint64_t seed = h_seed;
  size_t largest = h_largest(handle), target = 500;
  int refused = 0;
  for (int step = 0; step < steps; step++) {
    if (step % 1000 == 0) target = h_below(&seed, MODEL_MAX - 100);
    size_t chance = model.count < target ? 70 : 30, want = a_size(&seed);
    if (h_below(&seed, 100) < chance || !model.count) {
      char *block = PSMalloc(handle, want);
      if (block)
        model_add(block, want, h_random(&seed));
      else
        refused++, target = model.count / 2;
    } else if (h_below(&seed, 10)) {
      held gone = model_remove(h_below(&seed, model.count));
      CHECK_SETS(0, PSMfree(handle, gone.at));
    } else {
      held old = model_remove(h_below(&seed, model.count));
      char *block = PSMrealloc(handle, old.at, want);
      if (block) CHECK(h_intact(block, (old.size < want ? old.size : want) / 8 * 8, old.seed));
      model_add(block ? block : old.at, block ? want : old.size, old.seed);
    }
    if (step % 5000 == 0) compare_walk(handle);
  }
  compare_walk(handle);
  CHECK(refused < steps / 10);
  while (model.count) CHECK_SETS(0, PSMfree(handle, model_remove(h_below(&seed, model.count)).at));
  compare_walk(handle);
  CHECK_EQ(h_largest(handle), largest);
  PSMdeinit(handle);
}

CASE(random_model_256_kib) { random_model(256 * KIB, h_rounds(20000)); }
CASE(random_model_3_mib) { random_model(3 * MIB, h_rounds(40000)); }
CASE(random_model_100_mib) { random_model(100 * MIB, h_rounds(60000)); }

/* Fill with blocks of one size, and nothing is lost when all are free again. */
CASE(fill_and_free) {
  size_t segments[] = {30 * KIB, 64 * KIB, MIB, 5 * MIB};
  size_t sizes[] = {0, 16, 24, 100, 1000, 5000, 20000};
  static void *blocks[400000];
  for (size_t s = 0; s < 4; s++) {
    PSMHandle handle = h_init(h_shm_name(""), segments[s]);
    size_t largest = h_largest(handle), before = 0;
    PSMStat empty = h_stat(handle);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      size_t counts[2];
      for (int round = 0; round < 2; round++) {
        size_t n = 0;
        PSMclearError();
        while (n < 400000 && (blocks[n] = PSMalloc(handle, sizes[i])) != NULL)
          h_fill(blocks[n], sizes[i], n), n++;
        CHECK_EQ(PSMlastError(), PSM_E_NOMEM);
        CHECK_EQ(h_stat(handle).blocks, n);
        counts[round] = n;
        for (size_t j = 0; j < n; j++) {
          size_t k = (round ? n - 1 - j : j);
          CHECK(h_intact(blocks[k], sizes[i], k));
          CHECK_SETS(0, PSMfree(handle, blocks[k]));
        }
        h_sound(handle);
      }
      CHECK_EQ(counts[0], counts[1]);
      size_t room = (size_t)(empty.size - empty.metadata);
      if (sizes[i] >= 16 && sizes[i] <= 1000 && segments[s] >= MIB)
        CHECK(counts[0] * sizes[i] >= room * 7 / 10);
      CHECK(i == 0 || counts[0] <= before);
      before = counts[0];
    }
    CHECK_EQ(h_largest(handle), largest);
    PSMdeinit(handle);
  }
}

CASE(stat_is_exact) {
  PSMHandle handle = h_init(h_shm_name(""), 8 * MIB);
  PSMStat empty = h_stat(handle);
  CHECK_EQ(empty.size, 8 * MIB);
  CHECK_EQ(empty.blocks, 0);
  CHECK_EQ(empty.used, 0);
  CHECK_EQ(empty.members, 1);
  CHECK(empty.metadata > 0 && empty.metadata < MIB);
  CHECK(empty.unit >= 4096 && (empty.unit & (empty.unit - 1)) == 0);
  CHECK(empty.small_max >= 16 && empty.small_max < 8 * MIB);
  size_t largest = h_largest(handle);
  CHECK(empty.largest <= largest + 16 && largest <= empty.largest);
  void *small = PSMalloc(handle, 100), *large = PSMalloc(handle, 100 * KIB);
  CHECK(small && large);
  PSMStat stat = h_stat(handle);
  CHECK_EQ(stat.blocks, 2);
  CHECK_EQ(stat.used, PSMusableSize(handle, small) + PSMusableSize(handle, large));
  CHECK_EQ(stat.caches, 1);
  PSMfree(handle, small);
  PSMfree(handle, large);
  CHECK_EQ(h_stat(handle).used, 0);
  CHECK_EQ(PSMstat(handle, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMstat(NULL, &stat), PSM_E_HANDLE);
  PSMBlock block = {(char *)large + 1, 0};
  CHECK(PSMwalk(handle, &block) <= 0);
  CHECK_EQ(PSMwalk(handle, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMwalk(NULL, &block), PSM_E_HANDLE);
  CHECK_EQ(PSMcheck(NULL), PSM_E_HANDLE);
  block.address = &stat;
  CHECK_EQ(PSMwalk(handle, &block), PSM_E_POINTER);
  PSMdeinit(handle);
  /* Metadata is under 4 % of a large segment. */
  handle = h_init(h_shm_name(""), 256 * MIB);
  CHECK(h_stat(handle).metadata < 256 * MIB / 25);
  CHECK(h_stat(handle).committed < 16 * MIB); /* and not paid before it is used */
  PSMdeinit(handle);
}

CASE(trim_gives_memory_back) {
  PSMHandle handle = h_init(h_shm_name(""), 64 * MIB);
  void *block[50], *stays = PSMalloc(handle, 100);
  CHECK(stays != NULL);
  if (!h_can_punch(h_path("punch"))) {
    uint64_t none = 1;
    PSMfree(handle, PSMalloc(handle, MIB));
    CHECK_EQ(PSMtrim(handle, &none), 0);
    CHECK_EQ(none, 0);
    h_work(handle);
    h_sound(handle);
    SKIP("this system gives nothing back of a file that is mapped");
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 50; i++) {
      block[i] = PSMalloc(handle, MIB);
      CHECK(block[i] != NULL);
      h_fill(block[i], MIB, (uint64_t)i);
    }
    long long full = h_blocks_of(h_shm_path(""));
    CHECK(full * 512 >= (long long)(50 * MIB));
    for (int i = 0; i < 50; i++) PSMfree(handle, block[i]);
    uint64_t bytes = 0, committed = h_stat(handle).committed;
    CHECK_EQ(PSMtrim(handle, round == 1 ? NULL : &bytes), 0);
    CHECK(round == 1 || bytes >= 45 * MIB);
    CHECK(h_stat(handle).committed + 45 * MIB <= committed);
    CHECK(h_blocks_of(h_shm_path("")) * 512 < (long long)(8 * MIB));
    CHECK_EQ(PSMtrim(handle, &bytes), 0);
    CHECK(bytes < MIB);
    h_sound(handle);
  }
  CHECK_EQ(h_stat(handle).blocks, 1);
  CHECK_SETS(0, PSMfree(handle, stays));
  CHECK_EQ(PSMtrim(NULL, NULL), PSM_E_HANDLE);
  PSMdeinit(handle);
}

/* Where pages are larger than units, only whole pages of free units are given back. */
CASE(trim_gives_whole_pages) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  const size_t unit = h_stat(handle).unit, page = h_page_size();
  const size_t grain = page > unit ? page : unit, size = 3 * unit;
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  char *block[100];
  size_t count = 0;
  while (count < 100 && (block[count] = PSMalloc(handle, size)) != NULL) count++;
  CHECK(count > 50 && count < 100);
  if (!h_can_punch(h_path("punch")))
    SKIP("this system gives nothing back of a file that is mapped");
  uint64_t expected = 0, bytes = 0, committed = h_stat(handle).committed;
  for (size_t i = 0; i < count; i += 16) { /* runs of up to 15 blocks, and one that stays */
    size_t last = i + 15 < count ? i + 15 : count - 1;
    uintptr_t from = ((uintptr_t)block[i] + grain - 1) / grain * grain;
    uintptr_t to = (uintptr_t)block[last] / grain * grain;
    if (to > from) expected += to - from;
    for (size_t k = i; k < last; k++) PSMfree(handle, block[k]);
  }
  CHECK(expected > 0);
  CHECK_EQ(PSMtrim(handle, &bytes), 0);
  CHECK_EQ(bytes, expected);
  CHECK_EQ(h_stat(handle).committed, committed - expected);
  CHECK_EQ(PSMtrim(handle, &bytes), 0);
  CHECK_EQ(bytes, 0);
  CHECK(PSMalloc(handle, 14 * size) != NULL);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(usable_size) {
  PSMHandle handle = h_init(h_shm_name(""), 2 * MIB);
  for (size_t size = 0; size < 300 * KIB; size += 1 + size / 50) {
    void *block = PSMalloc(handle, size);
    CHECK(block != NULL);
    size_t usable = PSMusableSize(handle, block);
    CHECK(usable >= size && usable >= 1);
    CHECK(usable <= size + size / 4 + 64 || usable <= size + h_stat(handle).unit);
    h_fill(block, usable, size);
    CHECK(h_intact(block, usable, size));
    PSMfree(handle, block);
    CHECK_REFUSED(CHECK_EQ(PSMusableSize(handle, block), 0));
  }
  CHECK_SETS(PSM_E_POINTER, CHECK_EQ(PSMusableSize(handle, &handle), 0));
  CHECK_EQ(PSMusableSize(NULL, &handle), 0);
  h_sound(handle);
  PSMdeinit(handle);
}

/* A thread holds back the blocks of one group of each size at most. */
CASE(little_is_held_back) {
  enum { N = 10000 };
  static void *blocks[N];
  PSMHandle handle = h_init(h_shm_name(""), 64 * MIB);
  const size_t sizes[] = {16, 64, 100, 1000, 5000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const uint64_t before = h_stat(handle).cached;
    size_t usable = 0;
    for (int j = 0; j < N; j++) CHECK((blocks[j] = PSMalloc(handle, sizes[i])) != NULL);
    usable = PSMusableSize(handle, blocks[0]);
    for (int j = 0; j < N; j++) PSMfree(handle, blocks[j]);
    uint64_t cached = h_stat(handle).cached - before;
    CHECK(cached <= 64 * MIB / 32 + h_stat(handle).unit);
    CHECK(cached <= (1024 + 64) * usable);
    CHECK_EQ(h_stat(handle).blocks, 0);
  }
  PSMdeinit(handle);
}
