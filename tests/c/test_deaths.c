/* Who died: each death is told once to each who asks, and ids are never used again. */
#include "harness.h"

enum { ROOM = 16 };

MEMBER(stays) {
  *(uint64_t *)PSMgetUser(handle) = PSMself(handle);
  h_gate_open(h_gate_from(argv[0]));
  for (;;) pause();
}

/* A member that stays until it is killed; its id. */
static uint64_t member_new(PSMHandle handle, pid_t *pid) {
  h_gate ready = h_gate_new();
  *pid = h_member(handle, "stays", h_gate_text(ready), NULL);
  h_gate_pass(ready);
  h_gate_close(ready);
  return *(uint64_t *)PSMgetUser(handle);
}

static int deaths(PSMHandle handle, uint64_t *cursor, PSMMember *members) {
  memset(members, 0x5a, ROOM * sizeof *members);
  return PSMdeaths(handle, cursor, members, ROOM);
}

CASE(self_is_ones_own) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMHandle other = h_init(h_shm_name("other"), MIB);
  uint64_t mine = PSMself(handle);
  PSMMember members[2];
  CHECK(mine != 0 && mine >> 53 == 0);
  CHECK_EQ(PSMself(handle), mine);
  CHECK_EQ(PSMalive(handle, mine), 1);
  CHECK_EQ(PSMmembers(handle, members, 2), 1);
  CHECK_EQ(members[0].id, mine);
  pid_t child;
  uint64_t its = member_new(handle, &child);
  CHECK(its != mine && its != 0);
  CHECK_EQ(PSMalive(handle, its), 1);
  h_kill(child);
  CHECK_EQ(PSMalive(handle, its), 0); /* before it is reaped */
  CHECK_EQ(PSMreap(handle), 1);
  CHECK_EQ(PSMalive(handle, its), 0);
  uint64_t next = member_new(handle, &child); /* in the same seat */
  CHECK(next != its);
  CHECK_EQ(PSMalive(handle, its), 0);
  CHECK_EQ(PSMalive(handle, next), 1);
  h_kill(child);
  CHECK_EQ(PSMalive(handle, 0), 0);
  CHECK_EQ(PSMalive(handle, UINT64_MAX), 0);
  PSMdeinit(other);
  PSMdeinit(handle);
}

MEMBER(leaves_and_comes_back) {
  uint64_t *ids = *(uint64_t **)PSMgetUser(handle);
  ids[0] = PSMself(handle);
  PSMdeinit(handle);
  handle = h_init(h_shm_name(""), MIB);
  ids[1] = PSMself(handle);
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  PSMdeinit(handle);
}

CASE(leaving_ends_a_membership) {
  PSMHandle handle = h_open(h_shm_name(""), MIB, 0);
  h_gate ready = h_gate_new(), go = h_gate_new();
  uint64_t *ids = PSMcalloc(handle, 2, sizeof *ids);
  *(uint64_t **)PSMgetUser(handle) = ids;
  pid_t child =
      h_member(handle, "leaves_and_comes_back", h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  CHECK(ids[0] != ids[1]);
  CHECK_EQ(PSMalive(handle, ids[0]), 0);
  CHECK_EQ(PSMalive(handle, ids[1]), 1);
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  uint64_t cursor = 0;
  PSMMember members[ROOM];
  CHECK_EQ(deaths(handle, &cursor, members), 0); /* leaving is no death */
  CHECK_EQ(PSMalive(handle, ids[1]), 0);
  PSMdeinit(handle);
}

CASE(each_death_is_told_once) {
  enum { N = 5 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMMember members[ROOM];
  uint64_t ids[N], early = 0, late = 0;
  pid_t pids[N];
  CHECK_EQ(deaths(handle, &early, members), 0);
  CHECK_EQ(early, 0);
  for (int i = 0; i < N; i++) ids[i] = member_new(handle, &pids[i]);
  for (int i = 0; i < N; i++) {
    h_kill(pids[i]);
    CHECK_EQ(deaths(handle, &early, members), 1);
    CHECK_EQ(members[0].id, ids[i]);
    CHECK_EQ(members[0].pid, pids[i]);
    CHECK_EQ(members[0].seat, ids[i] % 1024);
    CHECK(members[0].start != 0);
    CHECK_EQ(members[0].alive, 0);
    CHECK_EQ(deaths(handle, &early, members), 0);
  }
  CHECK_EQ(PSMdeaths(handle, &late, members, 2), 2); /* in two helpings */
  CHECK_EQ(members[1].id, ids[1]);
  CHECK_EQ(PSMdeaths(handle, &late, NULL, 0), 0);
  CHECK_EQ(deaths(handle, &late, members), N - 2);
  CHECK_EQ(members[0].id, ids[2]);
  CHECK_EQ(members[N - 3].id, ids[N - 1]);
  CHECK_EQ(late, N);
  CHECK_EQ(early, N);
  PSMdeinit(handle);
}

/* Whoever finds the dead, and however they went. */
CASE(deaths_that_others_found) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMMember members[ROOM];
  uint64_t cursor = 0;
  pid_t killed, joiner;
  uint64_t id = member_new(handle, &killed);
  h_kill(killed);
  /* A child that runs another program is not the member it was; then it joins,
   * which reaps, and ends without leaving. */
  const int lives = H_HAS_FORK ? 2 : 1;
  joiner = h_spawn("joins_and_ends", NULL);
  CHECK_EQ(h_wait(joiner), 0);
  CHECK_EQ(deaths(handle, &cursor, members), 1 + lives);
  CHECK_EQ(members[0].id, id);
  CHECK_EQ(members[0].pid, killed);
  CHECK_EQ(members[1].pid, joiner);
  CHECK_EQ(members[lives].pid, joiner);
  CHECK(lives == 1 || members[1].id != members[2].id);
  CHECK_EQ(cursor, 1 + lives);
  PSMdeinit(handle);
}

EXEC_CHILD(joins_and_ends) {
  CHECK(h_init(h_shm_name(""), MIB) != NULL);
  h_quit(0); /* without leaving */
}

CASE(deaths_that_are_forgotten) {
  enum { N = 12, KEPT = 8 };
  if (h_page_size() > 28 * KIB) SKIP_EMULATED("maps no part of a page for writing");
  PSMHandle handle = h_init(h_shm_name(""), 28 * KIB);
  PSMMember members[ROOM];
  uint64_t ids[N], cursor = 1;
  for (int i = 0; i < N; i++) {
    pid_t pid;
    ids[i] = member_new(handle, &pid);
    h_kill(pid);
    CHECK_EQ(PSMreap(handle), 1);
  }
  CHECK_SETS(PSM_E_STATE, CHECK_EQ(deaths(handle, &cursor, members), PSM_E_STATE));
  CHECK_EQ(cursor, N - KEPT);
  CHECK_EQ(deaths(handle, &cursor, members), KEPT);
  for (int i = 0; i < KEPT; i++) CHECK_EQ(members[i].id, ids[N - KEPT + i]);
  CHECK_EQ(deaths(handle, &cursor, members), 0);
  PSMdeinit(handle);
}

#if H_HAS_FORK /* a thousand programs take too long to start */
/* All seats are taken by the dead when the next one joins: it takes one over,
 * reaps the others, and hears of them all. */
CASE(deaths_of_a_full_house) {
  enum { SEATS = 1024 };
  PSMHandle handle = h_init(h_shm_name(""), 8 * MIB);
  static PSMMember members[SEATS];
  static uint64_t ids[SEATS];
  static pid_t pids[SEATS];
  for (int i = 1; i < SEATS; i++) ids[i] = member_new(handle, &pids[i]);
  CHECK_EQ(PSMmembers(handle, NULL, 0), SEATS);
  h_gate go = h_gate_new();
  pid_t joiner = h_fork(); /* finds no seat, and then joins by name */
  if (joiner == 0) {
    h_gate_pass(go);
    char *argv[] = {h_text("psm-test"),
                    h_text("--child"),
                    h_prefix,
                    h_directory,
                    h_text("joins_a_full_house"),
                    NULL};
    h_exec_self(argv);
  }
  for (int i = 1; i < SEATS; i++) h_kill(pids[i]);
  h_gate_open(go);
  CHECK_EQ(h_wait(joiner), 0);
  uint64_t cursor = 0;
  CHECK_EQ(PSMdeaths(handle, &cursor, members, SEATS), SEATS - 1);
  bool told[SEATS] = {false};
  for (int i = 0; i < SEATS - 1; i++) {
    int who = 1;
    while (who < SEATS && ids[who] != members[i].id) who++;
    CHECK(who < SEATS && !told[who]);
    CHECK_EQ(members[i].pid, pids[who]);
    told[who] = true;
  }
  CHECK_EQ(h_members(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
}

EXEC_CHILD(joins_a_full_house) {
  PSMHandle handle = h_init(h_shm_name(""), 8 * MIB);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  PSMdeinit(handle);
  return 0;
}
#else
LEFT_OUT(deaths_of_a_full_house, "a thousand programs take too long to start without fork")
#endif

MEMBER(dies_with_the_lock) {
  CHECK_EQ(PSMlock(handle, *(uint32_t **)PSMgetUser(handle)), 0);
  h_work(handle);
  h_die();
}

/* Who repairs finds nothing of the dead in the way. */
CASE(a_lock_that_tells_of_a_death_has_reaped_it) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  *(uint32_t **)PSMgetUser(handle) = lock;
  pid_t child = h_member(handle, "dies_with_the_lock", NULL);
  CHECK_EQ(h_wait(child), 1000 + SIGKILL);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  CHECK_EQ(h_stat(handle).caches, 1);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

enum { DEATHS = 20 };
struct ear {
  uint32_t lock;
  uint64_t cursor;
  uint32_t heard;
};

MEMBER(asks) {
  struct ear *shared = PSMaddress(handle, strtoull(argv[0], NULL, 10));
  for (uint32_t heard = 0; heard < DEATHS;) {
    PSMMember members[ROOM];
    CHECK_EQ(PSMlock(handle, &shared->lock), 0);
    int count = PSMdeaths(handle, &shared->cursor, members, ROOM);
    CHECK(count >= 0);
    heard = shared->heard += (uint32_t)count;
    CHECK_EQ(PSMunlock(handle, &shared->lock), 0);
  }
  PSMdeinit(handle);
}

/* One cursor in the segment: of all who ask, one hears. */
CASE(one_hears_for_all) {
  enum { ASKERS = 4 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  struct ear *shared = PSMcalloc(handle, 1, sizeof *shared);
  char *where = h_text("%llu", (unsigned long long)PSMoffset(handle, shared));
  pid_t askers[ASKERS];
  for (int i = 0; i < ASKERS; i++) askers[i] = h_member(handle, "asks", where, NULL);
  for (int i = 0; i < DEATHS; i++) {
    pid_t pid;
    (void)member_new(handle, &pid);
    h_kill(pid);
  }
  for (int i = 0; i < ASKERS; i++) CHECK_EQ(h_wait(askers[i]), 0);
  CHECK_EQ(shared->heard, DEATHS);
  PSMdeinit(handle);
}

CASE(refusals) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  PSMMember members[ROOM];
  uint64_t cursor = 0, beyond = 1;
  CHECK_EQ(PSMdeaths(handle, NULL, members, ROOM), PSM_E_INVALID);
  CHECK_EQ(PSMdeaths(handle, &cursor, NULL, 1), PSM_E_INVALID);
  CHECK_EQ(PSMdeaths(handle, &cursor, members, -1), PSM_E_INVALID);
  CHECK_EQ(PSMdeaths(handle, &beyond, members, ROOM), PSM_E_INVALID);
  CHECK_EQ(beyond, 1);
  PSMHandle wrong = (PSMHandle)(void *)members;
  CHECK_EQ(PSMdeaths(wrong, &cursor, members, ROOM), PSM_E_HANDLE);
  CHECK_EQ(PSMdeaths(NULL, &cursor, members, ROOM), PSM_E_HANDLE);
  CHECK_EQ(PSMalive(wrong, 1), PSM_E_HANDLE);
  CHECK_SETS(PSM_E_HANDLE, CHECK_EQ(PSMself(wrong), 0));
  CHECK_EQ(h_wait(h_member(handle, "only_reads", NULL)), 0);
  PSMdeinit(handle);
}
MEMBER(only_reads) {
  PSMMember members[ROOM];
  uint64_t cursor = 0;
  PSMdeinit(handle);
  PSMHandle only = h_open(h_shm_name(""), 0, PSM_OPEN_READONLY);
  CHECK_EQ(PSMdeaths(only, &cursor, members, ROOM), PSM_E_READONLY);
  CHECK_SETS(PSM_E_READONLY, CHECK_EQ(PSMself(only), 0));
  CHECK_EQ(PSMmembers(only, members, ROOM), 1);
  CHECK_EQ(PSMalive(only, members[0].id), 1);
  PSMdeinit(only);
}
