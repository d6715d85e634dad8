/* How long single operations take: `latency_pair` and `latency_replace`.
 *
 * Each operation is between two readings of the time stamp counter, each of them between fences:
 * so all of the operation is in the time, and nothing of its neighbours. What two readings
 * without anything between them take is subtracted, and told as `overhead_ns`. No time is finer
 * than the counter's step, `step_ns`: some processors count in steps of several cycles.
 */
enum { LATENCY_SUB_BITS = 5, LATENCY_BUCKETS = 48 << LATENCY_SUB_BITS };

typedef struct Latency {
  uint64_t count[LATENCY_BUCKETS];
  uint64_t overhead; /* ticks */
  uint64_t max;      /* ticks */
} Latency;

static Latency *latencies; /* of each member */

static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
  __builtin_ia32_lfence();
  uint64_t now = __builtin_ia32_rdtsc();
  __builtin_ia32_lfence();
  return now;
#else
  return clock_ns();
#endif
}

static double ticks_per_ns(void) {
  uint64_t ns = clock_ns(), ticks = ticks_now();
  while (clock_ns() - ns < 20000000u) continue;
  return (double)(ticks_now() - ticks) / (double)(clock_ns() - ns);
}

/* 32 buckets for each power of two: a bucket is as wide as 3 % of its values. */
static inline uint32_t latency_bucket(uint64_t ticks) {
  uint32_t exact = 1 << LATENCY_SUB_BITS;
  if (ticks < exact) return (uint32_t)ticks;
  uint32_t shift = 63 - (uint32_t)__builtin_clzll(ticks) - LATENCY_SUB_BITS;
  uint32_t bucket = (shift << LATENCY_SUB_BITS) + (uint32_t)(ticks >> shift);
  return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static double latency_value(uint32_t bucket) {
  uint32_t exact = 1 << LATENCY_SUB_BITS;
  if (bucket < 2 * exact) return bucket;
  uint32_t shift = (bucket >> LATENCY_SUB_BITS) - 1;
  double low = ldexp(bucket - ((double)shift * exact), (int)shift);
  return low + (ldexp(1, (int)shift) - 1) / 2;
}

static inline void latency_add(Latency *latency, uint64_t ticks) {
  ticks = ticks > latency->overhead ? ticks - latency->overhead : 0;
  latency->count[latency_bucket(ticks)]++;
  if (ticks > latency->max) latency->max = ticks;
}

static double latency_percentile(const Latency *latency, double part) {
  uint64_t all = 0, below = 0;
  for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) all += latency->count[i];
  for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
    below += latency->count[i];
    if ((double)below >= part * (double)all) return fmin(latency_value(i), (double)latency->max);
  }
  return 0;
}

static uint64_t latency_overhead(void) {
  Latency nothing;
  memset(&nothing, 0, sizeof nothing);
  for (int i = 0; i < 100000; i++) {
    uint64_t start = ticks_now();
    latency_add(&nothing, ticks_now() - start);
  }
  return (uint64_t)latency_percentile(&nothing, 0.5);
}

/** The smallest difference that two readings can have, in ticks. */
static uint64_t latency_step(void) {
  uint64_t step = UINT64_MAX, last = ticks_now();
  for (int i = 0; i < 100000; i++) {
    uint64_t now = ticks_now(), took = now - last;
    uint64_t rest =
        took > latencies->overhead ? took - latencies->overhead : latencies->overhead - took;
    if (rest > 0 && rest < step) step = rest;
    last = now;
  }
  return step;
}

static void latency_pair_body(const Options *options, uint32_t index, Timer *timer) {
  Latency *latency = &latencies[index];
  latency->overhead = latency_overhead();
  for (int timed = 0; timed < 2; timed++) {
    uint32_t chunk;
    memset(latency->count, 0, sizeof latency->count);
    latency->max = 0;
    crew_wait();
    timer_start(timer, part_ms(options, timed), part_ops(options, timed));
    do {
      chunk = timer->chunk;
      for (uint32_t i = 0; i < chunk; i++) {
        uint64_t start = ticks_now();
        peer_free(block_new(options->size, i));
        latency_add(latency, ticks_now() - start);
      }
    } while (timer_more(timer, chunk));
    timer_stop(timer);
  }
}

static void latency_replace_body(const Options *options, uint32_t index, Timer *timer) {
  Latency *latency = &latencies[index];
  Replace r;
  uint32_t chunk;
  latency->overhead = latency_overhead();
  replace_fill(&r, options, index);
  crew_wait();
  replace_warm(&r, options, timer);
  crew_wait();
  timer_start(timer, options->ms, options->ops);
  do {
    chunk = timer->chunk;
    for (uint32_t i = 0; i < chunk; i++) {
      uint64_t start = ticks_now();
      replace_one(&r);
      latency_add(latency, ticks_now() - start);
    }
  } while (timer_more(timer, chunk));
  timer_stop(timer);
}

static void latency_run(const Options *options, MemberBody *body) {
  latencies = (Latency *)pages_shared(options->members * sizeof *latencies);
  crew_run(options, &peer, body);
  for (uint64_t i = 1; i < options->members; i++) {
    for (uint32_t b = 0; b < LATENCY_BUCKETS; b++) latencies[0].count[b] += latencies[i].count[b];
    if (latencies[i].max > latencies[0].max) latencies[0].max = latencies[i].max;
  }
  Timer total = crew_total(options);
  double per_ns = ticks_per_ns();
  report_begin(options, &peer);
  report_timer(&total);
  report_number("p50", latency_percentile(latencies, 0.5) / per_ns);
  report_number("p90", latency_percentile(latencies, 0.9) / per_ns);
  report_number("p99", latency_percentile(latencies, 0.99) / per_ns);
  report_number("p99.9", latency_percentile(latencies, 0.999) / per_ns);
  report_number("p99.99", latency_percentile(latencies, 0.9999) / per_ns);
  report_number("max", (double)latencies[0].max / per_ns);
  report_number("overhead_ns", (double)latencies[0].overhead / per_ns);
  report_number("step_ns", (double)latency_step() / per_ns);
  report_end();
}

static void latency_pair_run(Options *options) { latency_run(options, latency_pair_body); }

static void latency_replace_run(Options *options) { latency_run(options, latency_replace_body); }
