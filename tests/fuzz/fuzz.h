/* What the fuzz targets share: the library as one file with a hook at every shared access, the
 * fuzzer's input as a stream, and the failure that ends a run.
 *
 * The hook makes two things repeatable that depend on luck otherwise: another process that writes
 * in the middle of a call (strikes, see hostile.h), and calls that never end.
 */
#ifndef PSM_FUZZ_H
#define PSM_FUZZ_H

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* ---- Hooks ---------------------------------------------------------------- */

static void fuzz_step(void);
static long fuzz_syscall(long number, ...);

#define AT_LOAD_HOOK  fuzz_step
#define AT_STORE_HOOK fuzz_step
#define syscall       fuzz_syscall
#include "psm.c"
#undef syscall

#include "psm.h"

/* ---- Failure -------------------------------------------------------------- */

/* What a promise forbids: libFuzzer keeps the input of a run that aborts. */
#define FAIL(...)                                                   \
  do {                                                              \
    fprintf(stderr, "%s:%d: broken promise: ", __FILE__, __LINE__); \
    fprintf(stderr, __VA_ARGS__);                                   \
    fprintf(stderr, "\n");                                          \
    abort();                                                        \
  } while (0)
#define CHECK(condition)                              \
  do {                                                \
    if (!(condition)) FAIL("not so: %s", #condition); \
  } while (0)

/* ---- Input ---------------------------------------------------------------- */

/* Read past its end it is all zeros. */
struct input {
  const uint8_t *at, *end;
};

static inline uint64_t input_take(struct input *in, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes && in->at < in->end; i++) value |= (uint64_t)*in->at++ << 8 * i;
  return value;
}
static inline uint8_t input_8(struct input *in) { return (uint8_t)input_take(in, 1); }
static inline uint16_t input_16(struct input *in) { return (uint16_t)input_take(in, 2); }
static inline uint32_t input_32(struct input *in) { return (uint32_t)input_take(in, 4); }
static inline uint32_t input_below(struct input *in, uint32_t limit) {
  uint32_t value = limit > 256 ? input_16(in) : input_8(in);
  return limit == 0 ? 0 : value % limit;
}

/* ---- Guards --------------------------------------------------------------- */

#define GUARD_SIZE (UINT64_C(1) << 30)

/* Leave a hole for a segment between pages that nobody may touch. */
static inline void guard_pages(uint64_t base, uint64_t size) {
  char *from = (char *)(uintptr_t)(base - GUARD_SIZE);
  size_t all = (size_t)(size + 2 * GUARD_SIZE);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  CHECK(size % (uint64_t)sysconf(_SC_PAGESIZE) == 0);
  CHECK(mmap(from, all, PROT_NONE, flags, -1, 0) == from);
  CHECK(munmap(from + GUARD_SIZE, (size_t)size) == 0);
}

#endif
