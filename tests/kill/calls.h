/* What a worker is about when it is killed, for the tables of operations. */
#ifndef CALLS_H
#define CALLS_H

#include "scene.h"

void run_open(struct scene *scene);
void run_leave(struct scene *scene);
void run_alloc(struct scene *scene);
void run_alloc_128(struct scene *scene);
void run_alloc_new(struct scene *scene);
void run_alloc_large(struct scene *scene);
void run_calloc(struct scene *scene);
void run_aligned(struct scene *scene);
void run_aligned_large(struct scene *scene);
void run_free(struct scene *scene);
void run_realloc_same(struct scene *scene);
void run_realloc_moving(struct scene *scene);
void run_realloc_growing(struct scene *scene);
void run_realloc_growing_by_a_unit(struct scene *scene);
void run_realloc_shrinking(struct scene *scene);
void run_alloc_to(struct scene *scene);
void run_alloc_to_new(struct scene *scene);
void run_alloc_to_large(struct scene *scene);
void run_free_from(struct scene *scene);
void run_trim(struct scene *scene);
void run_reap(struct scene *scene);
void run_check(struct scene *scene);
void run_deaths(struct scene *scene);
void run_lock(struct scene *scene);
void run_trylock(struct scene *scene);
void run_inherit(struct scene *scene);
void run_fork_parent(struct scene *scene);
void run_fork_child(struct scene *scene);
void run_inherit_child(struct scene *scene);
__attribute__((noreturn)) void run_thread_exit(struct scene *scene);

#endif
