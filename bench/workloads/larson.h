/* Larson's exchange (Larson and Krishnan, ISMM 1998): a member replaces blocks in an array at
 * random and passes the array on; the next one frees what the others allocated.
 *
 * There are two arrays for each member. After each round a member leaves its array and takes the
 * next that nobody has: nobody waits for anybody.
 */
enum { LARSON_BLOCKS = 5000, LARSON_ARRAYS = 2 };

typedef struct LarsonArray {
  uint32_t taken __attribute__((aligned(64)));
  uint64_t given[LARSON_BLOCKS] __attribute__((aligned(64))); /* as peer_give gives */
} LarsonArray;

static LarsonArray *larson_arrays;

static LarsonArray *larson_take(const Options *options, uint32_t *cursor) {
  unsigned turns = 0;
  for (uint64_t looked = 1;; looked++) {
    LarsonArray *array = &larson_arrays[*cursor];
    uint32_t idle = 0;
    *cursor = (*cursor + 1) % (uint32_t)(LARSON_ARRAYS * options->members);
    if (__atomic_compare_exchange_n(&array->taken, &idle, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      return array;
    if (looked % (LARSON_ARRAYS * options->members) == 0) ring_pause(&turns);
  }
}

static inline void larson_one(const Options *options, LarsonArray *array, Random *random) {
  uint64_t *slot = &array->given[random_between(random, 0, LARSON_BLOCKS - 1)];
  uint32_t size = random_between(random, (uint32_t)options->min, (uint32_t)options->max);
  peer_free(peer_take(*slot));
  *slot = peer_give(block_new(size, size));
}

/* As many replacements as the array has blocks. Returns 0 when it is time to stop. */
static int larson_round(const Options *options, uint32_t *cursor, Random *random, Timer *timer) {
  LarsonArray *array = larson_take(options, cursor);
  int more = 1;
  for (uint32_t done = 0, chunk; more && done < LARSON_BLOCKS; done += chunk) {
    chunk = timer->chunk;
    for (uint32_t i = 0; i < chunk; i++) larson_one(options, array, random);
    more = timer_more(timer, chunk);
  }
  __atomic_store_n(&array->taken, 0, __ATOMIC_RELEASE);
  return more;
}

static void larson_fill(const Options *options, LarsonArray *array, Random *random) {
  uint64_t began = clock_ns();
  for (uint32_t i = 0; i < LARSON_BLOCKS; i++) {
    array->given[i] = peer_give(block_new(size_draw(options, random), i));
    if (i % CHECK_EVERY == 0) setup_check(began, options->setup_ms, i, LARSON_BLOCKS);
  }
}

static void larson_body(const Options *options, uint32_t index, Timer *timer) {
  Random random = {index + 1};
  uint32_t cursor = LARSON_ARRAYS * index;
  for (uint32_t i = 0; i < LARSON_ARRAYS; i++)
    larson_fill(options, &larson_arrays[cursor + i], &random);
  uint64_t enough = 10 * LARSON_BLOCKS * LARSON_ARRAYS * options->members; /* as in a replacement */
  for (int timed = 0; timed < 2; timed++) {
    crew_wait();
    timer_start(timer, timed ? options->ms : options->warm_ms, part_ops(options, timed));
    while (larson_round(options, &cursor, &random, timer) && (timed || timer->ops < enough))
      continue;
    timer_stop(timer);
  }
}

static void larson_run(Options *options) {
  larson_arrays =
      (LarsonArray *)pages_shared(LARSON_ARRAYS * options->members * sizeof *larson_arrays);
  crew_run(options, &peer, larson_body);
  report_crew(options, &peer);
}
