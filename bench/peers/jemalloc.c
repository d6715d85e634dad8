/* jemalloc under the plain names, as Debian builds it: linking it makes it the
 * program's malloc. The version is refused if it is not. */
#include "peers/private.h"

#include <jemalloc/jemalloc.h>
#include <stdlib.h>

static inline void *peer_alloc(size_t size) { return malloc(size); }

static inline void peer_free(void *block) { free(block); }

static uint64_t allocated_so_far(void) {
  uint64_t bytes = 0;
  size_t length = sizeof bytes;
  (void)mallctl("thread.allocated", &bytes, &length, NULL, 0);
  return bytes;
}

static const char *peer_version(void) {
  const char *version = NULL;
  size_t length = sizeof version;
  uint64_t before = allocated_so_far();
  void *volatile block = malloc(100);
  if (allocated_so_far() == before || mallctl("version", &version, &length, NULL, 0) != 0)
    die("malloc is not jemalloc's");
  free(block);
  return version;
}

static const Peer peer = {
    "jemalloc", peer_version, SHARES_NOTHING, private_open, private_close, NULL, 0};

#include "workloads/main.h"
