/* The class tables for the three unit sizes, made once per process. */
#include "classes.h"

#include <string.h>

#include "os/os.h"

static struct psm_classes tables[3];
static os_once tables_once = OS_ONCE_INIT;

/* The steps of a doubling: the more, the less is wasted in a block, and the more
 * groups a thread holds, which in a small segment is more than it has. */
struct spacing {
  uint32_t fine, fine_below; /* steps, up to this size */
  uint32_t coarse;
};

static struct spacing spacing_for(uint32_t unit) {
  if (unit < PSM_UNIT_MAX) return (struct spacing){8, 0, 8};
  return (struct spacing){16, 2048, 8};
}

/* The size after this one. Both are multiples of 16. */
static uint32_t step_up(const struct spacing *spacing, uint32_t size) {
  uint32_t steps = size < spacing->fine_below ? spacing->fine : spacing->coarse;
  uint32_t step = (UINT32_C(1) << bit_last(size)) / steps;
  return size + (step > PSM_ALIGN ? step : PSM_ALIGN);
}

static void class_add(struct psm_classes *classes, uint32_t size, uint32_t unit) {
  struct psm_class *cls = &classes->at[classes->count++];
  cls->size = size;
  cls->blocks = (uint16_t)(unit / size);
  cls->groups = (uint8_t)((cls->blocks + PSM_GROUP - 1) / PSM_GROUP);
  for (uint32_t group = 0; group < cls->groups; group++) {
    uint32_t blocks = group_blocks(cls, group);
    cls->notable |= UINT64_C(1) << (offer_threshold(blocks) - 1) | UINT64_C(1) << (blocks - 1);
  }
  /* In units of 4 KiB they would take more than they save. */
  cls->stated = unit > 4096 && size >= PSM_STATED;
  cls->reciprocal = (uint32_t)(((UINT64_C(1) << 32) + size - 1) / size);
}

static void classes_fill(struct psm_classes *classes, uint32_t shift) {
  uint32_t unit = UINT32_C(1) << shift;
  uint32_t last = 0;
  classes->small_max = unit / 2;
  struct spacing spacing = spacing_for(unit);
  for (uint32_t next = PSM_ALIGN; next <= unit / 2; next = step_up(&spacing, next)) {
    uint32_t size = unit / (unit / next) & ~(uint32_t)(PSM_ALIGN - 1);
    if (size > last) class_add(classes, size, unit);
    last = size;
  }
  for (uint32_t cls = classes->count; cls-- > 0;)
    memset(classes->of_16, (int)cls, classes->at[cls].size / 16 + 1);
}

static void tables_fill(void) {
  for (uint32_t i = 0; i < 3; i++) classes_fill(&tables[i], 12 + 2 * i);
}

const struct psm_classes *psm_classes_for(uint32_t shift) {
  os_run_once(&tables_once, tables_fill);
  return &tables[(shift - 12) / 2];
}
