/* Build a scene, and judge what is left of it. */
#define _GNU_SOURCE
#include "scene.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 4096 };

static uint64_t stamp_of(const void *block, size_t at) {
  return ((uintptr_t)block + at) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Fill a block with what tells it from all others. */
static void stamp(struct live live) {
  for (size_t at = 0; at + 8 <= live.size; at += 8) {
    uint64_t word = stamp_of(live.block, at);
    memcpy(live.block + at, &word, 8);
  }
}

/* The words of the application in it, which operations write, come first. */
static bool intact(struct live live, size_t from) {
  for (size_t at = from; at + 8 <= live.size; at += 8) {
    uint64_t word = stamp_of(live.block, at);
    if (memcmp(live.block + at, &word, 8) != 0) return false;
  }
  return true;
}

void *scene_live(struct scene *scene, size_t size) {
  struct live live = {PSMalloc(scene->handle, size), size};
  if (live.block == NULL)
    scene_fail("no block of %zu bytes: %s", size, PSMerrorString(PSMlastError()));
  if (scene->count == LIVES) scene_fail("too many blocks for a scene");
  stamp(live);
  scene->lives[scene->count++] = live;
  return live.block;
}

void scene_target(struct scene *scene, size_t size) {
  scene->target = (struct live){scene_live(scene, size), size};
  scene->count--;
}

void scene_free_first(struct scene *scene, uint32_t from, uint32_t count) {
  for (uint32_t i = from; i < from + count; i++) PSMfree(scene->handle, scene->lives[i].block);
  memmove(scene->lives + from, scene->lives + from + count,
          (scene->count - from - count) * sizeof *scene->lives);
  scene->count -= count;
}

/* ---- Judgement ---- */

static void must(int result, const char *what) {
  if (result < 0) scene_fail("%s: %s", what, PSMerrorString(result));
}

static void check_sound(const struct scene *scene, const char *when) {
  if (PSMcheck(scene->handle) != PSM_OK) scene_fail("%s: %s", when, PSMerrorString(PSMlastError()));
  if (PSMgetError(scene->handle) != PSM_OK) scene_fail("%s: the segment is marked corrupt", when);
}

/* Nobody may have to wait for the dead, or need to reap them first. */
static void use_at_once(const struct scene *scene) {
  static const size_t sizes[] = {64, 1000, 16, 9000, 64};
  void *blocks[sizeof sizes / sizeof *sizes];
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    blocks[i] = PSMalloc(scene->handle, sizes[i]);
    if (blocks[i] != NULL) memset(blocks[i], 0x11, sizes[i]);
  }
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) PSMfree(scene->handle, blocks[i]);
  if (scene->lock == NULL) return;
  must(PSMlock(scene->handle, scene->lock), "the application's lock");
  must(PSMunlock(scene->handle, scene->lock), "the application's lock");
}

/* What the dead published is freed and its memory used again before they are reaped. */
static void take_back(struct scene *scene) {
  must(PSMfreeFrom(scene->handle, scene->where), "PSMfreeFrom");
  for (int i = 0; i < 3; i++) (void)scene_live(scene, 64);
}

struct used {
  struct live blocks[BLOCKS];
  uint32_t count;
};

static void walk(const struct scene *scene, struct used *used) {
  PSMBlock block = {NULL, 0};
  int more;
  used->count = 0;
  while ((more = PSMwalk(scene->handle, &block)) == 1) {
    if (used->count == BLOCKS) scene_fail("the walk does not end");
    used->blocks[used->count++] = (struct live){block.address, (size_t)block.size};
  }
  must(more, "PSMwalk");
}

/* Take a block out of those that are used; false if it is not there. */
static bool used_take(struct used *used, const void *block, struct live *taken) {
  for (uint32_t i = 0; i < used->count; i++) {
    if (used->blocks[i].block != block) continue;
    *taken = used->blocks[i];
    used->blocks[i] = used->blocks[--used->count];
    return true;
  }
  return false;
}

/* What is used must be live, or the one thing that was in flight. Leaves the
 * lost blocks in `used`, and frees all others. */
static void account(const struct scene *scene, struct used *used, bool moves) {
  struct live taken;
  void *published = scene->where != NULL ? *scene->where : NULL;
  bool found = scene->target.block != NULL && used_take(used, scene->target.block, &taken);
  if (found && !intact(scene->target, 0)) scene_fail("the block in flight was overwritten");
  bool reachable = moves || published == scene->target.block;
  if (found && !reachable) used->blocks[used->count++] = taken;
  if (found && reachable) PSMfree(scene->handle, taken.block);
  if (published != NULL && published != scene->target.block) {
    if (!used_take(used, published, &taken)) scene_fail("a block that is free was published");
    PSMfree(scene->handle, taken.block);
  } else if (published != NULL && !found) {
    scene_fail("a block that was freed is still published");
  }
  for (uint32_t i = 0; i < scene->count; i++) {
    struct live live = scene->lives[i];
    size_t words = (void *)live.block == (void *)scene->where ? sizeof *scene->where : 0;
    if ((void *)live.block == (void *)scene->lock) words = 2 * sizeof *scene->lock;
    if (!used_take(used, live.block, &taken))
      scene_fail("a live block of %zu bytes is free", live.size);
    if (taken.size < live.size) scene_fail("a live block has shrunk");
    if (!intact(live, words)) scene_fail("a live block of %zu bytes was overwritten", live.size);
    PSMfree(scene->handle, live.block);
  }
}

/* Allocate until there is no more; the blocks are stamped. */
static uint32_t exhaust(const struct scene *scene, size_t size, struct live *blocks,
                        uint32_t room) {
  uint32_t count = 0;
  void *block;
  PSMclearError();
  while ((block = PSMalloc(scene->handle, size)) != NULL) {
    if (count == room) scene_fail("there are more blocks than the segment can hold");
    blocks[count] = (struct live){block, size};
    stamp(blocks[count++]);
  }
  if (PSMlastError() != PSM_E_NOMEM) scene_fail("full: %s", PSMerrorString(PSMlastError()));
  return count;
}

/* More small blocks than slots and magazines hold: what was reaped, and was not to be,
 * is among them. */
static void take_more(const struct scene *scene, struct used *more) {
  static const struct {
    size_t size;
    uint32_t count;
  } wanted[] = {{64, 150}, {1000, 40}};
  more->count = 0;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    for (uint32_t left = wanted[i].count; left > 0; left--) {
      struct live live = {PSMalloc(scene->handle, wanted[i].size), wanted[i].size};
      if (live.block == NULL) break;
      stamp(live);
      more->blocks[more->count++] = live;
    }
  }
}

static void give_more(const struct scene *scene, const struct used *more) {
  for (uint32_t i = 0; i < more->count; i++) {
    if (!intact(more->blocks[i], 0)) scene_fail("a block that was just had was overwritten");
    PSMclearError();
    PSMfree(scene->handle, more->blocks[i].block);
    if (PSMlastError() != PSM_OK) scene_fail("a block was given out twice");
  }
}

/* In how many units blocks lie; those of one unit follow each other. */
static uint32_t units_of(const struct live *blocks, uint32_t count, size_t unit) {
  uint32_t units = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t other = 0;
    while (other < i && (uintptr_t)blocks[other].block / unit != (uintptr_t)blocks[i].block / unit)
      other++;
    units += other == i;
  }
  return units;
}

/* Fill the segment to the last block: whole units first, then what is left of
 * the slabs that lost blocks are in. Stamps tell if any byte was given twice.
 *
 * Returns  how many small blocks are not to be had: those in `lost`, and those
 *          that are neither used nor free. */
static uint32_t fill(const struct scene *scene, const struct used *lost) {
  static struct live blocks[BLOCKS];
  PSMStat stat;
  must(PSMstat(scene->handle, &stat), "PSMstat");
  uint32_t count = exhaust(scene, stat.unit, blocks, BLOCKS);
  uint32_t slabs = scene->units - count;
  uint32_t missing = 0;
  for (uint32_t i = 0; i < lost->count; i++) {
    stamp(lost->blocks[i]);
    if (lost->blocks[i].size > stat.small_max)
      slabs -= (uint32_t)(lost->blocks[i].size / stat.unit);
  }
  for (int i = 0; slabs != 0 && scene->sizes[i] != 0; i++) {
    uint32_t more = exhaust(scene, scene->sizes[i], blocks + count, BLOCKS - count);
    uint32_t units = units_of(blocks + count, more, stat.unit);
    missing += units * (uint32_t)(stat.unit / scene->sizes[i]) - more;
    count += more;
    slabs -= units;
  }
  if (slabs != 0) scene_fail("%d units cannot be filled", (int)slabs);
  for (uint32_t i = 0; i < lost->count; i++)
    if (!intact(lost->blocks[i], 0)) scene_fail("a lost block was given out");
  for (uint32_t i = 0; i < count; i++) {
    if (!intact(blocks[i], 0)) scene_fail("a block was given out twice");
    PSMfree(scene->handle, blocks[i].block);
  }
  return missing;
}

/* All that nobody can reach: what is used, and what is neither used nor free. */
static uint32_t lost_count(const struct scene *scene, const struct used *lost) {
  uint32_t larges = 0;
  for (uint32_t i = 0; i < lost->count; i++) {
    int small = 0;
    while (scene->sizes[small] != 0 && scene->sizes[small] != lost->blocks[i].size) small++;
    larges += scene->sizes[small] == 0;
  }
  uint32_t smalls = fill(scene, lost);
  if (smalls + larges < lost->count) scene_fail("a block that is used can be had");
  return smalls + larges;
}

static void sizes_find(struct scene *scene, size_t small_max) {
  size_t last = 0;
  for (int i = 0; last < small_max; i++) {
    void *block = PSMalloc(scene->handle, last + 1);
    if (block == NULL || i == SIZES - 1) scene_fail("the sizes of blocks cannot be found");
    scene->sizes[i] = last = PSMusableSize(scene->handle, block);
    PSMfree(scene->handle, block);
  }
}

void scene_measure(struct scene *scene) {
  static struct live blocks[BLOCKS];
  PSMStat stat;
  PSMinit(scene->name, scene->size, NULL, &scene->handle);
  must(PSMstat(scene->handle, &stat), "PSMstat");
  sizes_find(scene, stat.small_max);
  scene->units = exhaust(scene, stat.unit, blocks, BLOCKS);
  PSMdeinit(scene->handle);
}

static void leave(const struct scene *scene, bool kept) {
  struct stat status;
  char path[128];
  PSMdeinit(scene->handle);
  (void)snprintf(path, sizeof path, "/dev/shm/%s", scene->name + strlen("shm:"));
  if (kept && unlink(path) != 0) scene_fail("the file should have been kept");
  if (stat(path, &status) == 0) scene_fail("the last member has left, and the file is there");
}

uint32_t scene_judge(struct scene *scene, struct limits limits) {
  static struct used used, more;
  PSMMember dead[16];
  uint64_t cursor = 0;
  if (limits.takes) take_back(scene);
  use_at_once(scene);
  check_sound(scene, "at once");
  must(PSMreap(scene->handle), "PSMreap");
  int told = PSMdeaths(scene->handle, &cursor, dead, 16);
  must(told, "PSMdeaths");
  if ((uint32_t)told < limits.deaths) scene_fail("%d deaths are told, not %u", told, limits.deaths);
  if (PSMdeaths(scene->handle, &cursor, dead, 16) != 0) scene_fail("a death is told twice");
  if (PSMmembers(scene->handle, NULL, 0) != 1) scene_fail("a dead member is still on the list");
  check_sound(scene, "reaped");
  walk(scene, &used);
  take_more(scene, &more);
  account(scene, &used, limits.moves);
  give_more(scene, &more);
  check_sound(scene, "freed");
  if (used.count > limits.lost)
    scene_fail("%u blocks are lost, the first of %zu bytes", used.count, used.blocks[0].size);
  uint32_t lost = lost_count(scene, &used);
  if (lost > limits.lost)
    scene_fail("%u blocks are lost, %u of them neither used nor free", lost, lost - used.count);
  check_sound(scene, "filled and emptied");
  leave(scene, limits.kept);
  return lost;
}

static const struct scene *scene_told;

void scene_tell(const struct scene *scene) { scene_told = scene; }

void scene_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vfprintf(stderr, format, arguments);
  va_end(arguments);
  (void)fprintf(stderr, "\n  in the round:%s\n", scene_told != NULL ? scene_told->round : "");
  _exit(1);
}
