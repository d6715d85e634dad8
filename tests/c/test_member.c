/* Who is alive: what keeps a member's seat, and what ends it.
 *
 * A member that closed its descriptors, or has used them up, is alive; one that was killed or runs
 * another program is not, whoever inherited from it. One that has left waits for its children at
 * the most.
 */
#include "harness.h"

#include <sys/resource.h>
#include <sys/syscall.h>

/* Steps that processes reach, in memory that needs no descriptor. */
static void reach(uint32_t *step, uint32_t value) {
  __atomic_store_n(step, value, __ATOMIC_RELEASE);
}
static void await(uint32_t *step, uint32_t value) {
  for (double end = h_now() + 40; __atomic_load_n(step, __ATOMIC_ACQUIRE) < value;) {
    CHECK(h_now() < end);
    h_sleep_us(200);
  }
}

static void close_everything(void) { CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0); }

/* It does not return while a lock is held by somebody who counts as alive. */
static void lock_is_a_dead_ones(PSMHandle handle, uint32_t *lock) {
  CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
  CHECK_EQ(PSMunlock(handle, lock), 0);
}

/* ---- Without descriptors ------------------------------------------------------- */

/* It sees the deaths of others: it gets their locks and their memory. */
CASE(closed_descriptors_and_the_death_of_another) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *step = h_shared(sizeof *step), *lock = PSMcalloc(handle, 1, sizeof *lock);
  pid_t daemon = h_fork();
  if (daemon == 0) {
    h_work(handle);
    close_everything();
    reach(step, 1);
    await(step, 2);
    CHECK_EQ(PSMreap(handle), 1);
    lock_is_a_dead_ones(handle, lock);
    CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
    h_work(handle);
    PSMdeinit(handle);
    h_quit(0);
  }
  await(step, 1);
  pid_t victim = h_fork();
  if (victim == 0) {
    h_work(handle);
    CHECK_EQ(PSMlock(handle, lock), 0);
    h_quit(0);
  }
  CHECK_EQ(h_wait(victim), 0);
  reach(step, 2);
  CHECK_EQ(h_wait(daemon), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

/* Its children are members, and do not keep its seat. */
CASE(closed_descriptors_and_children) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  struct {
    uint32_t step, parent;
    pid_t child;
  } *shared = h_shared(sizeof *shared);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  pid_t daemon = h_fork();
  if (daemon == 0) {
    close_everything();
    pid_t child = h_fork();
    if (child == 0) {
      CHECK_EQ(h_entries(handle, getpid(), true), 1);
      h_work(handle);
      reach(&shared->step, 1);
      await(&shared->step, 2);
      h_work(handle);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
      h_sound(handle);
      PSMdeinit(handle);
      CHECK(!h_exists(h_shm_path("")));
      reach(&shared->step, 3);
      h_quit(0);
    }
    shared->child = child;
    CHECK_EQ(PSMlock(handle, lock), 0);
    reach(&shared->parent, 1);
    for (;;) pause();
  }
  await(&shared->step, 1);
  await(&shared->parent, 1);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 3);
  CHECK_EQ(PSMreap(handle), 0);
  h_kill(daemon);
  CHECK_EQ(h_entries(handle, daemon, true), 0);
  CHECK_EQ(PSMreap(handle), 1);
  lock_is_a_dead_ones(handle, lock);
  CHECK_EQ(h_entries(handle, shared->child, true), 1);
  PSMdeinit(handle);
  reach(&shared->step, 2);
  await(&shared->step, 3);
}

/* Alive for the others as long as it lives, and no longer. */
CASE(closed_descriptors_and_its_own_death) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *step = h_shared(sizeof *step), *lock = PSMcalloc(handle, 1, sizeof *lock);
  uint64_t before = h_stat(handle).blocks;
  pid_t daemon = h_fork();
  if (daemon == 0) {
    close_everything();
    CHECK_EQ(PSMlock(handle, lock), 0);
    h_work(handle);
    reach(step, 1);
    for (;;) h_work(handle);
  }
  await(step, 1);
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(PSMreap(handle), 0);
    CHECK_EQ(h_entries(handle, daemon, true), 1);
    h_work(handle);
    h_sleep_us(500);
  }
  h_kill(daemon);
  CHECK_EQ(h_entries(handle, daemon, false), 1);
  CHECK_EQ(PSMreap(handle), 1);
  lock_is_a_dead_ones(handle, lock);
  CHECK(h_stat(handle).blocks <= before + 1); /* the one in flight */
  CHECK_EQ(h_stat(handle).caches, 1);
  h_sound(handle);
  PSMdeinit(handle);
}

/* No descriptor is left for the child's seat: whatever the child is then, a member or refused,
 * the death of its parent is seen. */
CASE(fork_without_a_descriptor_to_spare) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *step = h_shared(sizeof *step), *lock = PSMcalloc(handle, 1, sizeof *lock);
  pid_t parent = h_fork();
  if (parent == 0) {
    struct rlimit limit = {64, 64};
    CHECK_EQ(PSMlock(handle, lock), 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while (dup(0) >= 0) continue;
    CHECK_EQ(errno, EMFILE);
    if (h_fork() == 0) {
      PSMclearError();
      void *block = PSMalloc(handle, 100);
      if (block == NULL) CHECK_EQ(PSMlastError(), PSM_E_MEMBERS);
      if (block != NULL) CHECK_EQ(h_entries(handle, getpid(), true), 1);
      PSMfree(handle, block);
      reach(step, 1);
      await(step, 2);
      h_quit(0);
    }
    for (;;) pause();
  }
  await(step, 1);
  CHECK_EQ(PSMreap(handle), 0);
  h_kill(parent);
  CHECK_EQ(h_entries(handle, parent, true), 0);
  CHECK_EQ(PSMreap(handle), 1);
  lock_is_a_dead_ones(handle, lock);
  h_work(handle);
  h_sound(handle);
  PSMdeinit(handle);
  reach(step, 2);
}

/* ---- Left, and waiting for children ------------------------------------------------ */

/* It has left, its child has left too, and a stranger has begun anew at the same address: what
 * is gone does not stand in the way. */
CASE(left_with_its_child_and_came_back) {
  h_gate ready = h_gate_new(), go = h_gate_new(), leave = h_gate_new();
  pid_t stranger = h_fork();
  if (stranger == 0) {
    h_gate_pass(go);
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    *(uint64_t *)PSMgetUser(handle) = 5;
    h_gate_open(ready);
    h_gate_pass(go);
    CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 6);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
    h_quit(0);
  }
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(PSMprepareInherit(handle) == handle);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(PSMexecuteInherit(handle) == handle);
    h_gate_pass(leave);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
    h_quit(0);
  }
  PSMdeinit(handle);
  h_gate_open(leave);
  CHECK_EQ(h_wait(child), 0);
  h_gate_open(go);
  h_gate_pass(ready);
  handle = h_init(h_shm_name(""), MIB);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 5);
  *(uint64_t *)PSMgetUser(handle) = 6;
  h_work(handle);
  PSMdeinit(handle);
  h_gate_open(go);
  CHECK_EQ(h_wait(stranger), 0);
}

/* A later child of a process that has left, and that nobody waits for, is no user: it keeps
 * neither the file nor the seat of its parent. */
CASE(child_of_one_that_has_left) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(PSMprepareInherit(handle) == handle);
  pid_t heir = h_fork();
  if (heir == 0) {
    CHECK(PSMexecuteInherit(handle) == handle);
    h_gate_open(ready);
    h_gate_pass(go);
    CHECK_EQ(h_members(handle), 1);
    h_work(handle);
    PSMdeinit(handle);
    CHECK(!h_exists(h_shm_path("")));
    h_quit(0);
  }
  PSMdeinit(handle);
  h_gate_pass(ready);
  pid_t idle = h_fork();
  if (idle == 0) {
    CHECK_SETS(PSM_E_HANDLE, CHECK(PSMalloc(handle, 10) == NULL));
    h_gate_open(ready);
    for (;;) pause();
  }
  h_gate_pass(ready);
  h_gate_open(go);
  CHECK_EQ(h_wait(heir), 0);
  h_kill(idle);
}

/* A reader's child reads on by itself: either may leave, and the other keeps the segment. */
CASE(reader_and_its_child) {
  h_gate ready = h_gate_new(), go = h_gate_new(), leave = h_gate_new();
  for (int child_first = 0; child_first < 2; child_first++) {
    pid_t writer = h_fork();
    if (writer == 0) {
      PSMHandle handle = h_init(h_shm_name(""), MIB);
      *(uint64_t *)PSMgetUser(handle) = 9;
      h_gate_open(ready);
      h_gate_pass(go);
      PSMdeinit(handle);
      CHECK(h_exists(h_shm_path("")));
      h_quit(0);
    }
    h_gate_pass(ready);
    PSMHandle handle = h_open(h_shm_name(""), 0, PSM_OPEN_READONLY);
    pid_t child = h_fork();
    if (child == 0) {
      if (!child_first) h_gate_pass(leave);
      CHECK_EQ(*(volatile uint64_t *)PSMgetUser(handle), 9);
      PSMdeinit(handle);
      CHECK_EQ(h_exists(h_shm_path("")), child_first);
      h_quit(0);
    }
    h_gate_open(go);
    CHECK_EQ(h_wait(writer), 0);
    if (child_first) CHECK_EQ(h_wait(child), 0);
    CHECK_EQ(*(volatile uint64_t *)PSMgetUser(handle), 9);
    PSMdeinit(handle);
    CHECK_EQ(h_exists(h_shm_path("")), !child_first);
    if (!child_first) h_gate_open(leave);
    if (!child_first) CHECK_EQ(h_wait(child), 0);
  }
}

/* ---- Another program ------------------------------------------------------------- */

/* The process goes on as another program: the member is dead, and its pid may join anew. */
CASE(exec_ends_a_membership) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  h_work(handle);
  const PSMStat before = h_stat(handle);
  pid_t child = h_fork();
  if (child == 0) {
    h_work(handle);
    CHECK_EQ(PSMlock(handle, lock), 0);
    h_gate_open(ready);
    h_gate_pass(go);
    char *argv[] = {h_text("psm-test"), h_text("--child"),     h_prefix,
                    h_directory,        h_text("new_program"), h_gate_text(ready),
                    h_gate_text(go),    h_shm_name(""),        NULL};
    h_exec_self(argv);
  }
  h_gate_pass(ready);
  CHECK_EQ(PSMreap(handle), 0);
  CHECK_EQ(h_stat(handle).caches, before.caches + 1);
  h_gate_open(go);
  h_gate_pass(ready);
  CHECK_EQ(h_entries(handle, child, true), 0);
  CHECK_EQ(h_entries(handle, child, false), 1);
  CHECK_EQ(PSMreap(handle), 1);
  lock_is_a_dead_ones(handle, lock);
  CHECK_EQ(h_stat(handle).caches, before.caches);
  CHECK_EQ(h_stat(handle).blocks, before.blocks);
  h_work(handle);
  h_gate_open(go);
  h_gate_pass(ready);
  CHECK_EQ(h_entries(handle, child, true), 1);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(new_program) {
  h_gate ready = h_gate_from(argv[0]), go = h_gate_from(argv[1]);
  h_gate_open(ready);
  h_gate_pass(go);
  PSMHandle handle = h_init(argv[2], MIB);
  h_work(handle);
  h_gate_open(ready);
  h_gate_pass(go);
  PSMdeinit(handle);
  return 0;
}
