/* What a killed process leaves behind, and what must be true of it.
 *
 * A scene is a page that all processes of one round share, apart from the
 * segment: which blocks are live, which one the operation is about. The
 * judgement is made by a process that was a member all along, or that joins.
 */
#ifndef SCENE_H
#define SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "psm.h"

enum { LIVES = 600, SIZES = 96 };

struct live {
  char *block;
  size_t size;
};

struct scene {
  char name[64];
  char round[500];     /* what is being tried, for the report of a failure */
  size_t size;         /* bytes of the segment */
  uint32_t units;      /* that it holds when empty */
  size_t sizes[SIZES]; /* of small blocks, all that there are; then 0 */
  PSMHandle handle;
  struct live lives[LIVES]; /* blocks that stay, stamped */
  uint32_t count;
  struct live target; /* the block that is freed or moved; may be gone after */
  void **where;       /* a place to publish at the begin of a live block, or NULL */
  uint32_t *lock;     /* a lock of the application, at the begin of one, or NULL */
};

/** What may be missing after a round. */
struct limits {
  uint32_t lost;   /* blocks that nobody can reach, or that are neither used nor free */
  bool moves;      /* the target's contents may have moved: it is not lost itself */
  uint32_t deaths; /* members whose deaths must be told, at least */
  bool kept;       /* the file outlives its users */
  bool takes;      /* who judges first frees from the place, and allocates again */
};

/** How many units a segment holds, and blocks of which sizes; makes one to see. */
void scene_measure(struct scene *scene);

/** Allocate a block that stays. */
void *scene_live(struct scene *scene, size_t size);

/** Free what was allocated first of the blocks that stay. */
void scene_free_first(struct scene *scene, uint32_t from, uint32_t count);

/** A block that the operation is about: stamped, may be gone afterwards. */
void scene_target(struct scene *scene, size_t size);

/** As the members that go on: use the segment at once, check it, account for
 *  every block, fill it to the last one, and leave; nothing remains.
 *
 *  Returns  blocks lost; ends the process with a sentence if anything is wrong.
 */
uint32_t scene_judge(struct scene *scene, struct limits limits);

/** Whose round the report of a failure tells. */
void scene_tell(const struct scene *scene);

__attribute__((noreturn, format(printf, 1, 2))) void scene_fail(const char *format, ...);

#endif
