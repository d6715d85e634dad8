/* Replacement: free a random one of `live` blocks and allocate another, of
 * `min` to `max` bytes. */
typedef struct Step {
  uint32_t slot;
  uint32_t size;
} Step;

typedef struct Replace {
  Step *steps; /* a number that is a power of two; then they begin again */
  uint32_t mask;
  uint32_t at;
  void **live;
} Replace;

/* Enough steps that all slots have their turn, and few for few slots: reading
 * them must not displace the blocks from the processor's caches. */
static uint32_t replace_steps(uint64_t live) {
  uint32_t steps = 1 << 12;
  while (steps < 4 * live && steps < 1 << 20) steps *= 2;
  return steps;
}

static void replace_fill(Replace *r, const Options *options, uint32_t index) {
  Random random = {index + 1};
  uint64_t began = clock_ns();
  if (options->live < 1 || options->live > 1 << 20) die("live must be 1 to %d", 1 << 20);
  r->mask = replace_steps(options->live) - 1;
  r->steps = (Step *)pages(((size_t)r->mask + 1) * sizeof *r->steps);
  r->live = (void **)pages((size_t)options->live * sizeof *r->live);
  r->at = 0;
  for (uint32_t i = 0; i <= r->mask; i++) {
    r->steps[i].slot = random_between(&random, 0, (uint32_t)options->live - 1);
    r->steps[i].size = size_draw(options, &random);
  }
  for (uint64_t i = 0; i < options->live; i++) {
    r->live[i] = block_new(r->steps[(r->mask - i) & r->mask].size, i);
    if (i % CHECK_EVERY == 0) setup_check(began, options->setup_ms, i, options->live);
  }
}

static inline void replace_one(Replace *r) {
  const Step *step = &r->steps[r->at];
  void **slot = &r->live[step->slot];
  r->at = (r->at + 1) & r->mask;
  peer_free(*slot);
  *slot = block_new(step->size, r->at);
}

/* The warm-up lets the heap settle, and lets every process meet the pages of
 * all others: each member makes ten replacements for each block of all members,
 * or as many as a slow allocator manages in `warm_ms`. */
static uint64_t replace_enough(const Options *options) {
  return 10 * options->live * options->members;
}

static void replace_warm(Replace *r, const Options *options, Timer *timer) {
  uint32_t chunk;
  timer_start(timer, options->warm_ms, 0);
  do {
    chunk = timer->chunk;
    for (uint32_t i = 0; i < chunk; i++) replace_one(r);
  } while (timer_more(timer, chunk) && timer->ops < replace_enough(options));
}

static void replace_body(const Options *options, uint32_t index, Timer *timer) {
  Replace r;
  uint32_t chunk;
  replace_fill(&r, options, index);
  crew_wait();
  replace_warm(&r, options, timer);
  crew_wait();
  timer_start(timer, options->ms, options->ops);
  do {
    chunk = timer->chunk;
    for (uint32_t i = 0; i < chunk; i++) replace_one(&r);
  } while (timer_more(timer, chunk));
  timer_stop(timer);
}

static void replace_run(Options *options) {
  crew_run(options, &peer, replace_body);
  report_crew(options, &peer);
}
