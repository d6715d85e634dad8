/* The class tables for the three unit sizes, made once per process. */
#include "classes.h"

#include <string.h>

#include "os/os.h"

static struct psm_classes tables[3];
static os_once tables_once = OS_ONCE_INIT;

/* Steps of 16 bytes up to 256; then 16 steps for each doubling up to 2 KiB, and 8 beyond. */
static uint32_t candidate(uint32_t step) {
  if (step < 16) return (step + 1) * 16;
  step -= 16;
  if (step < 3 * 16) return (16 + step % 16 + 1) << (step / 16 + 4);
  step -= 3 * 16;
  return (8 + step % 8 + 1) << (step / 8 + 8);
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
  cls->reciprocal = (uint32_t)(((UINT64_C(1) << 32) + size - 1) / size);
}

static void classes_fill(struct psm_classes *classes, uint32_t shift) {
  uint32_t unit = UINT32_C(1) << shift;
  uint32_t last = 0;
  classes->small_max = unit / 2;
  for (uint32_t step = 0; step < PSM_CLASSES && candidate(step) <= unit / 2; step++) {
    uint32_t size = unit / (unit / candidate(step)) & ~(uint32_t)(PSM_ALIGN - 1);
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
