/* Pairs: allocate and free one block of `size` bytes at once. */
static void pair_body(const Options *options, uint32_t index, Timer *timer) {
  (void)index;
  for (int timed = 0; timed < 2; timed++) {
    uint32_t chunk;
    crew_wait();
    timer_start(timer, part_ms(options, timed), part_ops(options, timed));
    do {
      chunk = timer->chunk;
      for (uint32_t i = 0; i < chunk; i++) peer_free(block_new(options->size, i));
    } while (timer_more(timer, chunk));
    timer_stop(timer);
  }
}

static void pair_run(Options *options) {
  crew_run(options, &peer, pair_body);
  report_crew(options, &peer);
}
