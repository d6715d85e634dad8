/* The table of operations, and what each of them needs. */
#define _GNU_SOURCE
#include "operations.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

/* Blocks of 64 and of 128 bytes that fill a slab of 4 KiB: one group. */
enum { GROUP = 64, GROUP_128 = 32 };

/* ---- Scenes ---- */

static void *words(struct scene *scene) { return memset(scene_live(scene, 64), 0, 8); }

static void some_blocks(struct scene *scene) {
  for (int i = 0; i < 3; i++) (void)scene_live(scene, 64);
  (void)scene_live(scene, 1000);
  (void)scene_live(scene, 9000);
}

/* Gaps for the slabs that workers open: what lies behind the last large block stays free. */
static void some_blocks_and_gaps(struct scene *scene) {
  enum { GAPS = 6 };
  void *gaps[GAPS];
  some_blocks(scene);
  for (int i = 0; i < GAPS; i++) {
    gaps[i] = PSMalloc(scene->handle, 5000);
    (void)scene_live(scene, 5000);
  }
  for (int i = 0; i < GAPS; i++) PSMfree(scene->handle, gaps[i]);
}

static void a_place(struct scene *scene) {
  some_blocks(scene);
  scene->where = words(scene);
}

static void a_lock(struct scene *scene) {
  some_blocks(scene);
  scene->lock = words(scene);
}

static void a_lock_of_the_dead(struct scene *scene) {
  a_lock(scene);
  pid_t owner = fork();
  if (owner == 0) _exit(PSMlock(scene->handle, scene->lock));
  if (waitpid(owner, NULL, 0) != owner) scene_fail("the owner of the lock was not waited for");
}

/* A slab whose only group nobody owns, with `left` of its blocks used. */
static void a_group_left(struct scene *scene, uint32_t left) {
  for (int i = 0; i < GROUP + 1; i++) (void)scene_live(scene, 64);
  scene_free_first(scene, 0, GROUP - left);
}

static void an_offered_group(struct scene *scene) { a_group_left(scene, 20); }

/* The block of the first slab that is freed by the worker. */
static void target_first(struct scene *scene) {
  scene->target = scene->lives[0];
  scene->lives[0] = scene->lives[--scene->count];
}

static void a_group_nearly_offered(struct scene *scene) {
  a_group_left(scene, GROUP - GROUP / 4 + 1);
  target_first(scene);
}

static void a_slab_nearly_empty(struct scene *scene) {
  a_group_left(scene, 1);
  target_first(scene);
}

static void anothers_target(struct scene *scene) {
  some_blocks(scene);
  scene_target(scene, 64);
}

static void a_large_between_free_runs(struct scene *scene) {
  for (int i = 0; i < 4; i++) (void)scene_live(scene, 9000);
  scene->target = scene->lives[1];
  PSMfree(scene->handle, scene->lives[0].block);
  PSMfree(scene->handle, scene->lives[2].block);
  scene->lives[0] = scene->lives[3];
  scene->count = 1;
}

static void a_large_that_shrinks(struct scene *scene) {
  scene_target(scene, 20000);
  scene->target.size = 5000;
}

static void a_large_before_a_block(struct scene *scene) {
  scene_target(scene, 9000);
  (void)scene_live(scene, 9000);
}

static void published_small(struct scene *scene) {
  a_place(scene);
  scene_target(scene, 64);
  *scene->where = scene->target.block;
}

static void published_large(struct scene *scene) {
  a_place(scene);
  scene_target(scene, 9000);
  *scene->where = scene->target.block;
}

static void much_to_trim(struct scene *scene) {
  some_blocks(scene);
  PSMfree(scene->handle, PSMalloc(scene->handle, 200000));
  (void)scene_live(scene, 9000);
}

/* ---- What a worker holds ---- */

static void holds_some(struct scene *scene) {
  (void)scene_live(scene, 64);
  (void)scene_live(scene, 16);
  (void)scene_live(scene, 300);
}

static void holds_a_cache(struct scene *scene) { (void)scene_live(scene, 16); }

static void holds_target(struct scene *scene) {
  holds_some(scene);
  scene_target(scene, 64);
}

static void holds_larger_target(struct scene *scene) {
  holds_some(scene);
  scene_target(scene, 1000);
}

static void holds_large_target(struct scene *scene) {
  holds_some(scene);
  scene_target(scene, 9000);
}

static void holds_a_used_group(struct scene *scene) {
  for (int i = 0; i < GROUP_128; i++) (void)scene_live(scene, 128);
}

static void frees_of_its_group(struct scene *scene) {
  uint32_t first = 0;
  while (scene->lives[first].size != 128) first++;
  scene_free_first(scene, first, GROUP_128 / 2);
}

static void holds_all(struct scene *scene) {
  PSMStat stat;
  (void)PSMstat(scene->handle, &stat);
  void *block;
  while ((block = PSMalloc(scene->handle, stat.unit)) != NULL) {
    PSMfree(scene->handle, block);
    (void)scene_live(scene, stat.unit);
  }
}

/* All units are taken; one is a slab of the worker's that is empty. */
static void holds_all_but_a_slab(struct scene *scene) {
  void *spare = PSMalloc(scene->handle, 128);
  holds_all(scene);
  PSMfree(scene->handle, spare);
}

/* ---- Operations ---- */

const struct operation plain_operations[] = {
    {"create", .run = run_open, .flags = ALONE | STRANGER},
    {"create over a dead creator's file", .run = run_open, .flags = ALONE | STRANGER,
     .after = {"create"}},
    {"join", .run = run_open, .flags = STRANGER, .arrange = some_blocks},
    {"join, kept and left", .run = run_open, .flags = ALONE | STRANGER | KEPT,
     .arrange = some_blocks},
    {"leave", .run = run_leave, .flags = LEAVES, .arrange = some_blocks, .prepare = holds_some},
    {"leave, the last one", .run = run_leave, .flags = ALONE | LEAVES, .arrange = some_blocks,
     .prepare = holds_some},
    {"alloc, a thread's first", .run = run_alloc, .arrange = some_blocks, .lost = 1},
    {"alloc, hit", .run = run_alloc, .arrange = some_blocks, .prepare = holds_some, .lost = 1},
    {"alloc, refill from the own group", .run = run_alloc_128, .arrange = some_blocks,
     .prepare = holds_a_used_group, .adjust = frees_of_its_group, .lost = 1},
    {"alloc, refill from another group", .run = run_alloc, .arrange = an_offered_group,
     .prepare = holds_a_cache, .lost = 1},
    {"alloc, opens a slab", .run = run_alloc_new, .arrange = some_blocks, .prepare = holds_some,
     .lost = 1},
    {"alloc, full but for an empty slab", .run = run_alloc, .flags = TIGHT,
     .prepare = holds_all_but_a_slab, .lost = 1},
    {"alloc, full", .run = run_alloc, .flags = TIGHT, .prepare = holds_all},
    {"alloc, without a cache", .run = run_alloc, .flags = TIGHT, .arrange = some_blocks, .lost = 1},
    {"alloc, large, splits", .run = run_alloc_large, .arrange = some_blocks, .prepare = holds_some,
     .lost = 1},
    {"free, own cache", .run = run_free, .arrange = some_blocks, .prepare = holds_target,
     .lost = 1},
    {"free, another's group", .run = run_free, .arrange = anothers_target, .prepare = holds_some,
     .lost = 1},
    {"free, offers a group", .run = run_free, .arrange = a_group_nearly_offered,
     .prepare = holds_a_cache, .lost = 1},
    {"free, empties a slab", .run = run_free, .arrange = a_slab_nearly_empty,
     .prepare = holds_a_cache, .lost = 1},
    {"free, without a cache", .run = run_free, .flags = TIGHT, .arrange = anothers_target,
     .lost = 1},
    {"free, large, joins both sides", .run = run_free, .arrange = a_large_between_free_runs,
     .prepare = holds_a_cache, .lost = 1},
    {"realloc, in place", .run = run_realloc_same, .arrange = some_blocks,
     .prepare = holds_larger_target, .moves = true},
    {"realloc, moving", .run = run_realloc_moving, .arrange = some_blocks, .prepare = holds_target,
     .lost = 1, .moves = true},
    {"realloc, large, grows", .run = run_realloc_growing, .arrange = some_blocks_and_gaps,
     .prepare = holds_large_target, .moves = true},
    {"realloc, large, grows by a unit", .run = run_realloc_growing_by_a_unit,
     .arrange = some_blocks, .prepare = holds_large_target, .moves = true},
    {"realloc, large, shrinks", .run = run_realloc_shrinking, .arrange = a_large_that_shrinks,
     .prepare = holds_a_cache, .moves = true},
    {"realloc, large, moves", .run = run_realloc_growing, .arrange = a_large_before_a_block,
     .prepare = holds_a_cache, .lost = 1, .moves = true},
    {"aligned alloc", .run = run_aligned, .arrange = some_blocks, .prepare = holds_some, .lost = 1},
    {"aligned alloc, large", .run = run_aligned_large, .arrange = some_blocks,
     .prepare = holds_some, .lost = 1},
    {"calloc", .run = run_calloc, .arrange = some_blocks, .prepare = holds_some, .lost = 1},
    {"PSMallocTo, hit", .run = run_alloc_to, .arrange = a_place, .prepare = holds_some},
    {"PSMallocTo, opens a slab", .run = run_alloc_to_new, .arrange = a_place,
     .prepare = holds_some},
    {"PSMallocTo, large", .run = run_alloc_to_large, .arrange = a_place, .prepare = holds_some},
    {"PSMallocTo, without a cache", .run = run_alloc_to, .flags = TIGHT, .arrange = a_place},
    {"PSMfreeFrom", .run = run_free_from, .arrange = published_small, .prepare = holds_some,
     .lost = 1},
    {"PSMfreeFrom, large", .run = run_free_from, .arrange = published_large, .prepare = holds_some,
     .lost = 1},
    {"trim", .run = run_trim, .arrange = much_to_trim, .prepare = holds_a_cache},
    {"lock, unlock", .run = run_lock, .arrange = a_lock, .prepare = holds_a_cache},
    {"trylock, unlock", .run = run_trylock, .arrange = a_lock, .prepare = holds_a_cache},
    {"trylock, of the dead", .run = run_trylock, .arrange = a_lock_of_the_dead,
     .prepare = holds_a_cache},
    {"check", .run = run_check, .arrange = some_blocks, .prepare = holds_some},
    {"inherit, prepare and cancel", .run = run_inherit, .arrange = some_blocks,
     .prepare = holds_some},
    {"inherit, execute", .run = run_inherit_child, .flags = CHILD, .arrange = some_blocks,
     .prepare = holds_some},
    {"fork, the parent", .run = run_fork_parent, .arrange = some_blocks, .prepare = holds_some},
    {"fork, the child", .run = run_fork_child, .flags = CHILD, .arrange = some_blocks,
     .prepare = holds_some, .lost = 1},
    {"thread exit", .run = run_thread_exit, .arrange = some_blocks, .prepare = holds_some},
    {"reap", .run = run_reap, .prepare = holds_some,
     .after = {"alloc, opens a slab", "free, empties a slab", "PSMallocTo, hit",
               "PSMallocTo, large", "leave"}},
    {"deaths", .run = run_deaths, .prepare = holds_some, .after = {"alloc, hit"}},
    {"rebuild after a dead lock holder", .run = run_alloc_large, .prepare = holds_some, .lost = 1,
     .after = {"alloc, opens a slab", "alloc, large, splits", "free, large, joins both sides",
               "realloc, large, grows", "PSMallocTo, large", "reap"}},
};
const size_t plain_operation_count = sizeof plain_operations / sizeof *plain_operations;

size_t operation_count(void) { return plain_operation_count + kept_operation_count; }

const struct operation *operation_at(size_t index) {
  if (index < plain_operation_count) return &plain_operations[index];
  return &kept_operations[index - plain_operation_count];
}

const struct operation *operation_find(const char *name) {
  for (size_t i = 0; i < operation_count(); i++)
    if (strcmp(operation_at(i)->name, name) == 0) return operation_at(i);
  scene_fail("there is no operation '%s'", name);
}
