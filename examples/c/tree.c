/* Counts the words of its standard input in a tree that others can read.
 *
 *   tree NAME        NAME is that of the segment, which is kept open until a
 *                    second input, a line "done", allows it to end
 *
 * Prints "ready" when the words before the first empty line are counted.
 */
#include <psm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

static PSMHandle segment;

static void *need(void *block) {
  if (block == NULL) {
    fprintf(stderr, "tree: %s\n", PSMerrorString(PSMlastError()));
    exit(1);
  }
  return block;
}

static struct node *node_new(const char *name) {
  struct node *node = need(PSMcalloc(segment, 1, sizeof *node));
  char *text = need(PSMalloc(segment, strlen(name) + 1));
  node->name = strcpy(text, name);
  return node;
}

static void count(struct tree *tree, const char *name) {
  struct node **link = &tree->root;
  while (*link != NULL) {
    int order = strcmp(name, (*link)->name);
    if (order == 0) {
      break;
    }
    link = order < 0 ? &(*link)->left : &(*link)->right;
  }
  if (*link == NULL) {
    *link = node_new(name);
    tree->nodes++;
  }
  (*link)->count++;
}

int main(int argc, char **argv) {
  char line[4096];
  if (argc != 2) {
    fprintf(stderr, "usage: tree NAME\n");
    return 2;
  }
  PSMinit(argv[1], 16 << 20, NULL, &segment);
  need(segment);
  struct tree **root = PSMgetUser(segment);
  struct tree *tree = need(PSMcalloc(segment, 1, sizeof *tree));

  while (fgets(line, sizeof line, stdin) != NULL && line[0] != '\n') {
    for (char *word = strtok(line, " \t\n"); word != NULL; word = strtok(NULL, " \t\n")) {
      count(tree, word);
    }
  }
  *root = tree; /* complete: others may see it */
  puts("ready");
  fflush(stdout);
  if (fgets(line, sizeof line, stdin) == NULL) {
    return 1;
  }
  PSMdeinit(segment);
  return 0;
}
