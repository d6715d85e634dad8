/* A process that holds `live` blocks, and `idle` more that have allocated one
 * and sleep: what others find when they come to a segment that is in use. */
typedef struct Crowd {
  int ready[2]; /* a byte from each that is there */
  int leave[2]; /* closed when all may go */
  uint64_t count;
} Crowd;

static void crowd_member(const Options *options, const Crowd *crowd, uint64_t blocks) {
  char byte = 0;
  uint64_t began = clock_ns();
  close(crowd->leave[1]);
  segment_open(options, &peer);
  for (uint64_t i = 0; i < blocks; i++) {
    (void)block_new(options->size, i);
    if (i % CHECK_EVERY == 0) setup_check(began, options->setup_ms, i, blocks);
  }
  if (peer.sharing == SHARES_WITH_NOBODY) peer.close();
  if (write(crowd->ready[1], &byte, 1) != 1) die("cannot write to a pipe");
  if (read(crowd->leave[0], &byte, 1) != 0) die("cannot read from a pipe");
  if (peer.sharing != SHARES_WITH_NOBODY) peer.close();
  _exit(0);
}

/* A member that cannot get ready has said why; its end of the pipe closes. */
static void crowd_start_one(const Options *options, Crowd *crowd, uint64_t blocks) {
  char byte = 0;
  int status = 0;
  pid_t child = fork();
  if (child < 0) die("cannot fork");
  if (child == 0) crowd_member(options, crowd, blocks);
  crowd->count++;
  struct pollfd ready = {crowd->ready[0], POLLIN, 0};
  while (poll(&ready, 1, 100) == 0)
    if (waitpid(child, &status, WNOHANG) == child) {
      shm_unlink(options->name);
      exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
  if (read(crowd->ready[0], &byte, 1) != 1) die("cannot read from a pipe");
}

static void crowd_start(const Options *options, Crowd *crowd) {
  memset(crowd, 0, sizeof *crowd);
  if (peer.sharing < SHARES_BY_NAME && peer.sharing != SHARES_WITH_NOBODY)
    cannot("cannot be joined by name");
  if (pipe(crowd->ready) != 0 || pipe(crowd->leave) != 0) die("cannot make a pipe");
  crowd_start_one(options, crowd, options->live);
  if (options->idle && peer.sharing == SHARES_WITH_NOBODY) cannot("one process at a time");
  for (uint64_t i = 0; i < options->idle; i++) crowd_start_one(options, crowd, 1);
}

static void crowd_end(const Options *options, Crowd *crowd) {
  close(crowd->leave[1]);
  for (uint64_t i = 0; i < crowd->count; i++) (void)wait(NULL);
  shm_unlink(options->name);
}
