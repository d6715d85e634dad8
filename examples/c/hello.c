/* One process writes a record and a text, another in any language reads and
 * frees them.
 *
 *   hello write NAME   make both, say so, and stay until the input ends
 *   hello read NAME    check every field, follow the pointer, free both
 *   hello churn NAME   allocate and free until the input ends
 */
#include <inttypes.h>
#include <psm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <windows.h>
#else
#include <poll.h>
#include <unistd.h>
#endif

#define MAGIC UINT64_C(0x50534d2d48454c4f) /* PSM-HELO */

enum { SEGMENT_BYTES = 4 << 20, KEPT = 32 };

/* 64 bytes. An address takes 8 of them, whatever the size of a pointer. */
struct hello {
  uint64_t magic;
  _Alignas(8) char *text;
  uint64_t length;
  _Alignas(8) struct hello *self;
  int64_t number;
  double real;
  uint64_t zero[2];
};
_Static_assert(sizeof(struct hello) == 64, "the record is the same in every language");

static void die(const char *what, const char *why) {
  fprintf(stderr, "hello: %s: %s\n", what, why);
  exit(1);
}

static PSMHandle join(const char *name, uint64_t size, uint32_t flags) {
  PSMHandle segment;
  int result = PSMopen(name, &(PSMOptions){.size = size, .flags = flags}, &segment);
  if (result != PSM_OK) die(name, PSMerrorString(result));
  return segment;
}

static void *allocate(PSMHandle segment, size_t size) {
  void *block = PSMcalloc(segment, 1, size);
  if (block == NULL) die("cannot allocate", PSMerrorString(PSMlastError()));
  return block;
}

static void write_hello(const char *name) {
  static const char text[] = "hello from c";
  PSMHandle segment = join(name, SEGMENT_BYTES, 0);
  struct hello *hello = allocate(segment, sizeof *hello);
  hello->magic = MAGIC;
  hello->length = strlen(text);
  hello->text = allocate(segment, sizeof text - 1);
  memcpy(hello->text, text, sizeof text - 1);
  hello->self = hello;
  hello->number = -42;
  hello->real = 2.5;
  struct hello **user = PSMgetUser(segment);
  __atomic_store_n(user, hello, __ATOMIC_RELEASE); /* last: now others find it */
  printf("wrote %" PRIuPTR "\n", (uintptr_t)hello);
  fflush(stdout);
  while (getchar() != EOF) continue;
  PSMdeinit(segment);
}

static void check(const char *what, int holds) {
  if (!holds) die("wrong", what);
}

static void check_fields(PSMHandle segment, const struct hello *hello) {
  check("no record", hello != NULL && PSMusableSize(segment, hello) >= sizeof *hello);
  check("magic", hello->magic == MAGIC);
  check("self", hello->self == hello);
  check("number", hello->number == -42);
  check("real", hello->real == 2.5);
  check("zero", hello->zero[0] == 0 && hello->zero[1] == 0);
  check("text", PSMusableSize(segment, hello->text) >= hello->length);
  check("offset of the record", PSMaddress(segment, PSMoffset(segment, hello)) == hello);
  check("offset of the text", PSMaddress(segment, PSMoffset(segment, hello->text)) == hello->text);
}

static void free_block(PSMHandle segment, void *block) {
  PSMclearError();
  PSMfree(segment, block);
  if (PSMlastError() != PSM_OK) die("cannot free", PSMerrorString(PSMlastError()));
}

static void read_hello(const char *name) {
  PSMHandle segment = join(name, 0, PSM_OPEN_JOIN);
  struct hello **user = PSMgetUser(segment);
  struct hello *hello = __atomic_load_n(user, __ATOMIC_ACQUIRE);
  check_fields(segment, hello);
  size_t length = (size_t)hello->length;
  char *text = malloc(length + 1);
  check("no memory", text != NULL);
  memcpy(text, hello->text, length);

  free_block(segment, hello->text);
  free_block(segment, hello);
  *user = NULL;
  PSMStat stat;
  check("PSMcheck", PSMcheck(segment) == PSM_OK);
  check("PSMstat", PSMstat(segment, &stat) == PSM_OK);
  check("a block is left", stat.blocks == 0);
  printf("read %" PRIuPTR " %.*s\n", (uintptr_t)hello, (int)length, text);
  free(text);
  PSMdeinit(segment);
}

#if defined(_WIN32)
static int input_ended(void) {
  return !PeekNamedPipe(GetStdHandle(STD_INPUT_HANDLE), NULL, 0, NULL, NULL, NULL);
}
#else
static int input_ended(void) {
  char byte;
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) == 0;
}
#endif

/* Each block holds its own address. */
static void give_back(PSMHandle segment, void **block) {
  if (block == NULL) return;
  check("a block", *block == (void *)block);
  free_block(segment, block);
}

static void churn(const char *name) {
  PSMHandle segment = join(name, SEGMENT_BYTES, 0);
  void **kept[KEPT] = {NULL};
  for (uint64_t turn = 1; turn % 1000 != 1 || !input_ended(); turn++) {
    void ***oldest = &kept[turn % KEPT];
    give_back(segment, *oldest);
    *oldest = allocate(segment, 16 + (size_t)rand() % 497);
    **oldest = *oldest;
    if (turn % 1000 == 0) {
      printf("turn %" PRIu64 "\n", turn);
      fflush(stdout);
    }
  }
  for (int i = 0; i < KEPT; i++) give_back(segment, kept[i]);
  PSMdeinit(segment);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "write") == 0)
    write_hello(argv[2]);
  else if (argc == 3 && strcmp(argv[1], "read") == 0)
    read_hello(argv[2]);
  else if (argc == 3 && strcmp(argv[1], "churn") == 0)
    churn(argv[2]);
  else
    die("usage", "hello write|read|churn NAME");
  return 0;
}
