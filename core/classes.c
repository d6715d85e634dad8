/* The class tables for the three unit sizes, made once per process. */
#include "classes.h"

#include "os/os.h"

static struct psm_classes tables[3];
static os_once tables_once = OS_ONCE_INIT;

static uint32_t step_limit(uint32_t step) {
  if (step < 8) return (step + 1) * 16;
  return (8 + step % 8 + 1) << (step / 8 + 3);
}

static void classes_fill(struct psm_classes *classes, uint32_t shift) {
  uint32_t unit = UINT32_C(1) << shift;
  classes->small_max = unit / 2;
  for (uint32_t step = 0; step < PSM_STEPS && step_limit(step) <= unit / 2; step++) {
    uint32_t blocks = unit / step_limit(step);
    uint32_t size = unit / blocks & ~(uint32_t)(PSM_ALIGN - 1);
    if (classes->count == 0 || classes->at[classes->count - 1].size < size) {
      struct psm_class *class = &classes->at[classes->count++];
      class->size = size;
      class->blocks = unit / size;
      class->groups = (class->blocks + PSM_GROUP - 1) / PSM_GROUP;
      class->reciprocal = (uint32_t)(((UINT64_C(1) << 32) + size - 1) / size);
    }
    classes->of_step[step] = (uint8_t)(classes->count - 1);
  }
}

static void tables_fill(void) {
  for (uint32_t i = 0; i < 3; i++) classes_fill(&tables[i], 12 + 2 * i);
}

const struct psm_classes *psm_classes_for(uint32_t shift) {
  os_run_once(&tables_once, tables_fill);
  return &tables[(shift - 12) / 2];
}
