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

/* Fill the segment to the last block: whole units first, then what is left of
 * the slabs that lost blocks are in. Stamps tell if any byte was given twice. */
static void fill(const struct scene *scene, const struct used *lost) {
  static struct live blocks[BLOCKS];
  PSMStat stat;
  must(PSMstat(scene->handle, &stat), "PSMstat");
  uint32_t count = exhaust(scene, stat.unit, blocks, BLOCKS);
  uint32_t expected = scene->units;
  for (uint32_t i = 0; i < lost->count; i++) {
    struct live gone = lost->blocks[i];
    stamp(gone);
    expected -= gone.size > stat.small_max ? (uint32_t)(gone.size / stat.unit) : 1;
    if (gone.size > stat.small_max) continue;
    uint32_t more = exhaust(scene, gone.size, blocks + count, BLOCKS - count);
    if (more != stat.unit / gone.size - 1)
      scene_fail("a slab of blocks of %zu bytes holds %u besides the lost one, not %u", gone.size,
                 more, (uint32_t)(stat.unit / gone.size) - 1);
    count += more;
    expected += more;
  }
  if (count != expected) scene_fail("%u blocks fill the segment, not %u", count, expected);
  for (uint32_t i = 0; i < lost->count; i++)
    if (!intact(lost->blocks[i], 0)) scene_fail("a lost block was given out");
  for (uint32_t i = 0; i < count; i++) {
    if (!intact(blocks[i], 0)) scene_fail("a block was given out twice");
    PSMfree(scene->handle, blocks[i].block);
  }
}

void scene_measure(struct scene *scene) {
  static struct live blocks[BLOCKS];
  PSMStat stat;
  PSMinit(scene->name, scene->size, NULL, &scene->handle);
  must(PSMstat(scene->handle, &stat), "PSMstat");
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
  static struct used used;
  PSMMember dead[16];
  uint64_t cursor = 0;
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
  account(scene, &used, limits.moves);
  check_sound(scene, "freed");
  if (used.count > limits.lost)
    scene_fail("%u blocks are lost, the first of %zu bytes", used.count, used.blocks[0].size);
  fill(scene, &used);
  check_sound(scene, "filled and emptied");
  leave(scene, limits.kept);
  return used.count;
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
