/* The three inherit calls: prepare before fork, execute in the child, or cancel. */
#include "harness.h"

/* What a child does with a segment that it has taken over. */
static void use_and_leave(PSMHandle handle) {
  void *block = PSMalloc(handle, 1000);
  CHECK(block != NULL);
  h_fill(block, 1000, (uint64_t)getpid());
  CHECK(h_intact(block, 1000, (uint64_t)getpid()));
  PSMfree(handle, block);
  CHECK_EQ(PSMgetError(handle), 0);
  PSMdeinit(handle);
  CHECK_SETS(PSM_E_HANDLE, PSMdeinit(handle));
}

CASE(prepare_fork_execute) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_PTR(PSMprepareInherit(handle), handle);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK_PTR(PSMexecuteInherit(handle), handle);
    use_and_leave(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK(h_exists(h_shm_path("")));
  void *block = PSMalloc(handle, 1000);
  CHECK(block != NULL);
  PSMfree(handle, block);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(execute_needs_prepare) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK_SETS(PSM_E_STATE, CHECK(PSMexecuteInherit(handle) == NULL));
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK(PSMprepareInherit(handle) != NULL);
  CHECK_SETS(PSM_E_STATE, CHECK(PSMexecuteInherit(handle) == NULL)); /* in the parent */
  PSMcancelInherit(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(cancel) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_SETS(PSM_E_STATE, PSMcancelInherit(handle));
  CHECK(PSMprepareInherit(handle) != NULL);
  CHECK_SETS(0, PSMcancelInherit(handle));
  CHECK_SETS(PSM_E_STATE, PSMcancelInherit(handle));
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(PSMexecuteInherit(handle) == NULL);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  /* One of two cancelled leaves one. */
  CHECK(PSMprepareInherit(handle) != NULL && PSMprepareInherit(handle) != NULL);
  PSMcancelInherit(handle);
  child = h_fork();
  if (child == 0) {
    CHECK(PSMexecuteInherit(handle) == handle);
    use_and_leave(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK_SETS(PSM_E_STATE, PSMcancelInherit(handle)); /* the child has used it up */
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(segment_waits_for_the_child) {
  h_gate left = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  char *text = PSMalloc(handle, 100);
  CHECK(text != NULL);
  strcpy(text, "for the child");
  CHECK(PSMprepareInherit(handle) != NULL);
  pid_t child = h_fork();
  if (child == 0) {
    h_gate_pass(left);
    CHECK(h_exists(h_shm_path("")));
    CHECK(PSMexecuteInherit(handle) == handle);
    CHECK(strcmp(text, "for the child") == 0);
    PSMfree(handle, text);
    use_and_leave(handle);
    CHECK(!h_exists(h_shm_path("")));
    h_quit(0);
  }
  PSMdeinit(handle);
  CHECK(h_exists(h_shm_path("")));
  h_gate_open(left);
  CHECK_EQ(h_wait(child), 0);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(several_prepares_and_children) {
  enum { N = 8 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int i = 0; i < N; i++) CHECK(PSMprepareInherit(handle) == handle);
  pid_t child[N];
  for (int i = 0; i < N; i++) {
    child[i] = h_fork();
    if (child[i] == 0) {
      CHECK(PSMexecuteInherit(handle) == handle);
      use_and_leave(handle);
      h_quit(0);
    }
  }
  PSMdeinit(handle);
  for (int i = 0; i < N; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(one_prepare_entitles_one_child) {
  enum { N = 4 };
  for (int round = 0; round < 5; round++) {
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    CHECK(PSMprepareInherit(handle) == handle);
    h_gate go = h_gate_new();
    pid_t child[N];
    for (int i = 0; i < N; i++) {
      child[i] = h_fork();
      if (child[i] == 0) {
        h_gate_pass(go);
        h_quit(PSMexecuteInherit(handle) == handle ? 10 : 20);
      }
    }
    for (int i = 0; i < N; i++) h_gate_open(go);
    int sum = 0;
    for (int i = 0; i < N; i++) sum += h_wait(child[i]);
    CHECK_EQ(sum, 10 + 20 * (N - 1));
    PSMdeinit(handle);
  }
}

CASE(grandchildren) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(PSMprepareInherit(handle) == handle);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(PSMexecuteInherit(handle) == handle);
    CHECK(PSMprepareInherit(handle) == handle);
    pid_t grandchild = h_fork();
    if (grandchild == 0) {
      CHECK(PSMexecuteInherit(handle) == handle);
      CHECK(PSMexecuteInherit(handle) == NULL);
      use_and_leave(handle);
      h_quit(0);
    }
    PSMdeinit(handle);
    h_quit(h_wait(grandchild));
  }
  PSMdeinit(handle);
  CHECK_EQ(h_wait(child), 0);
  CHECK(!h_exists(h_shm_path("")));
}

/* Prepared by the parent, executed by the grandchild: the child in between does nothing. */
CASE(execute_in_a_grandchild) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(PSMprepareInherit(handle) == handle);
  pid_t child = h_fork();
  if (child == 0) {
    pid_t grandchild = h_fork();
    if (grandchild == 0) {
      CHECK(PSMexecuteInherit(handle) == handle);
      use_and_leave(handle);
      h_quit(0);
    }
    int result = h_wait(grandchild);
    PSMdeinit(handle);
    h_quit(result);
  }
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

/* The parent initialises again between prepare and fork, after fork, or between its leaving
 * and the child's execute; each PSMinit is owed one PSMdeinit, whatever the order. */
CASE(init_again_in_every_order) {
  for (int order = 0; order < 8; order++) {
    const bool before = order & 1, after = order & 2, in_child = order & 4;
    h_gate go = h_gate_new();
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    CHECK(PSMprepareInherit(handle) == handle);
    if (before) CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
    pid_t child = h_fork();
    if (child == 0) {
      h_gate_pass(go);
      CHECK(PSMexecuteInherit(handle) == handle);
      if (in_child) {
        CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
        PSMdeinit(handle);
      }
      use_and_leave(handle);
      h_quit(0);
    }
    if (after) CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
    if (after) PSMdeinit(handle);
    if (before) PSMdeinit(handle);
    PSMdeinit(handle);
    CHECK_SETS(PSM_E_HANDLE, PSMdeinit(handle));
    CHECK(h_exists(h_shm_path("")));
    if (after) CHECK_PTR(h_init(h_shm_name(""), MIB), handle); /* left and came back */
    h_gate_open(go);
    CHECK_EQ(h_wait(child), 0);
    CHECK_EQ(h_exists(h_shm_path("")), after);
    if (after) {
      use_and_leave(handle);
      CHECK(!h_exists(h_shm_path("")));
    }
  }
}

CASE(init_instead_of_execute) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK_PTR(h_init(h_shm_name(""), MIB), handle); /* counted: one inherited, one of its own */
    PSMdeinit(handle);
    use_and_leave(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

/* A child takes over twice and owes two; what it has inherited from its parent ends. */
CASE(two_entitlements_for_one_child) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
  CHECK(PSMprepareInherit(handle) == handle && PSMprepareInherit(handle) == handle);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(PSMexecuteInherit(handle) == handle && PSMexecuteInherit(handle) == handle);
    CHECK_SETS(PSM_E_STATE, CHECK(PSMexecuteInherit(handle) == NULL));
    PSMdeinit(handle);
    use_and_leave(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(null_and_bad_handles) {
  CHECK(PSMprepareInherit(NULL) == NULL);
  CHECK(PSMexecuteInherit(NULL) == NULL);
  PSMcancelInherit(NULL);
  PSMHandle bad = (PSMHandle)(uintptr_t)0x123450000;
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMprepareInherit(bad) == NULL));
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMexecuteInherit(bad) == NULL));
  CHECK_SETS(PSM_E_HANDLE, PSMcancelInherit(bad));
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMdeinit(handle);
  CHECK_SETS(PSM_E_HANDLE, CHECK(PSMprepareInherit(handle) == NULL));
}
