/* Operations of threads that keep the blocks they free, and what each of them needs.
 *
 * Units are of 16 KiB here. A magazine begins with FIRST blocks, and doubles when it
 * is full if a block was asked for in vain since it was full last.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "operations.h"

enum { FIRST = 8, GROUP = 64, SLAB_1024 = 16, SLAB_4096 = 4 };

/* ---- Keep ---- */

/* Free so many blocks, which were allocated just before. */
static void keep(struct scene *scene, size_t size, uint32_t count) {
  void *blocks[2 * FIRST];
  for (uint32_t i = 0; i < count; i++) blocks[i] = PSMalloc(scene->handle, size);
  for (uint32_t i = 0; i < count; i++) PSMfree(scene->handle, blocks[i]);
}

/* Free the blocks of a size that were allocated first of those that stay. */
static void free_first(struct scene *scene, size_t size, uint32_t count) {
  uint32_t first = 0;
  while (scene->lives[first].size != size) first++;
  scene_free_first(scene, first, count);
}

static void free_last(struct scene *scene, size_t size) {
  uint32_t last = scene->count - 1;
  while (scene->lives[last].size != size) last--;
  scene_free_first(scene, last, 1);
}

static void lives(struct scene *scene, size_t size, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) (void)scene_live(scene, size);
}

/* The first of the blocks that stay, but for those that the worker frees before. */
static void target_at(struct scene *scene, uint32_t index) {
  scene->target = scene->lives[index];
  memmove(scene->lives + index, scene->lives + index + 1,
          (scene->count - index - 1) * sizeof *scene->lives);
  scene->count--;
}

/* Memory is short for a moment. */
static void pressure(struct scene *scene) {
  PSMStat stat;
  (void)PSMstat(scene->handle, &stat);
  if (PSMalloc(scene->handle, (size_t)scene->units * stat.unit) != NULL)
    scene_fail("there is more memory than there can be");
}

/* ---- Scenes ---- */

static void some_blocks(struct scene *scene) {
  lives(scene, 64, 3);
  lives(scene, 1000, 1);
  lives(scene, 20000, 1);
}

/* The survivor keeps some too: they must stay its own. */
static void some_blocks_and_kept(struct scene *scene) {
  some_blocks(scene);
  keep(scene, 64, FIRST - 1);
  keep(scene, 1000, 3);
}

static void a_place(struct scene *scene) {
  some_blocks_and_kept(scene);
  scene->where = memset(scene_live(scene, 64), 0, 8);
}

static void published(struct scene *scene) {
  a_place(scene);
  scene_target(scene, 64);
  *scene->where = scene->target.block;
}

static void anothers_target(struct scene *scene) {
  some_blocks(scene);
  scene_target(scene, 64);
}

static void nobodys_group(struct scene *scene) { lives(scene, 64, GROUP + 1); }
static void anothers_group(struct scene *scene) { lives(scene, 64, 2 * FIRST); }
static void nobodys_slab_1024(struct scene *scene) { lives(scene, 1024, SLAB_1024 + 1); }
static void nobodys_slabs_4096(struct scene *scene) { lives(scene, 4096, 2 * SLAB_4096 + 1); }

static void offered_slab(struct scene *scene) {
  nobodys_slab_1024(scene);
  free_first(scene, 1024, SLAB_1024 / 2);
  (void)PSMtrim(scene->handle, NULL);
}

static void place_and_offered_slab(struct scene *scene) {
  offered_slab(scene);
  a_place(scene);
}

/* Groups of nobody's and of the survivor's, and a slab that can be kept as a whole. */
static void groups_of_all(struct scene *scene) {
  some_blocks_and_kept(scene);
  lives(scene, 64, 2 * GROUP);
  lives(scene, 4096, SLAB_4096 + 1);
}

/* Of the survivor's group, what is not in its slot. */
static void group_in_use(struct scene *scene) { lives(scene, 64, GROUP - GROUP / 4); }

/* ---- What a worker holds and keeps ---- */

static void holds_a_cache(struct scene *scene) { (void)scene_live(scene, 16); }
static void holds_some(struct scene *scene) {
  lives(scene, 64, 1);
  lives(scene, 300, 1);
}

static void keeps_some(struct scene *scene) {
  holds_some(scene);
  keep(scene, 64, 3);
}

static void keeps_many(struct scene *scene) {
  keeps_some(scene);
  keep(scene, 1000, FIRST);
  keep(scene, 4096, FIRST);
}

static void keeps_of_all(struct scene *scene) {
  free_first(scene, 64, 4);
  free_last(scene, 64);
  free_first(scene, 4096, SLAB_4096);
  keep(scene, 300, 3);
  (void)scene_live(scene, 64);
}

/* What is given back bears the worker's mark for ever; the survivor takes it. */
static void gives_some_and_keeps_some(struct scene *scene) {
  free_first(scene, 64, GROUP / 2);
  (void)PSMtrim(scene->handle, NULL);
  free_first(scene, 64, 2);
  keep(scene, 300, 2);
}

static void takes_what_was_given(struct scene *scene) { lives(scene, 64, GROUP / 4 + 1); }

static void holds_target(struct scene *scene) {
  holds_some(scene);
  scene_target(scene, 64);
}

static void keeps_some_not_target(struct scene *scene) {
  holds_target(scene);
  keep(scene, 64, 3);
}

static void keeps_many_not_target(struct scene *scene) {
  holds_target(scene);
  keep(scene, 1000, FIRST);
  keep(scene, 64, FIRST);
}

static void is_full(struct scene *scene) {
  holds_target(scene);
  keep(scene, 64, FIRST);
}

static void is_full_and_hungry(struct scene *scene) {
  holds_target(scene);
  keep(scene, 64, 1);
  lives(scene, 64, 2);
  keep(scene, 64, FIRST);
}

/* Full of blocks that the survivor allocated; the next of them is the target. */
static void is_full_of(struct scene *scene, size_t size) {
  holds_a_cache(scene);
  free_first(scene, size, FIRST);
  target_at(scene, 0);
}

static void is_full_of_64(struct scene *scene) { is_full_of(scene, 64); }
static void is_full_of_1024(struct scene *scene) { is_full_of(scene, 1024); }
static void is_full_of_4096(struct scene *scene) { is_full_of(scene, 4096); }

static void keeps_what_realloc_takes(struct scene *scene) {
  keeps_some_not_target(scene);
  keep(scene, 1000, 3);
}

static void holds_larger_target(struct scene *scene) {
  keeps_some(scene);
  scene_target(scene, 1000);
  scene->target.size = 60;
}

/* A group of which nothing is left in the slot. */
static void holds_a_used_group(struct scene *scene) { lives(scene, 128, GROUP); }

static void frees_of_its_group(struct scene *scene) {
  free_first(scene, 128, GROUP / 2);
  (void)PSMtrim(scene->handle, NULL);
}

static void fill(struct scene *scene) {
  PSMStat stat;
  (void)PSMstat(scene->handle, &stat);
  for (void *block; (block = PSMalloc(scene->handle, stat.unit)) != NULL;) {
    PSMfree(scene->handle, block);
    (void)scene_live(scene, stat.unit);
  }
}

/* All units are taken, the last two of them by blocks that are kept. */
static void is_short(struct scene *scene) {
  holds_a_cache(scene);
  fill(scene);
  for (int i = 0; i < 2; i++) PSMfree(scene->handle, scene->lives[--scene->count].block);
  keep(scene, 4096, FIRST);
}

/* The same, but what is kept is kept by others. */
static void fills_up(struct scene *scene) {
  holds_a_cache(scene);
  fill(scene);
}

/* ---- Threads ---- */

enum { THREADS = 15 /* as many as there are caches */ };

static pthread_barrier_t all_there;

__attribute__((noreturn)) static void *cache_take(void *argument) {
  struct scene *scene = argument;
  keep(scene, 64, 1);
  (void)pthread_barrier_wait(&all_there);
  for (;;) pause();
}

/* The worker's own thread finds none left. */
static void others_hold_the_caches(struct scene *scene) {
  pthread_t thread;
  (void)pthread_barrier_init(&all_there, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&thread, NULL, cache_take, scene) != 0) scene_fail("no thread");
  (void)pthread_barrier_wait(&all_there);
}

/* ---- Operations ---- */

static void run_alloc_300(struct scene *scene) { (void)PSMalloc(scene->handle, 300); }
static void run_alloc_1024(struct scene *scene) { (void)PSMalloc(scene->handle, 1024); }
static void run_alloc_two_units(struct scene *scene) { (void)PSMalloc(scene->handle, 20000); }
static void run_alloc_too_much(struct scene *scene) { pressure(scene); }
static void run_alloc_to_1024(struct scene *scene) {
  (void)PSMallocTo(scene->handle, 1024, scene->where);
}
static void run_realloc_down(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 60);
}

const struct operation kept_operations[] = {
    {"alloc, kept", .run = run_alloc, .flags = ROOMY, .arrange = some_blocks, .prepare = keeps_some,
     .lost = 1},
    {"alloc, kept, of groups of all", .run = run_alloc, .flags = ROOMY, .arrange = groups_of_all,
     .prepare = keeps_of_all, .lost = 1},
    {"alloc, kept, marks that mean nothing", .run = run_alloc_300, .flags = ROOMY,
     .arrange = group_in_use, .prepare = gives_some_and_keeps_some, .adjust = takes_what_was_given,
     .lost = 1},
    {"alloc, from a slot with states", .run = run_alloc, .flags = ROOMY, .arrange = some_blocks,
     .prepare = holds_some, .lost = 1},
    {"alloc, refill from the own group, s.", .run = run_alloc_128, .flags = ROOMY,
     .arrange = some_blocks_and_kept, .prepare = holds_a_used_group, .adjust = frees_of_its_group,
     .lost = 1},
    {"alloc, refill from another group, s.", .run = run_alloc_1024, .flags = ROOMY,
     .arrange = offered_slab, .prepare = keeps_some, .lost = 1},
    {"alloc, opens a slab with states", .run = run_alloc_new, .flags = ROOMY,
     .arrange = some_blocks, .prepare = keeps_some, .lost = 1},
    {"alloc, opens a slab under pressure", .run = run_alloc_new, .flags = ROOMY,
     .arrange = some_blocks_and_kept, .prepare = keeps_many, .adjust = pressure, .lost = 1},
    {"alloc, full but for what it keeps", .run = run_alloc_new, .flags = ROOMY, .prepare = is_short,
     .lost = 1},
    {"alloc, full but for the dead's", .run = run_alloc_new, .flags = ROOMY, .prepare = fills_up,
     .lost = 1, .after = {"alloc, kept, of groups of all"}},
    {"alloc, large, full but for kept", .run = run_alloc_two_units, .flags = ROOMY,
     .prepare = is_short, .lost = 1},
    {"alloc, more than there is, kept", .run = run_alloc_too_much, .flags = ROOMY,
     .arrange = groups_of_all, .prepare = keeps_many},
    {"alloc, without a cache, states", .run = run_alloc, .flags = ROOMY, .arrange = some_blocks,
     .prepare = others_hold_the_caches, .lost = 1},
    {"free, keeps", .run = run_free, .flags = ROOMY, .arrange = some_blocks,
     .prepare = keeps_some_not_target, .lost = 1},
    {"free, keeps the first", .run = run_free, .flags = ROOMY, .arrange = some_blocks,
     .prepare = holds_target, .lost = 1},
    {"free, keeps more", .run = run_free, .flags = ROOMY, .arrange = some_blocks,
     .prepare = is_full_and_hungry, .lost = 1},
    {"free, gives to the own group", .run = run_free, .flags = ROOMY, .arrange = some_blocks,
     .prepare = is_full, .lost = 1},
    {"free, gives to nobody's group", .run = run_free, .flags = ROOMY, .arrange = nobodys_group,
     .prepare = is_full_of_64, .lost = 1},
    {"free, gives to another's group", .run = run_free, .flags = ROOMY, .arrange = anothers_group,
     .prepare = is_full_of_64, .lost = 1},
    {"free, gives and offers a group", .run = run_free, .flags = ROOMY,
     .arrange = nobodys_slab_1024, .prepare = is_full_of_1024, .lost = 1},
    {"free, gives and empties a slab", .run = run_free, .flags = ROOMY,
     .arrange = nobodys_slabs_4096, .prepare = is_full_of_4096, .lost = 1},
    {"free, under pressure", .run = run_free, .flags = ROOMY, .arrange = some_blocks_and_kept,
     .prepare = keeps_many_not_target, .adjust = pressure, .lost = 1},
    {"free, without a cache, states", .run = run_free, .flags = ROOMY, .arrange = anothers_target,
     .prepare = others_hold_the_caches, .lost = 1},
    {"realloc, between kept sizes, up", .run = run_realloc_moving, .flags = ROOMY,
     .arrange = some_blocks, .prepare = keeps_what_realloc_takes, .lost = 1, .moves = true},
    {"realloc, between kept sizes, down", .run = run_realloc_down, .flags = ROOMY,
     .arrange = some_blocks, .prepare = holds_larger_target, .lost = 1, .moves = true},
    {"PSMallocTo, from a slot with states", .run = run_alloc_to, .flags = ROOMY, .arrange = a_place,
     .prepare = keeps_some},
    {"PSMallocTo, and it is taken back", .run = run_alloc_to, .flags = ROOMY | TAKES,
     .arrange = a_place, .prepare = keeps_some},
    {"PSMallocTo, refill, states", .run = run_alloc_to_1024, .flags = ROOMY,
     .arrange = place_and_offered_slab, .prepare = keeps_some},
    {"PSMallocTo, opens a slab, states", .run = run_alloc_to_new, .flags = ROOMY,
     .arrange = a_place, .prepare = keeps_many},
    {"PSMallocTo, full but for kept", .run = run_alloc_to_new, .flags = ROOMY, .arrange = a_place,
     .prepare = is_short},
    {"PSMallocTo, without a cache, states", .run = run_alloc_to, .flags = ROOMY, .arrange = a_place,
     .prepare = others_hold_the_caches},
    {"PSMfreeFrom, keeps", .run = run_free_from, .flags = ROOMY, .arrange = published,
     .prepare = keeps_some, .lost = 1},
    {"PSMfreeFrom, keeps the first", .run = run_free_from, .flags = ROOMY, .arrange = published,
     .prepare = holds_a_cache, .lost = 1},
    {"PSMfreeFrom, what the dead published", .run = run_free_from, .flags = ROOMY,
     .prepare = keeps_some, .lost = 1, .after = {"PSMallocTo, from a slot with states"}},
    {"trim, kept", .run = run_trim, .flags = ROOMY, .arrange = groups_of_all,
     .prepare = keeps_many},
    {"leave, kept", .run = run_leave, .flags = ROOMY | LEAVES, .arrange = groups_of_all,
     .prepare = keeps_of_all},
    {"leave, kept, the last one", .run = run_leave, .flags = ROOMY | ALONE | LEAVES,
     .arrange = some_blocks, .prepare = keeps_many},
    {"thread exit, kept", .run = run_thread_exit, .flags = ROOMY, .arrange = groups_of_all,
     .prepare = keeps_of_all},
    {"check, kept", .run = run_check, .flags = ROOMY, .arrange = groups_of_all,
     .prepare = keeps_of_all},
    {"fork, the parent, kept", .run = run_fork_parent, .flags = ROOMY, .arrange = some_blocks,
     .prepare = keeps_some},
    {"fork, the child, kept", .run = run_fork_child, .flags = ROOMY | CHILD, .arrange = some_blocks,
     .prepare = keeps_some, .lost = 1},
    {"join, beside the dead who kept", .run = run_open, .flags = ROOMY | STRANGER,
     .after = {"alloc, kept, of groups of all"}},
    {"reap, kept", .run = run_reap, .flags = ROOMY, .prepare = keeps_some,
     .after = {"alloc, kept, of groups of all", "free, gives and empties a slab", "trim, kept",
               "alloc, more than there is, kept", "PSMallocTo, from a slot with states",
               "alloc, kept, marks that mean nothing"}},
    {"reap, two who kept", .run = run_reap, .flags = ROOMY | PAIRED, .prepare = keeps_some,
     .after = {"alloc, kept, of groups of all"}},
    {"rebuild after a dead holder, kept", .run = run_alloc_two_units, .flags = ROOMY,
     .prepare = keeps_some, .lost = 1,
     .after = {"free, gives and empties a slab", "trim, kept", "alloc, more than there is, kept",
               "thread exit, kept", "reap, kept"}},
};
const size_t kept_operation_count = sizeof kept_operations / sizeof *kept_operations;
