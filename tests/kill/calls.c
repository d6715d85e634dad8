/* What a worker is about when it is killed: one call each, or a few. */
#define _GNU_SOURCE
#include "calls.h"

#include <pthread.h>
#include <unistd.h>

void run_open(struct scene *scene) {
  PSMHandle handle;
  PSMinit(scene->name, scene->size, NULL, &handle);
}

void run_leave(struct scene *scene) { PSMdeinit(scene->handle); }
void run_alloc(struct scene *scene) { (void)PSMalloc(scene->handle, 64); }
void run_alloc_128(struct scene *scene) { (void)PSMalloc(scene->handle, 128); }
void run_alloc_new(struct scene *scene) { (void)PSMalloc(scene->handle, 500); }
void run_alloc_large(struct scene *scene) { (void)PSMalloc(scene->handle, 9000); }
void run_calloc(struct scene *scene) { (void)PSMcalloc(scene->handle, 10, 30); }
void run_aligned(struct scene *scene) { (void)PSMalignedAlloc(scene->handle, 256, 300); }
void run_aligned_large(struct scene *scene) { (void)PSMalignedAlloc(scene->handle, 65536, 9000); }

void run_free(struct scene *scene) { PSMfree(scene->handle, scene->target.block); }
void run_realloc_same(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 990);
}
void run_realloc_moving(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 1000);
}
void run_realloc_growing(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 30000);
}
void run_realloc_growing_by_a_unit(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 13000);
}
void run_realloc_shrinking(struct scene *scene) {
  (void)PSMrealloc(scene->handle, scene->target.block, 5000);
}

void run_alloc_to(struct scene *scene) { (void)PSMallocTo(scene->handle, 64, scene->where); }
void run_alloc_to_new(struct scene *scene) { (void)PSMallocTo(scene->handle, 500, scene->where); }
void run_alloc_to_large(struct scene *scene) {
  (void)PSMallocTo(scene->handle, 9000, scene->where);
}
void run_free_from(struct scene *scene) { (void)PSMfreeFrom(scene->handle, scene->where); }

void run_trim(struct scene *scene) { (void)PSMtrim(scene->handle, NULL); }
void run_reap(struct scene *scene) { (void)PSMreap(scene->handle); }
void run_check(struct scene *scene) { (void)PSMcheck(scene->handle); }
void run_deaths(struct scene *scene) {
  PSMMember dead[4];
  uint64_t cursor = 0;
  (void)PSMdeaths(scene->handle, &cursor, dead, 4);
}

void run_lock(struct scene *scene) {
  (void)PSMlock(scene->handle, scene->lock);
  scene->lock[1]++;
  (void)PSMunlock(scene->handle, scene->lock);
}

void run_trylock(struct scene *scene) {
  (void)PSMtrylock(scene->handle, scene->lock);
  (void)PSMtrylock(scene->handle, scene->lock); /* which is held, by this process */
  scene->lock[1]++;
  (void)PSMunlock(scene->handle, scene->lock);
}

void run_inherit(struct scene *scene) {
  (void)PSMprepareInherit(scene->handle);
  PSMcancelInherit(scene->handle);
}

void run_fork_parent(struct scene *scene) {
  (void)scene;
  if (fork() == 0) _exit(0);
}

void run_fork_child(struct scene *scene) {
  if (fork() == 0) {
    PSMfree(scene->handle, PSMalloc(scene->handle, 64));
    return;
  }
  for (;;) pause();
}

void run_inherit_child(struct scene *scene) {
  (void)PSMprepareInherit(scene->handle);
  if (fork() == 0) {
    (void)PSMexecuteInherit(scene->handle);
    return;
  }
  for (;;) pause();
}

void run_thread_exit(struct scene *scene) {
  (void)scene;
  pthread_exit(NULL);
}
