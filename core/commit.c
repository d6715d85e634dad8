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

int psm_commit_ahead(struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t ahead = s->geometry.size / 64;
  if (ahead > UINT64_C(1) << 20) ahead = UINT64_C(1) << 20;
  if (chunk_committed(s, offset >> s->shift) || ahead <= count) return psm_commit(s, offset, count);
  uint64_t end = s->data + s->data_size;
  uint64_t more = end - offset < ahead ? end - offset : ahead;
  if (psm_commit(s, offset, more) == PSM_OK) return PSM_OK;
  return psm_commit(s, offset, count);
}

/* The bytes of some chunks, 64 at most, that were committed. */
static uint64_t chunks_decommit(struct segment *s, uint64_t from, uint64_t to) {
  uint64_t marked = 0;
  for (uint64_t i = from; i < to; i++) {
    if (!chunk_committed(s, i)) continue;
    marked |= UINT64_C(1) << (i - from);
    chunk_mark(s, i, false);
  }
  if (marked == 0) return 0;
  if (os_file_punch(s->file, from << s->shift, (to - from) << s->shift) == PSM_OK)
    return (uint64_t)bit_count(marked) << s->shift;
  for (uint64_t i = from; i < to; i++)
    if ((marked >> (i - from) & 1) != 0) chunk_mark(s, i, true);
  return 0;
}

/* Where a page holds several units they go together: a part of a page gives
 * nothing back. */
uint64_t psm_decommit(struct segment *s, uint64_t offset, uint64_t count) {
  uint64_t page = os_page_size();
  uint64_t grain = page > unit_size(s) ? page : unit_size(s);
  uint64_t bytes = 0;
  if (!psm_file_regain(s)) return 0;
  for (uint64_t at = round_up(offset, grain); at + grain <= offset + count; at += grain)
    bytes += chunks_decommit(s, at >> s->shift, (at + grain) >> s->shift);
  return bytes;
}

uint64_t psm_committed_bytes(const struct segment *s) {
  uint64_t chunks = 0;
  for (uint32_t i = 0; i < (s->geometry.chunks + 63) / 64; i++)
    chunks += bit_count(at_load(&s->committed[i]));
  uint64_t bytes = chunks << s->shift;
  return bytes < s->geometry.size ? bytes : s->geometry.size;
}
