/* A bit per unit-sized chunk of the file says whether it is committed.
 *
 * The bit is set after the file system has agreed and cleared before the
 * memory goes, so that a death in between costs a system call, never a SIGBUS.
 */
#include "commit.h"

static bool chunk_committed(const struct segment *s, uint64_t chunk) {
  return (at_load(&s->committed[chunk / 64]) >> (chunk % 64) & 1) != 0;
}

static void chunk_mark(struct segment *s, uint64_t chunk, bool committed) {
  uint64_t bit = UINT64_C(1) << (chunk % 64);
  if (committed)
    (void)at_or(&s->committed[chunk / 64], bit);
  else
    (void)at_and(&s->committed[chunk / 64], ~bit);
}

bool psm_file_regain(struct segment *s) {
  if (s->file != OS_NO_FILE && os_file_is(s->file, &s->identity)) return true;
  bool created;
  int how = s->readonly ? OS_READ : OS_WRITE;
  s->file = OS_NO_FILE;
  if (os_file_open(s->path, how, 0, &s->file, &created) != PSM_OK) return false;
  if (os_file_is(s->file, &s->identity)) return true;
  os_file_close(s->file);
  s->file = OS_NO_FILE;
  return false;
}

static uint64_t chunk_end(const struct segment *s, uint64_t chunk) {
  uint64_t end = (chunk + 1) << s->shift;
  return end < s->geometry.size ? end : s->geometry.size;
}

int psm_commit(struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t last = (offset + count - 1) >> s->shift;
  for (uint64_t from = offset >> s->shift; from <= last;) {
    if (chunk_committed(s, from)) {
      from++;
      continue;
    }
    uint64_t to = from + 1;
    while (to <= last && !chunk_committed(s, to)) to++;
    uint64_t start = from << s->shift;
    if (!psm_file_regain(s)) return PSM_E_SYSTEM;
    int result = os_file_commit(s->file, start, chunk_end(s, to - 1) - start);
    if (result != PSM_OK) return result;
    for (; from < to; from++) chunk_mark(s, from, true);
  }
  return PSM_OK;
}

/* The large page around a unit, if the segment has all of it: an offset. */
static bool large_page(const struct segment *s, uint64_t offset, uint64_t *from) {
  *from = offset - ((uintptr_t)s->base + offset) % OS_LARGE_PAGE;
  return s->large_pages && *from <= offset && *from + OS_LARGE_PAGE <= s->data + s->data_size;
}

int psm_commit_ahead(struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t ahead = s->geometry.size / 64, page;
  if (large_page(s, offset, &page) && psm_commit(s, page, OS_LARGE_PAGE) == PSM_OK) return PSM_OK;
  if (ahead > UINT64_C(1) << 20) ahead = UINT64_C(1) << 20;
  if (chunk_committed(s, offset >> s->shift) || ahead <= count) return psm_commit(s, offset, count);
  uint64_t end = s->data + s->data_size;
  uint64_t more = end - offset < ahead ? end - offset : ahead;
  if (psm_commit(s, offset, more) == PSM_OK) return PSM_OK;
  return psm_commit(s, offset, count);
}

static bool all_committed(const struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t last = (offset + count - 1) >> s->shift;
  uint64_t chunk = offset >> s->shift;
  while (chunk <= last && chunk_committed(s, chunk)) chunk++;
  return chunk > last;
}

static bool touched_mark(struct segment *s, uint64_t unit) {
  uint64_t bit = UINT64_C(1) << unit % 64;
  return (at_or(&s->touched[unit / 64], bit) & bit) != 0;
}

/* The first unit that is touched brings the others with it; if it cannot, each
 * of them is mapped by itself. */
static bool large_page_map(struct segment *s, uint32_t unit) {
  uint64_t page;
  if (!large_page(s, unit_offset(s, unit), &page) || !all_committed(s, page, OS_LARGE_PAGE))
    return false;
  uint64_t first = page > s->data ? (page - s->data + unit_size(s) - 1) >> s->shift : 0;
  uint64_t end = (page - s->data + OS_LARGE_PAGE) >> s->shift;
  for (uint64_t at = first; at < end; at++)
    if (at != unit && (at_load(&s->touched[at / 64]) >> at % 64 & 1) != 0) return false;
  if (!os_populate_large(s->base + page)) return false;
  for (uint64_t at = first; at < end; at++) (void)touched_mark(s, at);
  return true;
}

/* One call for what would be a page fault for each page. */
void psm_touch_first(struct segment *s, uint32_t unit) {
  if (touched_mark(s, unit) || large_page_map(s, unit)) return;
  os_populate(s->base + unit_offset(s, unit), (size_t)unit_size(s));
}

/* Where a page holds several units they go together: a part of a page gives
 * nothing back. What no bit tells of goes as well: there may be memory all the
 * same, of one who died before the bit was set or behind one cleared, or because
 * another process made a large page of what was just given back. And no bit comes
 * back if the system refuses, for it may have given up a part. */
uint64_t psm_decommit(struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t page = os_page_size();
  uint64_t grain = page > unit_size(s) ? page : unit_size(s);
  uint64_t from = round_up(offset, grain), to = (offset + count) & ~(grain - 1);
  uint64_t bytes = 0;
  if (from >= to || !psm_file_regain(s)) return 0;
  for (uint64_t chunk = from >> s->shift; chunk < to >> s->shift; chunk++) {
    if (!chunk_committed(s, chunk)) continue;
    chunk_mark(s, chunk, false);
    bytes += unit_size(s);
  }
  return os_file_punch(s->file, from, to - from) == PSM_OK ? bytes : 0;
}

uint64_t psm_committed_bytes(const struct segment *s) {
  uint64_t chunks = 0;
  for (uint32_t i = 0; i < (s->geometry.chunks + 63) / 64; i++)
    chunks += bit_count(at_load(&s->committed[i]));
  uint64_t bytes = chunks << s->shift;
  return bytes < s->geometry.size ? bytes : s->geometry.size;
}
