/* One member allocates, another frees; a ring leads from the one to the
 * other. An operation is one block's whole way. */
static void produce(const Options *options, int timed, Timer *timer, RingEnd *end) {
  uint64_t count = 0;
  timer_start(timer, part_ms(options, timed), part_ops(options, timed));
  do {
    const uint32_t *size = batch_size[count / BATCH_BLOCKS % BATCHES];
    for (uint32_t i = 0; i < BATCH_BLOCKS; i++)
      ring_push(end, peer_give(block_new(size[i], count + i)));
    count += BATCH_BLOCKS;
  } while (timer_more(timer, BATCH_BLOCKS));
  ring_push(end, UINT64_MAX);
}

static void consume(Timer *timer, RingEnd *end) {
  uint64_t given, count = 0;
  timer_start(timer, 0, 0);
  while ((given = ring_pop(end)) != UINT64_MAX) {
    void *block = peer_take(given);
    if (*(volatile uint64_t *)block != count++) die("%s: a block was overwritten", peer.name);
    peer_free(block);
  }
  timer->end = clock_ns();
  timer->ops = count;
}

static void produce_body(const Options *options, uint32_t index, Timer *timer) {
  RingEnd end = {crew_ring(index / 2), 0, 0};
  for (int timed = 0; timed < 2; timed++) {
    crew_wait();
    if (index % 2 == 0) {
      produce(options, timed, timer, &end);
    } else {
      consume(timer, &end);
    }
    timer_stop(timer);
  }
}

static void produce_run(Options *options) {
  if (options->members % 2 != 0) die("members must be even: each pair has a ring");
  batch_prepare(options);
  crew_run(options, &peer, produce_body);
  report_crew(options, &peer);
}
