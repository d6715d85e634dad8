/* A search tree of plain pointers, which ../python/tree.py reads as it is.
 *
 * Whoever holds the segment open may follow the pointers; whoever changes the
 * tree holds its lock.
 */
#ifndef EXAMPLES_TREE_H
#define EXAMPLES_TREE_H

#include <stdint.h>

/* [begin: read by tree.py] */

struct node {
  struct node *left, *right;
  const char *name; /* a block of its own, ends with 0 */
  uint64_t count;
};

struct tree {
  uint32_t lock;
  uint32_t nodes;
  struct node *root;
};

/* [end] */

#endif /* EXAMPLES_TREE_H */
