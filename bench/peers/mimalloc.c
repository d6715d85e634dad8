/* mimalloc, called by its own names. */
#include "peers/private.h"

#include <mimalloc.h>
#include <stdio.h>

static inline void *peer_alloc(size_t size) { return mi_malloc(size); }

static inline void peer_free(void *block) { mi_free(block); }

static const char *peer_version(void) {
  static char text[32];
  int version = mi_version();
  (void)snprintf(text, sizeof text, "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
  return text;
}

static const Peer peer = {
    "mimalloc", peer_version, SHARES_NOTHING, private_open, private_close, NULL, 0};

#include "workloads/main.h"
