/* OSSP mm: one list of free blocks under one lock between processes. Children inherit the memory.
 * Debian's has segments of 64 MiB at most, and cuts a larger one to that without a word. */
#include <mm.h>
#include <stdio.h>

#include "harness/crew.h"

static MM *memory;

static inline void *peer_alloc(size_t size) { return mm_malloc(memory, size); }

static inline void peer_free(void *block) { mm_free(memory, block); }

static inline uint64_t peer_give(void *block) { return (uint64_t)(uintptr_t)block; }

static inline void *peer_take(uint64_t given) { return (void *)(uintptr_t)given; }

static int peer_open(const char *name, size_t bytes) {
  (void)name;
  memory = mm_create(bytes, NULL);
  if (memory) return 0;
  (void)fprintf(stderr, "%s\n", mm_error());
  return -1;
}

static void peer_close(void) { mm_destroy(memory); }

/* 0xVRRTLL: version, revision, type and level; 0x104202 is 1.4.2. */
static const char *peer_version(void) {
  static char text[32];
  unsigned version = (unsigned)mm_lib_version();
  (void)snprintf(text, sizeof text, "%u.%u.%u", version >> 20, version >> 12 & 0xff,
                 version & 0xff);
  return text;
}

static const Peer peer = {"mm",       peer_version, SHARES_BY_FORK, peer_open,
                          peer_close, NULL,         64 << 20};

#include "workloads/main.h"
