/* How many views this process has of each block, by a key made of its address.
 *
 * Several Block objects may stand for one block, as each reference that arrives
 * makes one. Whichever of them frees it, the views of all of them count. While
 * a key is here its segment is mapped, so it cannot mean another block.
 *
 * A forked child begins a new generation: objects that it inherited go on to
 * count with each other, but what it makes or receives does not wait for the
 * parent's variables, which live in the child for ever.
 */
#ifndef PSM_PYTHON_VIEWS_H
#define PSM_PYTHON_VIEWS_H

#include <stdint.h>

enum { PSM_VIEWS_NO_MEMORY = -1, PSM_VIEWS_ENDING = -2 };

/* What stands for a block in the Block objects that are made from now on. */
uint64_t psm_views_key(uintptr_t block);

/* One more. 0, or a code from above: ENDING if psm_views_end has been called. */
int psm_views_add(uint64_t key);

/* One less. 1 if the caller is to free the block now, since it was the last. */
int psm_views_remove(uint64_t key);

uint64_t psm_views_count(uint64_t key);

/* The last view is to free the block, unless it is that of a forked child. 0; 1
 * if there is none, and the caller is to free it; ENDING if it was said before. */
int psm_views_end(uint64_t key);

/* Once, before any other: makes the table safe across fork. */
void psm_views_begin(void);

#endif /* PSM_PYTHON_VIEWS_H */
