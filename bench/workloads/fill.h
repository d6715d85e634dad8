/* How much of a segment is payload: fill it, free a random half, fill it with
 * blocks of another size.
 *
 *   share         payload (bytes asked for) of the segment's size when the first block is refused
 *   share_last    the same when 100 blocks in a row were refused, or it took too long
 *   refused_ns    a refused allocation of those
 *   share_refill  after the second filling, to its first refusal
 *   metadata      resident metadata of the segment's size, where it is known
 *
 * A private allocator has no segment: it gets nine tenths of the same bytes,
 * and the shares are of what the process's resident memory grew by. All pages
 * of a block are touched.
 */
enum { FILL_SIZES = 1 << 16, FILL_REFUSALS = 100 };

typedef struct Fill {
  const Options *options;
  uint32_t *sizes; /* FILL_SIZES of them, then they begin again */
  void **block;
  uint32_t *size;
  uint64_t count, capacity, payload;
  uint64_t limit; /* bytes of payload of a private allocator */
  uint64_t resident;
  uint64_t began;
} Fill;

static uint64_t resident_bytes(void) {
  unsigned long long total = 0, resident = 0;
  char text[128] = "";
  int file = open("/proc/self/statm", O_RDONLY);
  ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (length <= 0 || sscanf(text, "%llu %llu", &total, &resident) != 2)
    die("cannot read /proc/self/statm");
  close(file);
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double fill_share(const Fill *fill) {
  if (peer.sharing != SHARES_NOTHING) return (double)fill->payload / (double)fill->options->heap;
  return (double)fill->payload / (double)(resident_bytes() - fill->resident);
}

/** Returns  1, or 0: refused. */
static int fill_one(Fill *fill, uint32_t size) {
  if (fill->payload + size > fill->limit) return 0;
  if (fill->count == fill->capacity) die("more blocks than bytes");
  void *block = peer_alloc(size);
  if (!block) return 0;
  for (uint32_t at = 0; at < size; at += 4096) ((volatile char *)block)[at] = 1;
  fill->size[fill->count] = size;
  fill->block[fill->count++] = block;
  fill->payload += size;
  return 1;
}

static int fill_late(const Fill *fill) {
  return clock_ns() - fill->began > fill->options->setup_ms * 1000000u;
}

static uint64_t fill_to_first(Fill *fill) {
  uint64_t at = 0;
  for (; fill_one(fill, fill->sizes[at % FILL_SIZES]); at++)
    if (at % CHECK_EVERY == 0)
      setup_check(fill->began, fill->options->setup_ms, fill->payload, fill->options->heap);
  return at;
}

/* Returns the mean time of a refusal in ns. */
static double fill_to_last(Fill *fill, uint64_t at) {
  uint64_t refusals = 0, took = 0;
  for (uint32_t row = 0; row < FILL_REFUSALS && !fill_late(fill); at++) {
    uint64_t start = clock_ns();
    if (fill_one(fill, fill->sizes[at % FILL_SIZES])) {
      row = 0;
      continue;
    }
    took += clock_ns() - start;
    refusals++;
    row++;
  }
  return refusals ? (double)took / (double)refusals : 0;
}

/** Returns  1, or 0: it is too slow, and the rest is as it was. */
static int fill_free_half(Fill *fill, Random *random) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < fill->count; i++) {
    if (random_next(random) >> 63) {
      peer_free(fill->block[i]);
      fill->payload -= fill->size[i];
    } else {
      fill->block[kept] = fill->block[i];
      fill->size[kept++] = fill->size[i];
    }
    if (i % CHECK_EVERY == 0 && fill_late(fill)) return 0;
  }
  fill->count = kept;
  fill->began = clock_ns();
  return 1;
}

static void fill_prepare(Fill *fill, const Options *options, Random *random) {
  memset(fill, 0, sizeof *fill);
  fill->options = options;
  fill->capacity = options->heap / 16;
  fill->limit = peer.sharing == SHARES_NOTHING ? options->heap / 10 * 9 : UINT64_MAX;
  fill->sizes = (uint32_t *)pages(FILL_SIZES * sizeof *fill->sizes);
  fill->block = (void **)pages((size_t)fill->capacity * sizeof *fill->block);
  fill->size = (uint32_t *)pages((size_t)fill->capacity * sizeof *fill->size);
  for (uint32_t i = 0; i < FILL_SIZES; i++) fill->sizes[i] = size_draw(options, random);
  if (peer.sharing == SHARES_NOTHING) { /* so that they do not count as the allocator's */
    memset(fill->block, 1, (size_t)fill->capacity * sizeof *fill->block);
    memset(fill->size, 1, (size_t)fill->capacity * sizeof *fill->size);
  }
  if (peer.heap_max && options->heap > peer.heap_max) cannot("it has no segment of that size");
  segment_open(options, &peer);
  fill->resident = resident_bytes();
  fill->began = clock_ns();
}

static void fill_again(Fill *fill) {
  for (uint32_t i = 0; i < FILL_SIZES; i++) fill->sizes[i] = (uint32_t)fill->options->refill;
  (void)fill_to_first(fill);
}

static void fill_run(Options *options) {
  Fill fill;
  Random random = {1};
  if (options->members != 1 || options->refill == 0) die("it needs members=1 and refill=BYTES");
  fill_prepare(&fill, options, &random);
  uint64_t at = fill_to_first(&fill);
  double ns = (double)(clock_ns() - fill.began) / (double)at;
  double share = fill_share(&fill);
  fill.began = clock_ns();
  double refused = fill_to_last(&fill, at);
  double share_last = fill_share(&fill);
  double metadata = peer.metadata ? (double)peer.metadata() / (double)options->heap : -1;
  report_begin(options, &peer);
  report_number("ns", ns);
  report_number("share", share);
  report_number("share_last", share_last);
  if (metadata >= 0) report_number("metadata", metadata);
  if (peer.sharing != SHARES_NOTHING) report_number("refused_ns", refused);
  fill.began = clock_ns();
  if (fill_free_half(&fill, &random)) {
    fill_again(&fill);
    report_number("share_refill", fill_share(&fill));
  }
  report_end();
  peer.close();
  shm_unlink(options->name);
}
