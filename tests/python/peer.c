/* The C side of the cross-language tests: one command a line from stdin, one
 * answer a line, "ok NUMBER..." or "error CODE SENTENCE". peer.py is the same
 * program in Python; the tests use either in either place.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "psm.h"

enum { BUCKETS = 64, SLOTS = 64 };

struct word {
  struct word *next;
  char *text;
  uint64_t count;
};

struct table {
  uint32_t lock;
  uint32_t words;
  struct word *bucket[BUCKETS];
  unsigned char *slot[SLOTS];
};

/* A parcel: 16 bytes of header, then bytes that follow from the seed. */
struct parcel {
  uint64_t size;
  uint64_t seed;
};

static PSMHandle segment;

static struct table *root(void) { return *(struct table **)PSMgetUser(segment); }

static void fail(int code) {
  printf("error %d %s\n", code, PSMerrorString(code));
  exit(1);
}

static void *need(void *block) {
  if (block == NULL) {
    fail(PSMlastError());
  }
  return block;
}

static void free_block(void *block) {
  PSMclearError();
  PSMfree(segment, block);
  if (PSMlastError() != PSM_OK) {
    fail(PSMlastError());
  }
}

/* The words are "w0" .. "wN-1", and word i counts i. */
static void build(uint64_t count) {
  struct table *table = need(PSMcalloc(segment, 1, sizeof *table));
  for (uint64_t i = 0; i < count; i++) {
    char text[32];
    int length = snprintf(text, sizeof text, "w%" PRIu64, i);
    struct word *word = need(PSMalloc(segment, sizeof *word));
    word->text = need(PSMalloc(segment, (size_t)length + 1));
    memcpy(word->text, text, (size_t)length + 1);
    word->count = i;
    word->next = table->bucket[i % BUCKETS];
    table->bucket[i % BUCKETS] = word;
    table->words++;
  }
  *(struct table **)PSMgetUser(segment) = table;
  printf("ok %p\n", (void *)table);
}

/* Counts the words, adds up their counts and the bytes of their texts. */
static void walk(void) {
  struct table *table = root();
  uint64_t words = 0;
  uint64_t sum = 0;
  uint64_t letters = 0;
  for (int i = 0; i < BUCKETS; i++) {
    for (struct word *word = table->bucket[i]; word != NULL; word = word->next) {
      words++;
      sum += word->count;
      for (const char *letter = word->text; *letter != 0; letter++) {
        letters += (unsigned char)*letter;
      }
    }
  }
  printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", words, sum, letters);
}

/* Makes every second word of each bucket anew and doubles its count. */
static void change(void) {
  struct table *table = root();
  uint64_t changed = 0;
  for (int i = 0; i < BUCKETS; i++) {
    struct word **link = &table->bucket[i];
    for (int k = 0; *link != NULL; k++, link = &(*link)->next) {
      if (k % 2 == 1) {
        struct word *old = *link;
        struct word *word = need(PSMalloc(segment, sizeof *word));
        *word = *old;
        word->count *= 2;
        *link = word;
        free_block(old);
        changed++;
      }
    }
  }
  printf("ok %" PRIu64 "\n", changed);
}

static void clear(void) {
  struct table *table = root();
  uint64_t freed = 0;
  for (int i = 0; i < BUCKETS; i++) {
    for (struct word *word = table->bucket[i]; word != NULL; freed++) {
      struct word *next = word->next;
      free_block(word->text);
      free_block(word);
      word = next;
    }
  }
  free_block(table);
  *(struct table **)PSMgetUser(segment) = NULL;
  printf("ok %" PRIu64 "\n", freed);
}

static unsigned char byte_at(uint64_t seed, uint64_t i) { return (unsigned char)(seed + 31 * i); }

static unsigned char *pack(uint64_t size, uint64_t seed) {
  unsigned char *block = need(PSMalloc(segment, size));
  struct parcel head = {size, seed};
  memcpy(block, &head, sizeof head);
  for (uint64_t i = sizeof head; i < size; i++) {
    block[i] = byte_at(seed, i);
  }
  return block;
}

static void unpack(unsigned char *block) {
  struct parcel head;
  memcpy(&head, block, sizeof head);
  for (uint64_t i = sizeof head; i < head.size; i++) {
    if (block[i] != byte_at(head.seed, i)) {
      printf("error 1 byte %" PRIu64 " of %" PRIu64 " at %p is wrong\n", i, head.size,
             (void *)block);
      exit(1);
    }
  }
  free_block(block);
}

static uint64_t random_next(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

/* Puts parcels into random slots; opens and frees what it finds there. */
static void load(uint64_t rounds, uint64_t state) {
  struct table *table = root();
  uint64_t opened = 0;
  uint64_t died = 0;
  for (uint64_t round = 0; round < rounds; round++) {
    uint64_t size = sizeof(struct parcel) + random_next(&state) % 3000;
    unsigned char *parcel = pack(size, random_next(&state));
    unsigned char **slot = &table->slot[random_next(&state) % SLOTS];
    int code = PSMlock(segment, &table->lock);
    if (code < 0) {
      fail(code);
    }
    died += code == PSM_OWNER_DIED;
    unsigned char *found = *slot;
    *slot = parcel;
    code = PSMunlock(segment, &table->lock);
    if (code < 0) {
      fail(code);
    }
    if (found != NULL) {
      unpack(found);
      opened++;
    }
  }
  printf("ok %" PRIu64 " %" PRIu64 "\n", opened, died);
}

static void empty(void) {
  struct table *table = root();
  uint64_t opened = 0;
  for (int i = 0; i < SLOTS; i++) {
    if (table->slot[i] != NULL) {
      unpack(table->slot[i]);
      table->slot[i] = NULL;
      opened++;
    }
  }
  printf("ok %" PRIu64 "\n", opened);
}

static void answer(int code) {
  if (code < 0) {
    fail(code);
  }
  printf("ok %d\n", code);
}

int main(void) {
  char line[512];
  char word[32];
  char text[256];
  uint64_t first;
  uint64_t second;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    first = second = 0;
    sscanf(line, "%31s", word);
    if (strcmp(word, "open") == 0) {
      sscanf(line, "%*s %255s %" SCNu64, text, &first);
      PSMinit(text, (size_t)first, NULL, &segment);
      need(segment);
      printf("ok %p\n", (void *)segment);
      continue;
    }
    sscanf(line, "%*s %" SCNu64 " %" SCNu64, &first, &second);
    if (strcmp(word, "build") == 0) {
      build(first);
    } else if (strcmp(word, "walk") == 0) {
      walk();
    } else if (strcmp(word, "change") == 0) {
      change();
    } else if (strcmp(word, "clear") == 0) {
      clear();
    } else if (strcmp(word, "load") == 0) {
      load(first, second);
    } else if (strcmp(word, "empty") == 0) {
      empty();
    } else if (strcmp(word, "lock") == 0) {
      answer(PSMlock(segment, &root()->lock));
    } else if (strcmp(word, "unlock") == 0) {
      answer(PSMunlock(segment, &root()->lock));
    } else if (strcmp(word, "offset") == 0) {
      printf("ok %" PRIu64 "\n", PSMoffset(segment, (void *)(uintptr_t)first));
    } else if (strcmp(word, "free") == 0) {
      free_block((void *)(uintptr_t)first);
      printf("ok\n");
    } else if (strcmp(word, "check") == 0) {
      answer(PSMcheck(segment));
    } else if (strcmp(word, "close") == 0) {
      PSMdeinit(segment);
      segment = NULL;
      printf("ok\n");
    } else {
      printf("error 1 what is %s?\n", word);
    }
  }
  return 0;
}
