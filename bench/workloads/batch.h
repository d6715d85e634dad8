/* Batches: 10,000 blocks of random sizes, freed in random order. */
enum { BATCH_BLOCKS = 10000, BATCHES = 8 };

static uint32_t batch_size[BATCHES][BATCH_BLOCKS];
static uint32_t batch_order[BATCHES][BATCH_BLOCKS];

static void batch_prepare(const Options *options) {
  Random random = {1};
  for (uint32_t b = 0; b < BATCHES; b++) {
    for (uint32_t i = 0; i < BATCH_BLOCKS; i++) {
      batch_size[b][i] = size_draw(options, &random);
      batch_order[b][i] = i;
    }
    random_shuffle(&random, batch_order[b], BATCH_BLOCKS);
  }
}

static void batch_body(const Options *options, uint32_t index, Timer *timer) {
  void **live = (void **)pages(BATCH_BLOCKS * sizeof *live);
  for (int timed = 0; timed < 2; timed++) {
    uint32_t b = index;
    crew_wait();
    timer_start(timer, part_ms(options, timed), part_ops(options, timed));
    do {
      const uint32_t *size = batch_size[b % BATCHES];
      const uint32_t *order = batch_order[b % BATCHES];
      for (uint32_t i = 0; i < BATCH_BLOCKS; i++) live[i] = block_new(size[i], i);
      for (uint32_t i = 0; i < BATCH_BLOCKS; i++) peer_free(live[order[i]]);
      b++;
    } while (timer_more(timer, BATCH_BLOCKS));
    timer_stop(timer);
  }
}

static void batch_run(Options *options) {
  batch_prepare(options);
  crew_run(options, &peer, batch_body);
  report_crew(options, &peer);
}
