/* Reads and changes a map of Rust by its repr(C) view: doubles every count.
 * usage: view NAME
 */
#include <inttypes.h>
#include <psm.h>
#include <stdio.h>

struct entry {
  const char *text;
  uint64_t length;
  uint64_t *count;
};

struct view {
  uint64_t entries;
  struct entry *entry;
};

int main(int argc, char **argv) {
  PSMHandle segment;
  if (argc != 2 || PSMopen(argv[1], NULL, &segment) != PSM_OK) return 1;
  struct view *view = *(struct view **)PSMgetUser(segment);
  uint64_t letters = 0;
  for (uint64_t i = 0; i < view->entries; i++) {
    const struct entry *entry = &view->entry[i];
    for (uint64_t k = 0; k < entry->length; k++) letters += (unsigned char)entry->text[k];
    __atomic_fetch_add(entry->count, *entry->count, __ATOMIC_RELAXED);
  }
  printf("ok %" PRIu64 " %" PRIu64 "\n", view->entries, letters);
  PSMdeinit(segment);
}
