/* Memory given back to the system, when the system or a death comes between. */
#include "harness.h"

#include <sys/syscall.h>

static void (*before_punch)(void);
static bool punch_fails;

/* In the place of the C library's, which the library under test calls. */
int fallocate(int file, int how, off_t offset, off_t count) {
  if (how != 0 && before_punch != NULL) before_punch();
#if __SIZEOF_LONG__ == 8
  long result = syscall(SYS_fallocate, file, how, offset, count);
#else
  (void)file, (void)offset, (void)count;
  SKIP("a system call takes such an offset in halves, each processor in its own way");
  long result = 0;
#endif
  if (result != 0 || how == 0 || !punch_fails) return (int)result;
  errno = EIO;
  return -1;
}

static void die(void) { (void)raise(SIGKILL); }

enum { SIZE = 64 << 20, BLOCK = 8 << 20 };

static long long file_bytes(void) { return h_blocks_of(h_shm_path("")) * 512; }

/* What a refusal has given up all the same is asked for anew, not just touched. */
CASE(trim_that_is_refused_half_way) {
  PSMHandle handle = h_init(h_shm_name(""), SIZE);
  PSMfree(handle, PSMalloc(handle, BLOCK));
  punch_fails = true;
  uint64_t bytes = 1;
  CHECK_EQ(PSMtrim(handle, &bytes), 0);
  CHECK_EQ(bytes, 0);
  CHECK(file_bytes() < BLOCK);
  void *block = PSMalloc(handle, BLOCK);
  CHECK(block != NULL);
  CHECK(file_bytes() >= BLOCK);
  PSMfree(handle, block);
  punch_fails = false;
  CHECK_EQ(PSMtrim(handle, &bytes), 0);
  CHECK(bytes >= BLOCK);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(trim_after_a_trimmer_died) {
  PSMHandle handle = h_init(h_shm_name(""), SIZE);
  long long empty = 0;
  for (int round = 0; round < 2; round++) {
    empty = file_bytes();
    PSMfree(handle, PSMalloc(handle, BLOCK));
    if (round == 0) CHECK_EQ(PSMtrim(handle, NULL), 0);
  }
  pid_t child = h_fork();
  if (child == 0) {
    before_punch = die;
    (void)PSMtrim(handle, NULL);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 1000 + SIGKILL);
  CHECK(file_bytes() >= BLOCK);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  CHECK(file_bytes() <= empty);
  h_work(handle);
  h_sound(handle);
  PSMdeinit(handle);
}
