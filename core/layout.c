/* From size and base to the place of everything, and headers that say so. */
#include "layout.h"

#include <string.h>

#include "psm.h"

static uint32_t unit_shift_for(uint64_t size) {
  if (size < UINT64_C(4) << 20) return 12;
  if (size < UINT64_C(64) << 20) return 14;
  return 16;
}

/* One for each 256 KiB of a small segment, up to 256; then for each half MiB above 256 MiB. */
static uint32_t caches_for(uint64_t size) {
  uint64_t caches = size >> 18;
  if (caches > 256) caches = size >> 28 != 0 ? (size >> 19) - 256 : 256;
  if (caches < PSM_CACHES_MIN) return PSM_CACHES_MIN;
  return caches > PSM_CACHES_MAX ? PSM_CACHES_MAX : (uint32_t)caches;
}

static uint32_t deaths_for(uint64_t size) {
  uint64_t deaths = size >> 13;
  if (deaths < PSM_DEATHS_MIN) return PSM_DEATHS_MIN;
  return deaths > PSM_DEATHS_MAX ? PSM_DEATHS_MAX : (uint32_t)deaths;
}

/* Lists hold runs of nearly the same length: exact below 16 units, then eight
 * lists for each doubling. */
uint32_t psm_bin_of(uint32_t units) {
  if (units < 16) return units;
  uint32_t top = bit_last(units);
  return 16 + (top - 4) * 8 + ((units >> (top - 3)) & 7);
}

/* Groups of a slab of the smallest blocks, and of the smallest that have states. */
static uint32_t groups_most(const struct geometry *g) {
  return (UINT32_C(1) << g->shift) / (PSM_ALIGN * PSM_GROUP);
}
static uint32_t stated_most(const struct geometry *g) {
  return (UINT32_C(1) << g->shift) / (PSM_STATED * PSM_GROUP);
}

struct group_place psm_groups_at(const struct geometry *g, uint32_t cls) {
  const struct psm_class *c = &g->classes->at[cls];
  if (c->groups <= g->near_groups) {
    uint64_t free = g->slabs + offsetof(struct slab_shm, groups);
    return (struct group_place){free, free + g->near_groups * sizeof(uint64_t), g->slab_size};
  }
  if (c->stated)
    return (struct group_place){g->annexes + stated_most(g) * sizeof(uint32_t), g->annexes,
                                g->annex_size};
  return (struct group_place){g->states + groups_most(g) * sizeof(uint32_t), g->states,
                              g->states_size};
}

static void lay_out(struct geometry *g, uint32_t units) {
  uint32_t count = g->classes->count;
  uint64_t at = sizeof(struct header_shm);
  g->units = units;
  g->bins = psm_bin_of(units) + 1;
  g->hint_words[0] = (units + 63) / 64;
  g->hint_words[1] = (g->hint_words[0] + 63) / 64;
  g->hint_words[2] = (g->hint_words[1] + 63) / 64;
  g->roster = at, at += PSM_SEATS * sizeof(struct seat_shm);
  g->spans = at, at += sizeof(struct spans_shm);
  g->table = PSM_TABLE_OFFSET, at += round_up(units * sizeof(uint32_t), 8);
  g->committed = at, at += (uint64_t)(g->chunks + 63) / 64 * 8;
  g->bin_heads = at, at += round_up(g->bins * sizeof(uint32_t), 8);
  for (int level = 2; level >= 1; level--)
    g->hints[level] = at, at += (uint64_t)count * g->hint_words[level] * 8;
  g->owners = at, at += round_up(g->caches * sizeof(uint32_t), 8);
  g->grants = at, at += round_up(g->caches * sizeof(uint32_t), 8);
  g->deaths = at, at += g->deaths_kept * sizeof(struct death_shm);
  g->eager = at;
  g->hints[0] = at, at += (uint64_t)count * g->hint_words[0] * 8;
  at = round_up(at, g->shift > 12 ? 64 : 16);
  g->slabs = at, at += (uint64_t)units * g->slab_size;
  g->annexes = at, at += (uint64_t)units * g->annex_size;
  g->states = at, at += (uint64_t)units * g->states_size;
  at = round_up(at, 64);
  g->cache_area = at, at += (uint64_t)g->caches * g->cache_size;
  /* Units are aligned in the address space, whatever the base is. */
  g->data = round_up(g->base + at, UINT64_C(1) << g->shift) - g->base;
}

bool psm_geometry(struct geometry *g, uint64_t size, uint64_t base) {
  if (size < PSM_SIZE_MIN || size >> PSM_SIZE_BITS != 0) return false;
  memset(g, 0, sizeof *g);
  g->size = size;
  g->base = base;
  g->shift = unit_shift_for(size);
  g->classes = psm_classes_for(g->shift);
  g->caches = caches_for(size);
  g->deaths_kept = deaths_for(size);
  g->chunks = (uint32_t)((size >> g->shift) + 1);
  uint32_t most = groups_most(g);
  uint64_t cache = sizeof(struct cache_shm) + g->classes->count * sizeof(struct slot_shm);
  g->near_groups = most < 4 ? most : 4;
  g->slab_size = (uint32_t)round_up(sizeof(struct slab_shm) + g->near_groups * GROUP_SIZE, 8);
  if (g->shift > 12) g->slab_size = (uint32_t)round_up(g->slab_size, 64);
  if (g->shift > 12) g->states_size = (UINT32_C(1) << g->shift) / PSM_STATED;
  if (stated_most(g) > g->near_groups) g->annex_size = stated_most(g) * GROUP_SIZE;
  g->cache_size = (uint32_t)round_up(cache, 64);
  uint64_t about_unit = g->slab_size + g->annex_size + g->states_size + sizeof(uint32_t);
  uint64_t per_unit = (UINT64_C(1) << g->shift) + about_unit;
  uint64_t units = size / per_unit;
  for (; units > 0; units--) {
    lay_out(g, (uint32_t)units);
    if (g->data + (units << g->shift) <= size) return true;
  }
  return false;
}

/* FNV-1a over 64-bit words, public domain (Fowler, Noll, Vo). */
static uint64_t header_checksum(const struct header_shm *header) {
  uint64_t words[offsetof(struct header_shm, checksum) / 8];
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  memcpy(words, header, sizeof words);
  for (size_t i = 0; i < sizeof words / 8; i++) sum = (sum ^ words[i]) * UINT64_C(0x100000001b3);
  return sum;
}

static uint8_t byte_order(void) {
  const uint16_t probe = 1;
  uint8_t low;
  memcpy(&low, &probe, 1);
  return low == 1 ? 1 : 2;
}

void psm_header_fill(struct header_shm *header, const struct geometry *g) {
  memset(header, 0, sizeof *header);
  header->magic = PSM_MAGIC;
  header->format = PSM_FORMAT;
  header->pointer_size = sizeof(void *);
  header->byte_order = byte_order();
  header->header_size = sizeof *header;
  header->size = g->size;
  header->base = g->base;
  header->unit_shift = g->shift;
  header->units = g->units;
  header->data = g->data;
  header->checksum = header_checksum(header);
  at_store(&header->state, STATE_CREATING);
}

int psm_header_judge(const struct header_shm *header, uint64_t file_size, struct geometry *g) {
  if (header->magic == bytes_reverse(PSM_MAGIC)) return PSM_E_PLATFORM;
  if (header->magic != PSM_MAGIC) return PSM_E_FORMAT;
  if (file_size < sizeof *header) return PSM_E_TRUNCATED;
  if ((header->pointer_size != 4 && header->pointer_size != 8) || header->byte_order == 0 ||
      header->byte_order > 2)
    return PSM_E_CORRUPT;
  if (header->pointer_size != sizeof(void *)) return PSM_E_PLATFORM;
  if (header->byte_order != byte_order()) return PSM_E_PLATFORM;
  if (header->format != PSM_FORMAT) return PSM_E_VERSION;
  if (header->checksum != header_checksum(header)) return PSM_E_CORRUPT;
  if (header->base == 0 || header->size >= UINTPTR_MAX) return PSM_E_CORRUPT;
  if (header->base >= UINTPTR_MAX - header->size) return PSM_E_CORRUPT;
  if (!psm_geometry(g, header->size, header->base)) return PSM_E_CORRUPT;
  if (header->header_size != sizeof *header || header->unit_shift != g->shift ||
      header->units != g->units || header->data != g->data)
    return PSM_E_CORRUPT;
  if (header->size != file_size) return PSM_E_TRUNCATED;
  return PSM_OK;
}
