/* Every operation that touches a segment, and how to set the scene for it. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "scene.h"

enum {
  ALONE = 1,    /* no other member while it runs: who judges joins afterwards */
  STRANGER = 2, /* it is not a member before it runs */
  CHILD = 4,    /* the child that it forks is the one to be killed */
  KEPT = 8,     /* the file outlives its users */
  TIGHT = 16,   /* a segment of 256 KiB: one cache, and the one that is shared */
  LEAVES = 32,  /* its end is no death */
  ROOMY = 64,   /* a segment of 4 MiB: its blocks have states, and those freed are kept */
  PAIRED = 128, /* two workers were killed before, in the same operation */
  TAKES = 256   /* what it published is taken back before it is reaped */
};

struct operation {
  const char *name;
  void (*run)(struct scene *); /* by the worker, who is killed in it */
  int flags;
  void (*arrange)(struct scene *); /* by the survivor, before the worker joins */
  void (*prepare)(struct scene *); /* by the worker */
  void (*adjust)(struct scene *);  /* by the survivor, when the worker is ready */
  uint32_t lost;                   /* blocks that may be lost: 1 if one is in flight */
  bool moves;                      /* the target's contents may move */
  const char *after[6];            /* in whose middle another worker was killed before */
};

extern const struct operation plain_operations[], kept_operations[];
extern const size_t plain_operation_count, kept_operation_count;

size_t operation_count(void);

/** Those that keep blocks come last. */
const struct operation *operation_at(size_t index);

/** An operation by its name; ends the process if there is none. */
const struct operation *operation_find(const char *name);

#endif
