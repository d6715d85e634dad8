/* Names, and PSMopen with its options. */
#include "harness.h"

#if defined(_WIN32)
#include <aclapi.h>
#include <sddl.h>
#endif

static int open_is(const char *name, size_t size, uint32_t flags) {
  PSMOptions options = {size, NULL, 0, flags};
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  PSMclearError();
  int result = PSMopen(name, &options, &handle);
  CHECK_EQ(PSMlastError(), result);
  if (result)
    CHECK(handle == NULL);
  else
    PSMdeinit(handle);
  return result;
}

CASE(names) {
  char *name = malloc(6000);
  CHECK(name != NULL);
  memset(name, 'x', 6000);
  size_t folder = strlen(h_shm_folder());
  memcpy(name, h_shm_folder(), folder);
  name[folder + 256] = 0; /* a component that is too long */
  CHECK_EQ(open_is(name, MIB, 0), PSM_E_NAME);
  memset(name, 'x', 6000);
  memcpy(name, "shm:", 4);
  name[4 + 256] = 0;
  CHECK_EQ(open_is(name, MIB, 0), PSM_E_NAME);
  memset(name, 'x', 6000);
  for (int i = 0; i < 6000; i += 2) name[i] = '/', name[i + 1] = '.';
  name[5999] = 0; /* a path that is too long */
  CHECK_EQ(open_is(name, MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is("shm:", MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is("shm:a/b", MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is("shm:.", MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is("shm:..", MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is("", MIB, 0), PSM_E_NAME);
  CHECK_EQ(open_is(NULL, MIB, 0), PSM_E_NAME);
  /* The longest that works, and names that are unusual. */
  size_t prefix = strlen(h_prefix);
  memset(name, 'x', 6000);
  memcpy(name, h_text("shm:%s", h_prefix), prefix + 4);
  name[4 + 255] = 0;
  CHECK_EQ(open_is(name, MIB, 0), 0);
  CHECK_EQ(open_is(h_shm_name(H_HAS_FORK ? " \n%s\xc3\xa9\"'$(x);" : " %s\xc3\xa9'$(x);"), MIB, 0),
           0);
  CHECK(chdir(h_directory) == 0);
  /* Only "shm:" is special; and Windows has no files with a colon in their name. */
  CHECK_EQ(open_is("SHM:x", MIB, 0), H_HAS_FORK ? 0 : PSM_E_NAME);
  free(name);
}

CASE(null_arguments) {
  PSMOptions options = {MIB, NULL, 0, 0};
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  CHECK_EQ(PSMopen(h_shm_name(""), &options, NULL), PSM_E_INVALID);
  CHECK_EQ(PSMopen(h_shm_name(""), NULL, &handle), PSM_E_NOT_FOUND);
  CHECK(handle == NULL);
  CHECK(!h_exists(h_shm_path("")));
  CHECK_EQ(open_is(h_shm_name(""), MIB, 32), PSM_E_INVALID);
  CHECK_EQ(open_is(h_shm_name(""), MIB, UINT32_MAX), PSM_E_INVALID);
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_JOIN | PSM_OPEN_EXCLUSIVE), PSM_E_INVALID);
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_READONLY | PSM_OPEN_EXCLUSIVE), PSM_E_INVALID);
  options.mode = 010000;
  CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), PSM_E_INVALID);
  CHECK(!h_exists(h_shm_path("")));
}

EXEC_CHILD(joins_and_ends) {
  h_init(argv[0], MIB);
  h_quit(0);
}

CASE(join) {
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_JOIN), PSM_E_NOT_FOUND);
  CHECK_EQ(open_is(h_shm_name(""), 0, PSM_OPEN_JOIN), PSM_E_NOT_FOUND);
  CHECK_EQ(open_is(h_shm_name(""), 0, PSM_OPEN_READONLY), PSM_E_NOT_FOUND);
  CHECK_EQ(open_is(h_shm_name(""), 0, 0), PSM_E_NOT_FOUND);
  CHECK(!h_exists(h_shm_path("")));
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_JOIN), 0);
  CHECK_EQ(open_is(h_shm_name(""), 0, PSM_OPEN_JOIN), 0);
  CHECK_EQ(open_is(h_shm_name(""), 0, 0), 0);
  CHECK_EQ(open_is(h_shm_name(""), 2 * MIB, PSM_OPEN_JOIN), PSM_E_SIZE);
  CHECK_EQ(h_wait(h_spawn("joins", h_shm_name(""), NULL)), 0);
  PSMdeinit(handle);
  /* What the dead left is nothing to join. */
  CHECK_EQ(h_wait(h_spawn("joins_and_ends", h_shm_name(""), NULL)), 0);
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_JOIN), PSM_E_NOT_FOUND);
}
EXEC_CHILD(joins) {
  PSMHandle handle = h_open(argv[0], 0, 0);
  CHECK_EQ(h_stat(handle).size, MIB);
  CHECK_EQ(open_is(argv[0], MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
  PSMdeinit(handle);
  CHECK_EQ(open_is(argv[0], MIB, PSM_OPEN_JOIN), 0);
  CHECK_EQ(open_is(argv[0], MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
  return 0;
}

CASE(exclusive) {
  PSMHandle handle = h_open(h_shm_name(""), MIB, PSM_OPEN_EXCLUSIVE);
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
  CHECK_EQ(open_is(h_shm_path(""), MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
  CHECK(PSMalloc(handle, 10) != NULL);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_EXCLUSIVE), 0);
}

CASE(keep) {
  PSMHandle handle = h_open(h_shm_name(""), MIB, PSM_OPEN_KEEP);
  char **root = PSMgetUser(handle);
  *root = PSMalloc(handle, 1000);
  void *freed = PSMalloc(handle, 1000);
  CHECK(*root != NULL && freed != NULL);
  PSMfree(handle, freed);
  h_fill(*root, 1000, 9);
  PSMdeinit(handle);
  CHECK(h_exists(h_shm_path("")));
  CHECK_EQ(h_wait(h_spawn("goes_on", h_shm_name(""), h_text("%p", (void *)handle), NULL)), 0);
  CHECK(h_exists(h_shm_path("")));
  CHECK_EQ(open_is(h_shm_name(""), MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
  CHECK_EQ(open_is(h_shm_name(""), 2 * MIB, 0), PSM_E_SIZE);
  /* PSMinit goes on with it too; a death does not make it start afresh. */
  CHECK_EQ(h_wait(h_spawn("joins_and_ends", h_shm_name(""), NULL)), 0);
  PSMHandle again = h_init(h_shm_name(""), MIB);
  CHECK_PTR(again, handle);
  CHECK(h_intact(*root, 1000, 10));
  CHECK_EQ(h_stat(again).blocks, 1);
  CHECK_EQ(h_stat(again).members, 1);
  h_sound(again);
  PSMdeinit(again);
  CHECK(h_exists(h_shm_path("")));
}
EXEC_CHILD(goes_on) {
  void *base = NULL;
  CHECK(sscanf(argv[1], "%p", &base) == 1);
  PSMHandle handle = h_open(argv[0], 0, PSM_OPEN_JOIN);
  CHECK_PTR(handle, base);
  char **root = PSMgetUser(handle);
  CHECK(h_intact(*root, 1000, 9));
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMfree(handle, *root);
  *root = PSMalloc(handle, 1000);
  h_fill(*root, 1000, 10);
  PSMdeinit(handle);
  return 0;
}

/* As soon as one user asks for it. */
CASE(keep_asked_by_a_joiner) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  *(uint64_t *)PSMgetUser(handle) = 5;
  pid_t child = h_spawn("keeps", h_shm_name(""), NULL);
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  CHECK(h_exists(h_shm_path("")));
  handle = h_open(h_shm_name(""), 0, PSM_OPEN_JOIN);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 5);
  PSMdeinit(handle);
}
EXEC_CHILD(keeps) {
  PSMdeinit(h_open(argv[0], MIB, PSM_OPEN_KEEP));
  return 0;
}

CASE(read_only) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t **root = PSMgetUser(handle);
  *root = PSMcalloc(handle, 1, 1000);
  CHECK(*root != NULL);
  h_fill(*root + 1, 996, 3);
  pid_t child = h_spawn("reads", h_shm_name(""), h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  CHECK(PSMreap(handle) >= 0);    /* of the fork before the exec */
  CHECK_EQ(h_members(handle), 1); /* a reader has no seat */
  h_fill(*root + 1, 996, 4);
  h_gate_open(go);
  h_gate_pass(ready);
  PSMdeinit(handle);
  CHECK(h_exists(h_shm_path(""))); /* but it keeps the segment */
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  /* Nobody is left: whoever comes next begins anew. */
  handle = h_init(h_shm_name(""), MIB);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(reads) {
  h_gate ready = h_gate_from(argv[1]), go = h_gate_from(argv[2]);
  PSMHandle handle = h_open(argv[0], 0, PSM_OPEN_READONLY);
  uint32_t *block = *(uint32_t **)PSMgetUser(handle);
  void *place = block;
  CHECK(h_intact(block + 1, 996, 3));
  CHECK_SETS(PSM_E_READONLY, CHECK(PSMalloc(handle, 10) == NULL));
  CHECK_SETS(PSM_E_READONLY, CHECK(PSMcalloc(handle, 1, 10) == NULL));
  CHECK_SETS(PSM_E_READONLY, CHECK(PSMrealloc(handle, block, 10) == NULL));
  CHECK_SETS(PSM_E_READONLY, CHECK(PSMalignedAlloc(handle, 16, 10) == NULL));
  CHECK_SETS(PSM_E_READONLY, PSMfree(handle, block));
  CHECK_EQ(PSMallocTo(handle, 10, &place), PSM_E_READONLY);
  CHECK_EQ(PSMlock(handle, block), PSM_E_READONLY);
  CHECK_EQ(PSMtrylock(handle, block), PSM_E_READONLY);
  CHECK_EQ(PSMreap(handle), PSM_E_READONLY);
  CHECK_EQ(PSMtrim(handle, NULL), PSM_E_READONLY);
  CHECK_SETS(PSM_E_READONLY, CHECK(PSMprepareInherit(handle) == NULL));
  CHECK_EQ(h_stat(handle).blocks, 1);
  CHECK(PSMusableSize(handle, block) >= 1000);
  PSMBlock walk = {NULL, 0};
  CHECK_EQ(PSMwalk(handle, &walk), 1);
  CHECK_PTR(walk.address, block);
  CHECK_EQ(PSMwalk(handle, &walk), 0);
  CHECK_EQ(PSMcheck(handle), 0);
  h_gate_open(ready);
  h_gate_pass(go);
  CHECK(h_intact(block + 1, 996, 4));
  /* The pages refuse as well. */
  CHECK(h_refuses_writing(block));
  h_gate_open(ready);
  h_gate_pass(go);
  CHECK(h_intact(block + 1, 996, 4)); /* the writer has left */
  PSMdeinit(handle);
  return 0;
}

/* Readers share one lock: each of them keeps the file, and the last one removes it. */
CASE(two_readers_are_left) {
  h_gate ready = h_gate_new(), go[2] = {h_gate_new(), h_gate_new()};
  pid_t reader[2];
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int i = 0; i < 2; i++) {
    reader[i] = h_spawn("reads_until_told", h_gate_text(ready), h_gate_text(go[i]), NULL);
    h_gate_pass(ready);
  }
  PSMdeinit(handle);
  for (int i = 0; i < 2; i++) {
    CHECK(h_exists(h_shm_path("")));
    h_gate_open(go[i]);
    CHECK_EQ(h_wait(reader[i]), 0);
  }
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(reads_until_told) {
  PSMHandle handle = h_open(h_shm_name(""), 0, PSM_OPEN_READONLY);
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  CHECK_EQ(PSMcheck(handle), 0);
  PSMdeinit(handle);
  return 0;
}

#if !defined(_WIN32)
CASE(mode_bits) {
  struct stat st;
  umask(022);
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(stat(h_shm_path(""), &st) == 0);
  CHECK_EQ(st.st_mode & 07777, 0600);
  PSMdeinit(handle);
  uint32_t modes[] = {0600, 0640, 0660, 0666, 0644};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    PSMOptions options = {MIB, NULL, modes[i], 0};
    CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), 0);
    CHECK(stat(h_shm_path(""), &st) == 0);
    /* The umask may or may not count, but nothing is granted that was not asked for. */
    CHECK((st.st_mode & 0777 & ~modes[i]) == 0 && (st.st_mode & 0700) == 0600);
    CHECK(((st.st_mode ^ modes[i]) & 0777 & ~022u) == 0);
    PSMdeinit(handle);
  }
}

#else
/* Whom the list of a file's rights lets in, as system security identifiers in text. */
static char *rights_of(const char *path) {
  PSECURITY_DESCRIPTOR security;
  wchar_t *text;
  CHECK_EQ(GetNamedSecurityInfoW(h_wide(path), SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL,
                                 NULL, NULL, NULL, &security),
           ERROR_SUCCESS);
  CHECK(ConvertSecurityDescriptorToStringSecurityDescriptorW(
      security, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, &text, NULL));
  char *narrow = h_text("%ls", text);
  LocalFree(text);
  LocalFree(security);
  return narrow;
}

/* Everybody is WD. */
CASE(mode_bits) {
  static const uint32_t modes[] = {0, 0600, 0640, 0666, 0644};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    PSMOptions options = {MIB, NULL, modes[i], 0};
    PSMHandle handle = NULL;
    CHECK_EQ(PSMopen(h_path("rights"), &options, &handle), 0);
    char *rights = rights_of(h_path("rights"));
    if ((strstr(rights, ";WD)") != NULL) != ((modes[i] & 04) != 0))
      FAIL("%o: %s", modes[i], rights);
    PSMdeinit(handle);
  }
}
#endif

CASE(given_address_with_options) {
  char *address = h_vacant(4 * MIB);
  PSMHandle handle = NULL;
  PSMOptions options = {MIB, address, 0, 0};
  CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), 0);
  CHECK_PTR(handle, options.address);
  PSMOptions elsewhere = {MIB, address + 2 * MIB, 0, 0};
  PSMHandle other = handle;
  CHECK_EQ(PSMopen(h_shm_name(""), &elsewhere, &other), PSM_E_ADDRESS);
  CHECK(other == NULL);
  PSMdeinit(handle);
}

/* A hard link is the same file: one segment, whichever name is used. */
CASE(two_names_for_one_file) {
  PSMHandle handle = h_init(h_path("first"), MIB);
  CHECK(h_link(h_path("first"), h_path("second")));
  CHECK_PTR(h_init(h_path("second"), MIB), handle); /* counted, in one process */
  PSMdeinit(handle);
  pid_t child = h_spawn("joins_by_the_second_name", NULL);
  CHECK_EQ(h_wait(child), 0);
  CHECK(h_exists(h_path("first")));
  void **root = PSMgetUser(handle);
  CHECK(*root != NULL);
  PSMfree(handle, *root);
  h_sound(handle);
  PSMdeinit(handle); /* the last one removes the name that it used */
  CHECK(!h_exists(h_path("first")));
  CHECK(h_exists(h_path("second")));
  handle = h_init(h_path("second"), 2 * MIB); /* nobody's: begun afresh */
  CHECK_PTR(*(void **)PSMgetUser(handle), NULL);
  PSMdeinit(handle);
  CHECK(!h_exists(h_path("second")));
}

EXEC_CHILD(joins_by_the_second_name) {
  PSMHandle handle = h_open(h_path("second"), 0, PSM_OPEN_JOIN);
  void **root = PSMgetUser(handle);
  CHECK_EQ(PSMallocTo(handle, 100, root), 0);
  /* The member that this was before exec is alive until its parent is back from fork. */
  for (double end = h_now() + 60; h_members(handle) != 2; h_sleep_us(1000)) CHECK(h_now() < end);
  PSMdeinit(handle);
  return 0;
}
