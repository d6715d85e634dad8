/* Does the cost grow? `growth` in a segment of `heap` bytes with `live` blocks
 * and `idle` members: attach_ns, detach_ns, and alloc_ns and free_ns in batches
 * of 1,000 blocks; `use_ns` is an attach, a pair and a detach, so that nothing
 * can be put off until the first use. Medians. */
enum { GROWTH_BATCH = 1000, GROWTH_TIMES = 1000 };

typedef struct Growth {
  uint64_t attach[GROWTH_TIMES], detach[GROWTH_TIMES], use[GROWTH_TIMES];
  uint64_t alloc[GROWTH_TIMES], free[GROWTH_TIMES];
  void *block[GROWTH_BATCH];
} Growth;

static int compare_u64(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static double median_of(uint64_t *values, uint64_t count) {
  qsort(values, (size_t)count, sizeof *values, compare_u64);
  return (double)values[count / 2];
}

static uint64_t growth_attach(const Options *options, Growth *growth) {
  uint64_t done = 0;
  uint64_t began = clock_ns();
  do {
    uint64_t start = clock_ns();
    segment_open(options, &peer);
    uint64_t attached = clock_ns();
    peer.close();
    uint64_t detached = clock_ns();
    segment_open(options, &peer);
    peer_free(block_new(options->size, done));
    peer.close();
    growth->attach[done] = attached - start;
    growth->detach[done] = detached - attached;
    growth->use[done++] = clock_ns() - detached;
  } while (done < GROWTH_TIMES && clock_ns() - began < options->ms * 1000000u);
  return done;
}

static uint64_t growth_use(const Options *options, Growth *growth) {
  uint64_t done = 0;
  uint64_t began = clock_ns();
  do {
    uint64_t start = clock_ns();
    for (uint32_t i = 0; i < GROWTH_BATCH; i++) growth->block[i] = block_new(options->size, i);
    uint64_t allocated = clock_ns();
    for (uint32_t i = 0; i < GROWTH_BATCH; i++) peer_free(growth->block[i]);
    growth->alloc[done] = allocated - start;
    growth->free[done++] = clock_ns() - allocated;
  } while (done < GROWTH_TIMES && clock_ns() - began < options->ms * 1000000u);
  return done;
}

static void growth_run(Options *options) {
  static Growth growth;
  Crowd crowd;
  crowd_start(options, &crowd);
  uint64_t attaches = growth_attach(options, &growth);
  segment_open(options, &peer);
  uint64_t batches = growth_use(options, &growth);
  double metadata = peer.metadata ? (double)peer.metadata() : -1;
  peer.close();
  report_begin(options, &peer);
  double attach = median_of(growth.attach, attaches), detach = median_of(growth.detach, attaches);
  report_number("ns", attach + detach);
  report_number("attach_ns", attach);
  report_number("detach_ns", detach);
  report_number("use_ns", median_of(growth.use, attaches));
  report_number("alloc_ns", median_of(growth.alloc, batches) / GROWTH_BATCH);
  report_number("free_ns", median_of(growth.free, batches) / GROWTH_BATCH);
  if (metadata >= 0) report_number("metadata_bytes", metadata);
  report_end();
  crowd_end(options, &crowd);
}
