/* Records pass from one process to another, in any language, through a ring of
 * pointers: who takes a record frees it.
 *
 *   queue produce NAME COUNT   make the ring if there is none, and put records
 *   queue consume NAME COUNT   take and check them, and free the ring
 *
 * Every change under the lock ends with one store, of head or of tail, so the
 * death of an owner leaves nothing to repair.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <psm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAGIC UINT64_C(0x50534d2d51554555) /* PSM-QUEU */

enum { SEGMENT_BYTES = 4 << 20, CAPACITY = 64, LENGTHS = 200 };

struct record {
  uint64_t number;
  uint64_t length;
  uint8_t bytes[];
};

/* 64 bytes. An address takes 8 of them, whatever the size of a pointer. */
struct ring {
  uint64_t magic;
  uint64_t capacity;
  uint64_t head;               /* records put */
  uint64_t tail;               /* records taken */
  _Alignas(8) uint64_t *slots; /* of `capacity` addresses */
  uint32_t lock;
  uint32_t zero[5];
};
_Static_assert(sizeof(struct ring) == 64, "the ring is the same in every language");

static void die(const char *what, const char *why) {
  fprintf(stderr, "queue: %s: %s\n", what, why);
  exit(1);
}

static void check(const char *what, int holds) {
  if (!holds) die("wrong", what);
}

static void rest(void) { nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); }

static void *allocate(PSMHandle segment, size_t size) {
  void *block = PSMcalloc(segment, 1, size);
  if (block == NULL) die("cannot allocate", PSMerrorString(PSMlastError()));
  return block;
}

static void free_block(PSMHandle segment, void *block) {
  PSMclearError();
  PSMfree(segment, block);
  if (PSMlastError() != PSM_OK) die("cannot free", PSMerrorString(PSMlastError()));
}

static void lock(PSMHandle segment, struct ring *ring) {
  int result = PSMlock(segment, &ring->lock);
  if (result < 0) die("cannot lock", PSMerrorString(result));
}

static void unlock(PSMHandle segment, struct ring *ring) {
  int result = PSMunlock(segment, &ring->lock);
  if (result < 0) die("cannot unlock", PSMerrorString(result));
}

static struct ring **user(PSMHandle segment) { return PSMgetUser(segment); }

static struct ring *ring_of(PSMHandle segment) {
  return __atomic_load_n(user(segment), __ATOMIC_ACQUIRE);
}

static void make_ring(PSMHandle segment) {
  struct ring *ring = allocate(segment, sizeof *ring);
  ring->magic = MAGIC;
  ring->capacity = CAPACITY;
  ring->slots = allocate(segment, CAPACITY * sizeof *ring->slots);
  __atomic_store_n(user(segment), ring, __ATOMIC_RELEASE); /* last: now others find it */
}

static int put(PSMHandle segment, struct ring *ring, struct record *record) {
  lock(segment, ring);
  int room = ring->head - ring->tail < ring->capacity;
  if (room) {
    ring->slots[ring->head % ring->capacity] = (uintptr_t)record;
    __atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
  }
  unlock(segment, ring);
  return room;
}

static struct record *take(PSMHandle segment, struct ring *ring) {
  struct record *record = NULL;
  lock(segment, ring);
  if (ring->head != ring->tail) {
    record = (struct record *)(uintptr_t)ring->slots[ring->tail % ring->capacity];
    __atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_RELEASE);
  }
  unlock(segment, ring);
  return record;
}

/* The consumer may free the ring meanwhile: what is read of it then still says
 * that it is drained. */
static int is_drained(PSMHandle segment) {
  struct ring *ring = ring_of(segment);
  return ring == NULL || __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) ==
                             __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
}

static void produce(PSMHandle segment, uint64_t count) {
  uint64_t sum = 0;
  if (ring_of(segment) == NULL) make_ring(segment);
  struct ring *ring = ring_of(segment);
  check("magic", ring->magic == MAGIC);
  for (uint64_t i = 0; i < count; i++) {
    struct record *record = allocate(segment, sizeof *record + (size_t)(i % LENGTHS));
    record->number = i;
    record->length = i % LENGTHS;
    for (uint64_t k = 0; k < record->length; k++) {
      record->bytes[k] = (uint8_t)((i + k) % 256);
      sum += record->bytes[k];
    }
    while (!put(segment, ring, record)) rest();
  }
  while (!is_drained(segment)) rest();
  printf("produced %" PRIu64 " %" PRIu64 "\n", count, sum);
}

static uint64_t check_record(const struct record *record, uint64_t number) {
  uint64_t sum = 0;
  check("number", record->number == number);
  check("length", record->length == number % LENGTHS);
  for (uint64_t k = 0; k < record->length; k++) {
    check("bytes", record->bytes[k] == (number + k) % 256);
    sum += record->bytes[k];
  }
  return sum;
}

static void consume(PSMHandle segment, uint64_t count) {
  uint64_t sum = 0;
  while (ring_of(segment) == NULL) rest();
  struct ring *ring = ring_of(segment);
  check("magic", ring->magic == MAGIC);
  for (uint64_t i = 0; i < count; i++) {
    struct record *record;
    while ((record = take(segment, ring)) == NULL) rest();
    sum += check_record(record, i);
    free_block(segment, record);
  }
  __atomic_store_n(user(segment), NULL, __ATOMIC_RELEASE);
  free_block(segment, ring->slots);
  free_block(segment, ring);
  printf("consumed %" PRIu64 " %" PRIu64 "\n", count, sum);
}

int main(int argc, char **argv) {
  if (argc != 4) die("usage", "queue produce|consume NAME COUNT");
  PSMHandle segment;
  PSMinit(argv[2], SEGMENT_BYTES, NULL, &segment);
  if (segment == NULL) die(argv[2], PSMerrorString(PSMlastError()));
  uint64_t count = strtoull(argv[3], NULL, 10);
  if (strcmp(argv[1], "produce") == 0)
    produce(segment, count);
  else if (strcmp(argv[1], "consume") == 0)
    consume(segment, count);
  else
    die("there is no such role", argv[1]);
  PSMdeinit(segment);
  return 0;
}
