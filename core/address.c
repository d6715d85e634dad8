/* The directory is the registry: a segment's header says where it lives.
 *
 * The search begins at a hash of the path, so that a name keeps its address
 * from run to run. The first window is one that plain programs, sanitizers and
 * valgrind leave free; segments too large for it go to the second. Each further
 * one exists in a smaller address space, below where programs are loaded there.
 */
#include "address.h"

#include <stdlib.h>
#include <string.h>

enum { NEIGHBOURS_MAX = 1024 };

static const struct window {
  uint64_t from, to;
  uint32_t pointer_size; /* of the processes that it is for */
  uint32_t slot_shift;   /* segments begin at a multiple of 2 to this power */
} windows[] = {
    {UINT64_C(0x550000000000), UINT64_C(0x555500000000), 8, 24}, /* 47 bits and more */
    {UINT64_C(0x200000000000), UINT64_C(0x300000000000), 8, 24},
    {UINT64_C(0x10000000000), UINT64_C(0x20000000000), 8, 24}, /* 42 bits: 4 TiB */
    {UINT64_C(0x3000000000), UINT64_C(0x5000000000), 8, 24},   /* 39 bits: 512 GiB */
    {UINT64_C(0x2000000000), UINT64_C(0x2800000000), 8, 24},   /* 38 bits: 256 GiB */
    {0x40000000, 0x56000000, 4, 21}, /* above the shadow of AddressSanitizer */
    {0x60000000, 0xb0000000, 4, 21},
};

struct neighbours {
  struct header_shm header; /* the one just read */
  uint32_t count;
  struct {
    uint64_t from, to;
  } ranges[NEIGHBOURS_MAX];
};

static bool neighbour_note(void *context, size_t got) {
  struct neighbours *n = context;
  struct geometry g;
  if (got < sizeof n->header) return true;
  if (psm_header_judge(&n->header, n->header.size, &g) != PSM_OK) return true;
  n->ranges[n->count].from = g.base;
  n->ranges[n->count].to = g.base + g.size;
  return ++n->count < NEIGHBOURS_MAX;
}

/* The end of a neighbour's range that overlaps this one; 0 if none does. */
static uint64_t neighbour_end(const struct neighbours *n, uint64_t from, uint64_t to) {
  for (uint32_t i = 0; i < n->count; i++)
    if (n->ranges[i].from < to && from < n->ranges[i].to) return n->ranges[i].to;
  return 0;
}

static uint64_t path_hash(const char *path) {
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  for (; *path != '\0'; path++) sum = (sum ^ (uint8_t)*path) * UINT64_C(0x100000001b3);
  return sum ^ sum >> 32;
}

static uint64_t window_search(const struct window *w, const struct neighbours *n, uint64_t hash,
                              uint64_t size) {
  uint64_t slot_size = UINT64_C(1) << w->slot_shift;
  uint64_t slots = (w->to - w->from) >> w->slot_shift;
  uint64_t wanted = (size + slot_size - 1) >> w->slot_shift;
  if (wanted > slots || w->pointer_size != sizeof(void *)) return 0;
  if (!os_address_exists((void *)(uintptr_t)(w->to - 1))) return 0;
  uint64_t slot = hash % (slots - wanted + 1);
  for (uint64_t tries = 0; tries < slots; tries++) {
    if (slot + wanted > slots) slot = 0;
    uint64_t base = w->from + (slot << w->slot_shift);
    uint64_t end = neighbour_end(n, base, base + size);
    if (end == 0 && os_range_free((void *)(uintptr_t)base, (size_t)size)) return base;
    uint64_t next = end > base ? (end - w->from + slot_size - 1) >> w->slot_shift : 0;
    slot = next > slot ? next : slot + 1;
  }
  return 0;
}

int psm_address_choose(const char *path, uint64_t size, uint32_t attempt, struct geometry *g) {
  struct neighbours *n = calloc(1, sizeof *n);
  if (n == NULL) return psm_fail(PSM_E_SYSTEM, "this process has no memory left");
  os_siblings_read(path, &n->header, sizeof n->header, neighbour_note, n);
  os_siblings_read(os_shared_folder(), &n->header, sizeof n->header, neighbour_note, n);
  uint64_t hash = path_hash(path) + attempt * UINT64_C(0x9e3779b97f4a7c15);
  uint64_t base = 0;
  for (size_t i = 0; i < sizeof windows / sizeof *windows && base == 0; i++)
    base = window_search(&windows[i], n, hash, size);
  free(n);
  if (base != 0 && psm_geometry(g, size, base)) return PSM_OK;
  return psm_fail(PSM_E_ADDRESS, "no free range of %llu bytes for '%.160s': give an address",
                  (unsigned long long)size, path);
}
