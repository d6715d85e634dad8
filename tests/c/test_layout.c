/* The golden layout: any change here is a change of the file format.
 *
 * A change is deliberate if PSM_FORMAT grows with it and CHANGELOG says so.
 */
#include "harness.h"

#include <inttypes.h>

#include "layout.h"

struct golden {
  uint64_t size;
  uint64_t shift, units, classes, caches, bins, slab_size, annex_size, states_size, cache_size;
  uint64_t table, committed, bin_heads, owners, grants, eager, slabs, annexes, states, cache_area,
      data;
  uint64_t deaths_kept;
};

static const struct golden goldens[] = {
    {30720, 12,    2,     28,    2,     3,     56,    0,     0,     512,   16768,
     16776, 16784, 17248, 17256, 17392, 17616, 17728, 17728, 17728, 20480, 8},
    {1048576, 12,    246,   28,    4,     48,    56,    0,     0,     512,   16768,
     17752,   17792, 18432, 18448, 20512, 21408, 35184, 35184, 35200, 40960, 128},
    {16777216, 14,    998,   44,    64,    64,    64,     0,      256,    768,    16768,
     20760,    20896, 21856, 22112, 38752, 44416, 108288, 108288, 363776, 425984, 1024},
    {268435456, 16,    4010,  84,    256,   80,    64,     192,     1024,    1408,    16768,
     32808,     33328, 34992, 36016, 53424, 95808, 352448, 1122368, 5228608, 5636096, 1024},
    {17179869184, 16,       256977,   84,        4096,      128,     64,      192,
     1024,        1408,     16768,    1044680,   1077456,   1120976, 1137360, 1170128,
     3868928,     20315456, 69655040, 332799488, 338624512, 1024},
    {1099511627776, 16,         16452083,   84,          4096,        176,      64,       192,
     1024,          1408,       16768,      65825104,    67922264,    70664728, 70681112, 70713880,
     243460928,     1296394240, 4455194176, 21302127168, 21307916288, 1024},
};

CASE(geometry_is_golden) {
  for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
    const struct golden *want = &goldens[i];
    struct geometry g;
    if (want->size >> PSM_SIZE_BITS != 0) { /* beyond what 32 bits can address */
      CHECK(!psm_geometry(&g, want->size, UINT64_C(0x550000000000)));
      continue;
    }
    CHECK(psm_geometry(&g, want->size, UINT64_C(0x550000000000)));
    struct golden got = {g.size,  g.shift,      g.units,      g.classes->count, g.caches,
                         g.bins,  g.slab_size,  g.annex_size, g.states_size,    g.cache_size,
                         g.table, g.committed,  g.bin_heads,  g.owners,         g.grants,
                         g.eager, g.slabs,      g.annexes,    g.states,         g.cache_area,
                         g.data,  g.deaths_kept};
    if (memcmp(&got, want, sizeof got) != 0)
      FAIL("the layout of %" PRIu64 " bytes has changed: data at %" PRIu64, want->size, g.data);
  }
}

CASE(words_of_units) {
  for (uint32_t value = 0; value < 3000; value++) {
    CHECK_EQ(unit_kind(unit_word(UNIT_SLAB, value)), UNIT_SLAB);
    CHECK_EQ(unit_value(unit_word(UNIT_SLAB, value)), value);
    for (uint32_t kind = UNIT_TAIL; kind <= UNIT_LARGE; kind += 2) {
      _Atomic uint32_t word = unit_word(kind, value);
      CHECK_EQ(unit_kind(word), kind);
      CHECK_EQ(unit_value(word), value);
      CHECK_EQ(unit_byte(&word) & 1, 0);
    }
  }
  for (uint32_t cls = 0; cls < PSM_CLASSES; cls++) {
    _Atomic uint32_t word = unit_word(UNIT_SLAB, cls);
    CHECK_EQ(unit_byte(&word), word);
  }
}

CASE(structs_are_golden) {
  CHECK_EQ(offsetof(struct header_shm, format), 8);
  CHECK_EQ(offsetof(struct header_shm, pointer_size), 12);
  CHECK_EQ(offsetof(struct header_shm, size), 16);
  CHECK_EQ(offsetof(struct header_shm, base), 24);
  CHECK_EQ(offsetof(struct header_shm, data), 40);
  CHECK_EQ(offsetof(struct header_shm, checksum), 48);
  CHECK_EQ(offsetof(struct header_shm, state), 56);
  CHECK_EQ(offsetof(struct header_shm, keep), 60);
  CHECK_EQ(offsetof(struct header_shm, user), 64);
  CHECK_EQ(offsetof(struct header_shm, error), 72);
  CHECK_EQ(offsetof(struct seat_shm, tenure), 8);
  CHECK_EQ(offsetof(struct spans_shm, marked), 4);
  CHECK_EQ(offsetof(struct spans_shm, deaths), 32);
  CHECK_EQ(offsetof(struct spans_shm, bin_map), 64);
  CHECK_EQ(GROUP_SIZE, 12);
  CHECK_EQ(offsetof(struct slab_shm, groups), 8);
  CHECK_EQ(offsetof(struct slot_shm, group), 8);
  CHECK_EQ(offsetof(struct spans_shm, pressure), 48);
  CHECK_EQ(offsetof(struct cache_shm, keeps), 24);
  CHECK_EQ(offsetof(struct cache_shm, slots), 64);
}

/* In both byte orders; the word size is one byte of it. */
CASE(header_bytes_are_golden) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  static const unsigned char want[] = {
      'P', 'S', 'M', 'S', 'E', 'G', '\r', '\n', 5, 0, 0, 0, sizeof(void *), 1, 0, 1, 0,
      0,   0,   16,  0,   0,   0,   0,    0,    0, 0, 0, 0, 0x55,           0, 0, 16};
#else
  static const unsigned char want[] = {
      '\n', '\r', 'G', 'E', 'S', 'M', 'S', 'P', 0, 0, 0, 5, sizeof(void *),
      2,    1,    0,   0,   0,   0,   0,   16,  0, 0, 0, 0, 0,
      0x55, 0,    0,   0,   0,   0,   0,   0,   0, 16};
#endif
  struct geometry g;
  struct header_shm header;
  unsigned char got[sizeof want];
  CHECK(psm_geometry(&g, UINT64_C(1) << 28, UINT64_C(0x550000000000)));
  psm_header_fill(&header, &g);
  memcpy(got, &header, sizeof got);
  for (size_t i = 0; i < sizeof want; i++)
    if (got[i] != want[i]) FAIL("byte %zu is 0x%02x, not 0x%02x", i, got[i], want[i]);
  CHECK_EQ(header.units, 4010);
  CHECK_EQ(header.data, 5636096);
  CHECK(header.checksum != 0);
}

CASE(classes_waste_little) {
  for (uint32_t shift = 12; shift <= 16; shift += 2) {
    const struct psm_classes *classes = psm_classes_for(shift);
    CHECK_EQ(classes->at[classes->count - 1].size, classes->small_max);
    for (uint32_t size = 1; size <= classes->small_max; size++) {
      const struct psm_class *cls = &classes->at[size_class(classes, size)];
      CHECK(cls->size >= size);
      CHECK(cls->size < size + size * 5 / 8 + 16);
    }
  }
}

CASE(block_index_is_exact) {
  for (uint32_t shift = 12; shift <= 16; shift += 2) {
    const struct psm_classes *classes = psm_classes_for(shift);
    for (uint32_t i = 0; i < classes->count; i++)
      for (uint32_t offset = 0; offset < UINT32_C(1) << shift; offset++) {
        const struct psm_class *cls = &classes->at[i];
        uint64_t scaled = block_scaled(offset, cls->reciprocal);
        CHECK_EQ(block_index(cls, offset), offset / cls->size);
        CHECK_EQ(block_begins(scaled, cls->reciprocal), offset % cls->size == 0);
      }
  }
}

CASE(metadata_stays_under_three_percent) {
  struct geometry g;
  CHECK(psm_geometry(&g, UINT64_C(256) << 20, UINT64_C(0x550000000000)));
  CHECK(g.data * 100 < g.size * 3);
}
