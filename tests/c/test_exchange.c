/* Between the kernel's word that nobody holds a seat and what is done by it. */
#include "harness.h"

#include <stdarg.h>
#include <sys/syscall.h>

enum { ROOM = 16 };

static void (*before_asking)(off_t byte), (*after_asking)(off_t byte);

/* In the place of the C library's, which the library under test calls. */
int fcntl(int file, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  off_t asked = command == F_OFD_GETLK ? ((struct flock *)argument)->l_start : 0;
  if (asked != 0 && before_asking != NULL) before_asking(asked);
#if defined(SYS_fcntl64)
  int result = (int)syscall(SYS_fcntl64, file, command, argument);
#else
  int result = (int)syscall(SYS_fcntl, file, command, argument);
#endif
  if (asked != 0 && after_asking != NULL) after_asking(asked);
  return result;
}

static struct {
  PSMHandle handle;
  off_t byte; /* of the leaver's seat */
  pid_t leaver, newcomer;
  h_gate leaving, go, come;
} exchange;

/* A leaver asks who else is there when it has given back what it held. */
static void leaver_pauses(off_t byte) {
  (void)byte;
  before_asking = NULL;
  h_gate_open(exchange.leaving);
  h_gate_pass(exchange.go);
}

static void leaver_leaves(off_t byte) {
  if (byte != exchange.byte) return;
  before_asking = NULL;
  h_gate_open(exchange.go);
  CHECK_EQ(h_wait(exchange.leaver), 0);
}

static void newcomer_comes(off_t byte) {
  if (byte != exchange.byte) return;
  after_asking = NULL;
  h_gate_open(exchange.come);
  while (h_entries(exchange.handle, exchange.newcomer, true) == 0) h_sleep_us(1000);
}

/* The reaper has seen the leaver's seat taken, asks for its lock when it is gone, and goes on
 * when another sits there. */
CASE(nobody_is_buried_in_place_of_one_who_left) {
  PSMHandle handle = exchange.handle = h_init(h_shm_name(""), MIB);
  exchange.leaving = h_gate_new(), exchange.go = h_gate_new(), exchange.come = h_gate_new();
  h_gate done = h_gate_new();
  exchange.newcomer =
      h_spawn("newcomer", h_shm_name(""), h_gate_text(exchange.come), h_gate_text(done), NULL);
  uint64_t cursor = 0;
  PSMMember members[ROOM];
  while (h_members(handle) > 1) h_sleep_us(1000), PSMreap(handle); /* what it was before exec */
  CHECK(PSMdeaths(handle, &cursor, members, ROOM) >= 0);
  exchange.leaver = h_fork();
  if (exchange.leaver == 0) {
    before_asking = leaver_pauses;
    PSMdeinit(handle);
    h_quit(0);
  }
  h_gate_pass(exchange.leaving);
  CHECK_EQ(PSMmembers(handle, members, ROOM), 2);
  exchange.byte = ((off_t)1 << 62) + (off_t)members[1].seat;
  before_asking = leaver_leaves;
  after_asking = newcomer_comes;
  CHECK_EQ(PSMreap(handle), 0);
  CHECK(before_asking == NULL && after_asking == NULL);
  CHECK_EQ(h_entries(handle, exchange.newcomer, true), 1);
  CHECK_EQ(PSMdeaths(handle, &cursor, members, ROOM), 0);
  h_gate_open(done);
  CHECK_EQ(h_wait(exchange.newcomer), 0);
  CHECK_EQ(PSMdeaths(handle, &cursor, members, ROOM), 0);
  PSMdeinit(handle);
}
EXEC_CHILD(newcomer) {
  h_gate_pass(h_gate_from(argv[1]));
  PSMHandle handle = h_init(argv[0], MIB);
  h_gate_pass(h_gate_from(argv[2]));
  PSMdeinit(handle);
  return 0;
}
