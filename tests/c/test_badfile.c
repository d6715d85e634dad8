/* Files that are no segment, or not one to be used: refused by name and left as they are. */
#include "harness.h"

#if !defined(_WIN32)
#include <sys/socket.h>
#include <sys/un.h>
#endif

static int open_is(const char *name, size_t size, uint32_t flags) {
  PSMOptions options = {size, NULL, 0, flags};
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  PSMclearError();
  int result = PSMopen(name, &options, &handle);
  CHECK_EQ(PSMlastError(), result);
  CHECK(strlen(PSMerrorString(result)) > 0);
  if (result)
    CHECK(handle == NULL);
  else
    PSMdeinit(handle);
  return result;
}

/* All ways to open a file give this code, and none changes a byte of it. */
static void refused(const char *path, int code) {
  size_t before_size, after_size;
  void *before = h_read_file(path, &before_size);
  CHECK_EQ(open_is(path, MIB, 0), code);
  CHECK_EQ(open_is(path, MIB, PSM_OPEN_JOIN), code);
  CHECK_EQ(open_is(path, 0, PSM_OPEN_JOIN), code);
  CHECK_EQ(open_is(path, MIB, PSM_OPEN_KEEP), code);
  CHECK_EQ(open_is(path, 0, PSM_OPEN_READONLY), code);
  void *after = h_read_file(path, &after_size);
  CHECK_EQ(before_size, after_size);
  CHECK(memcmp(before, after, before_size) == 0);
  free(before);
  free(after);
}

/* A file with a kept segment in it, which nobody uses. */
static char *kept_segment(size_t size) {
  char *path = h_path("kept");
  PSMHandle handle = h_open(path, size, PSM_OPEN_KEEP);
  *(uint64_t *)PSMgetUser(handle) = 99;
  CHECK(PSMalloc(handle, 1000) != NULL);
  PSMdeinit(handle);
  CHECK(h_exists(path));
  return path;
}

CASE(garbage) {
  uint64_t seed = h_seed;
  size_t sizes[] = {1, 7, 8, 64, 255, 256, 1000, 4096, 30 * KIB, 100 * KIB, MIB, MIB + 1};
  unsigned char *bytes = malloc(2 * MIB);
  CHECK(bytes != NULL);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (size_t j = 0; j < sizes[i]; j++) bytes[j] = (unsigned char)h_random(&seed);
    h_write_file(h_path("garbage"), bytes, sizes[i]);
    refused(h_path("garbage"), PSM_E_FORMAT);
  }
  free(bytes);
}

CASE(zeros_and_text) {
  char *zeros = calloc(1, MIB);
  CHECK(zeros != NULL);
  h_write_file(h_path("zeros"), zeros, MIB);
  refused(h_path("zeros"), PSM_E_FORMAT);
  h_write_file(h_path("zeros"), zeros, 100);
  refused(h_path("zeros"), PSM_E_FORMAT);
  free(zeros);
  const char *text = "Dear diary,\n";
  h_write_file(h_path("diary"), text, strlen(text));
  refused(h_path("diary"), PSM_E_FORMAT);
  CHECK_EQ(open_is(h_path("diary"), MIB, PSM_OPEN_EXCLUSIVE), PSM_E_EXISTS);
}

CASE(empty_file_is_used) {
  h_write_file(h_path("empty"), "", 0);
  PSMHandle handle = h_init(h_path("empty"), MIB);
  CHECK(PSMalloc(handle, 1000) != NULL);
  CHECK_EQ(h_wait(h_spawn("joins_it", h_path("empty"), NULL)), 0);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_path("empty")));
}
EXEC_CHILD(joins_it) {
  PSMHandle handle = h_init(argv[0], MIB);
  CHECK_EQ(h_stat(handle).blocks, 1);
  PSMdeinit(handle);
  return 0;
}

CASE(truncated_and_grown) {
  char *path = kept_segment(MIB);
  h_truncate(path, MIB / 2);
  refused(path, PSM_E_TRUNCATED);
  h_truncate(path, MIB - 1);
  refused(path, PSM_E_TRUNCATED);
  h_truncate(path, 256);
  refused(path, PSM_E_TRUNCATED);
  CHECK(unlink(path) == 0);
  path = kept_segment(MIB);
  h_truncate(path, MIB + 1);
  refused(path, PSM_E_TRUNCATED);
  h_truncate(path, MIB * 2);
  refused(path, PSM_E_TRUNCATED);
  /* As it was, it works again. */
  h_truncate(path, MIB);
  CHECK_EQ(open_is(path, MIB, 0), 0);
  /* Less than the header: nobody can say what it was, only that it is not whole. */
  for (int size = 255; size > 0; size -= 31) {
    h_truncate(path, (size_t)size);
    int code = open_is(path, MIB, 0);
    CHECK(code == PSM_E_TRUNCATED || code == PSM_E_FORMAT);
    CHECK_EQ(h_file_size(path), size);
  }
}

CASE(wrong_size) {
  char *path = kept_segment(MIB);
  CHECK_EQ(open_is(path, MIB + 4096, 0), PSM_E_SIZE);
  CHECK_EQ(open_is(path, MIB - 4096, 0), PSM_E_SIZE);
  CHECK_EQ(open_is(path, MIB + 4096, PSM_OPEN_JOIN), PSM_E_SIZE);
  CHECK(strstr(PSMerrorString(PSM_E_SIZE), "1048576") != NULL); /* says what it is */
  CHECK_EQ(open_is(path, MIB, 0), 0);
}

CASE(foreign_version_and_platform) {
  char *path = kept_segment(MIB);
  size_t size;
  unsigned char *bytes = h_read_file(path, &size);
  uint32_t format;
  memcpy(&format, bytes + 8, 4);
  for (uint32_t other = format + 1; other < format + 4; other++) {
    h_patch(path, 8, &other, 4);
    refused(path, PSM_E_VERSION);
  }
  h_patch(path, 8, &format, 4);
  uint8_t foreign = bytes[12] == 8 ? 4 : 8;
  h_patch(path, 12, &foreign, 1);
  refused(path, PSM_E_PLATFORM);
  h_patch(path, 12, bytes + 12, 1);
  foreign = bytes[13] == 1 ? 2 : 1;
  h_patch(path, 13, &foreign, 1);
  refused(path, PSM_E_PLATFORM);
  h_patch(path, 13, bytes + 13, 1);
  CHECK_EQ(open_is(path, MIB, 0), 0);
  /* From a machine with the other byte order every number is turned round. */
  uint8_t turned[8];
  for (int i = 0; i < 8; i++) turned[i] = bytes[7 - i];
  h_patch(path, 0, turned, 8);
  uint8_t turned_format[4] = {bytes[11], bytes[10], bytes[9], bytes[8]};
  h_patch(path, 8, turned_format, 4);
  h_patch(path, 13, &foreign, 1);
  refused(path, PSM_E_PLATFORM);
  free(bytes);
}

CASE(bit_flips_in_the_header) {
  char *path = kept_segment(MIB);
  size_t size;
  unsigned char *bytes = h_read_file(path, &size);
  for (long at = 0; at < 56; at++) {
    for (int bit = 0; bit < 8; bit++) {
      unsigned char flipped = (unsigned char)(bytes[at] ^ (1u << bit));
      h_patch(path, at, &flipped, 1);
      for (int way = 0; way < 3; way++) {
        int code = open_is(path, way == 1 ? 0 : MIB, way == 2 ? PSM_OPEN_JOIN : 0);
        if (code >= 0) FAIL("byte %d bit %d is not noticed", (int)at, bit);
        CHECK(code == PSM_E_FORMAT || code == PSM_E_VERSION || code == PSM_E_PLATFORM ||
              code == PSM_E_CORRUPT || code == PSM_E_TRUNCATED || code == PSM_E_SIZE);
        if (at < 8) CHECK_EQ(code, PSM_E_FORMAT);
        if (at >= 48) CHECK_EQ(code, PSM_E_CORRUPT);
      }
      h_patch(path, at, bytes + at, 1);
    }
  }
  PSMHandle handle = h_open(path, 0, PSM_OPEN_JOIN);
  CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 99);
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMdeinit(handle);
  free(bytes);
}

#if !defined(_WIN32)
CASE(no_plain_file) {
  alarm(20); /* a FIFO must not make it wait */
  uint32_t flags[] = {0, PSM_OPEN_JOIN, PSM_OPEN_KEEP, PSM_OPEN_READONLY};
  CHECK(mkdir(h_path("directory"), 0700) == 0 && mkfifo(h_path("fifo"), 0600) == 0);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", h_path("socket"));
  CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
  CHECK(symlink(h_path("fifo"), h_path("link")) == 0);
  char *paths[] = {h_path("directory"), h_path("fifo"),      h_path("socket"), h_path("link"),
                   h_text("/dev/null"), h_text("/dev/zero"), h_text("/")};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    for (size_t j = 0; j < 4; j++) CHECK_EQ(open_is(paths[i], MIB, flags[j]), PSM_E_FILETYPE);
  close(listener);
}

CASE(symbolic_links) {
  CHECK(symlink(h_path("nowhere"), h_path("dangling")) == 0);
  CHECK_EQ(open_is(h_path("dangling"), MIB, 0), PSM_E_NAME);
  CHECK(!h_exists(h_path("nowhere")) && h_exists(h_path("dangling")));
  CHECK(symlink(h_path("none/at/all"), h_path("deep")) == 0);
  CHECK_EQ(open_is(h_path("deep"), MIB, 0), PSM_E_NAME);
  CHECK(symlink(h_path("loop"), h_path("loop")) == 0);
  CHECK_EQ(open_is(h_path("loop"), MIB, 0), PSM_E_NAME);
  /* One to a good segment leads to it. */
  PSMHandle handle = h_init(h_path("good"), MIB);
  CHECK(symlink(h_path("good"), h_path("link")) == 0);
  PSMHandle again = h_init(h_path("link"), MIB);
  CHECK_PTR(again, handle);
  PSMdeinit(again);
  CHECK_EQ(h_wait(h_spawn("by_link", h_path("link"), NULL)), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_path("good")));
}
EXEC_CHILD(by_link) {
  PSMHandle handle = h_init(argv[0], MIB);
  /* The seat of the fork before the exec is the parent's until it has returned from there. */
  for (int tries = 0; tries < 2000 && PSMmembers(handle, NULL, 0) > 2; tries++) {
    h_sleep_us(500);
    (void)PSMreap(handle);
  }
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  PSMdeinit(handle);
  return 0;
}

#else
CASE(no_plain_file) {
  uint32_t flags[] = {0, PSM_OPEN_JOIN, PSM_OPEN_KEEP, PSM_OPEN_READONLY};
  CHECK(h_mkdir(h_path("directory")));
  HANDLE pipe = CreateNamedPipeW(h_wide(h_text("\\\\.\\pipe\\%s", h_prefix)), PIPE_ACCESS_DUPLEX, 0,
                                 1, 4096, 4096, 0, NULL);
  CHECK(pipe != INVALID_HANDLE_VALUE);
  char *paths[] = {h_path("directory"), h_text("NUL"), h_text("\\\\.\\pipe\\%s", h_prefix)};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    for (size_t j = 0; j < 4; j++) CHECK_EQ(open_is(paths[i], MIB, flags[j]), PSM_E_FILETYPE);
  CloseHandle(pipe);
}
LEFT_OUT(symbolic_links, "on Windows they take a privilege, and wine has none of its own")
#endif

CASE(no_such_directory) {
  int code = open_is(h_path("none/segment"), MIB, 0);
  CHECK(code == PSM_E_NAME || code == PSM_E_NOT_FOUND);
  CHECK(!h_exists(h_path("none")));
  h_write_file(h_path("file"), "x", 1);
  CHECK_EQ(open_is(h_path("file/segment"), MIB, 0), PSM_E_NAME);
  code = open_is(h_path("directory/"), MIB, 0);
  CHECK(code == PSM_E_NAME || code == PSM_E_FILETYPE);
}

/* ---- Other users ------------------------------------------------------------ */

#if !defined(_WIN32)
static void become_nobody(void) { CHECK(setgid(65534) == 0 && setuid(65534) == 0); }

CASE(permissions) {
  if (geteuid() != 0) SKIP("needs root to become somebody else");
  CHECK(chmod(h_directory, 0755) == 0);
  PSMOptions options = {MIB, NULL, 0644, PSM_OPEN_KEEP};
  PSMHandle handle = NULL;
  CHECK_EQ(PSMopen(h_path("readable"), &options, &handle), 0);
  void **root = PSMgetUser(handle);
  *root = PSMalloc(handle, 100);
  h_fill(*root, 100, 1);
  PSMHandle private = h_init(h_path("private"), MIB);
  pid_t child = h_spawn("as_nobody", h_directory, NULL);
  CHECK_EQ(h_wait(child), 0);
  h_sound(handle);
  PSMdeinit(private);
  PSMdeinit(handle);
}
EXEC_CHILD(as_nobody) {
  become_nobody();
  CHECK_EQ(open_is(h_path("private"), MIB, 0), PSM_E_ACCESS);
  CHECK_EQ(open_is(h_path("private"), 0, PSM_OPEN_READONLY), PSM_E_ACCESS);
  CHECK_EQ(open_is(h_path("readable"), MIB, 0), PSM_E_ACCESS);
  CHECK_EQ(open_is(h_path("readable"), MIB, PSM_OPEN_JOIN), PSM_E_ACCESS);
  CHECK_EQ(open_is(h_path("new"), MIB, 0), PSM_E_ACCESS); /* the directory is not ours */
  PSMHandle handle = h_open(h_path("readable"), 0, PSM_OPEN_READONLY);
  CHECK(h_intact(*(void **)PSMgetUser(handle), 100, 1));
  PSMdeinit(handle);
  return 0;
}

/* In a sticky directory, where a system may forbid O_CREAT on another's file. */
CASE(two_users_share) {
  if (geteuid() != 0) SKIP("needs root to become somebody else");
  h_gate ready = h_gate_new(), go = h_gate_new();
  umask(0);
  for (int first_is_root = 0; first_is_root < 2; first_is_root++) {
    pid_t owner = h_fork();
    if (owner == 0) {
      if (!first_is_root) become_nobody();
      PSMOptions options = {MIB, NULL, 0666, 0};
      PSMHandle handle = NULL;
      CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), 0);
      *(void **)PSMgetUser(handle) = PSMalloc(handle, 100);
      h_gate_open(ready);
      h_gate_pass(go);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
      CHECK_EQ(h_stat(handle).blocks, 0);
      h_sound(handle);
      PSMdeinit(handle);
      CHECK(!h_exists(h_shm_path("")));
      h_quit(0);
    }
    h_gate_pass(ready);
    pid_t other = h_fork();
    if (other == 0) {
      if (first_is_root) become_nobody();
      PSMHandle handle = h_init(h_shm_name(""), MIB);
      PSMMember members[2];
      CHECK_EQ(PSMmembers(handle, members, 2), 2);
      CHECK(members[0].alive && members[1].alive);
      CHECK_EQ(PSMreap(handle), 0);
      CHECK_SETS(0, PSMfree(handle, *(void **)PSMgetUser(handle)));
      PSMdeinit(handle);
      h_quit(0);
    }
    CHECK_EQ(h_wait(other), 0);
    h_gate_open(go);
    CHECK_EQ(h_wait(owner), 0);
  }
}
#else
LEFT_OUT(permissions, "another user of Windows needs a password; see mode_bits in test_open")
LEFT_OUT(two_users_share, "another user of Windows needs a password; see mode_bits in test_open")
#endif
