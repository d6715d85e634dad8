/* The file of a trace: a header and one 64-bit record for each event, in the byte order of the
 * machine that recorded it.
 *
 *   bit 63       1: free, 0: allocate
 *   bits 62..24  bytes that were asked for; 0 of a free
 *   bits 23..0   slot: the name of the block while it lives; then another has it
 */
#ifndef BENCH_TRACE_FORMAT_H
#define BENCH_TRACE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define TRACE_MAGIC UINT64_C(0x31454341525450) /* "PTRACE1" */

enum { TRACE_SLOT_BITS = 24, TRACE_SLOTS_MAX = 1 << TRACE_SLOT_BITS };

#define TRACE_FREE     (UINT64_C(1) << 63)
#define TRACE_SIZE_MAX ((UINT64_C(1) << 39) - 1)

typedef struct TraceHeader {
  uint64_t magic;
  uint64_t records;     /* that follow */
  uint64_t allocations; /* among them */
  uint64_t slots;       /* all slots are below; also the most blocks alive at once */
  uint64_t peak;        /* bytes alive at most */
} TraceHeader;

static inline uint32_t trace_slot(uint64_t record) { return record & (TRACE_SLOTS_MAX - 1); }

static inline int trace_is_free(uint64_t record) { return (record & TRACE_FREE) != 0; }

static inline size_t trace_size(uint64_t record) {
  return (size_t)(record >> TRACE_SLOT_BITS & TRACE_SIZE_MAX);
}

static inline uint64_t trace_record(uint32_t slot, size_t size, uint64_t flags) {
  return (uint64_t)size << TRACE_SLOT_BITS | slot | flags;
}

#endif
