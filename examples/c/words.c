/* Several processes index words into one table: see words.h for the table.
 *
 * Each prints one JSON object per line. `create` and `join` announce themselves
 * with "ready", begin at a line (or the end) of their standard input, and say
 * "done"; so a script can let several begin at once.
 */
#define _POSIX_C_SOURCE 200809L
#include "words.h"

#include <errno.h>
#include <inttypes.h>
#include <psm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: words create NAME SIZE FILE   create a segment of SIZE MiB and index FILE into it\n"
    "       words join NAME FILE          index FILE into a segment that exists\n"
    "       words watch NAME ROW          say when that process is half-way\n"
    "       words check NAME [INDEX]      check the table, and write it to the file INDEX\n";

/* This process's use of the table. */
struct job {
  PSMHandle segment;
  struct table *table;
  uint32_t row;
};

struct text {
  char *bytes;
  size_t size;
};

static PSMHandle opened; /* NULL: none */

/* Leaving is enough: if the table is locked, the next owner repairs it. */
static void die(const char *what, const char *why) {
  fprintf(stderr, "words: %s: %s\n", what, why);
  if (opened) PSMdeinit(opened);
  exit(1);
}

/* Exit with PSM's sentence for a negative result, else return the result. */
static int must(const char *what, int result) {
  if (result < 0) die(what, PSMerrorString(result));
  return result;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_briefly(void) { nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); }

/* The end of the input counts as a line. */
static void wait_for_line(void) {
  int c;
  do {
    c = getchar();
  } while (c != '\n' && c != EOF);
}

/* ---- Changing the table -------------------------------------------------- */

/* A killed process stops between two instructions: what must be kept is their
 * order, and only the compiler could change it. */
static void in_this_order(void) { atomic_signal_fence(memory_order_seq_cst); }

static void give_back(const struct job *job, void **where) {
  must("cannot free", PSMfreeFrom(job->segment, where));
}

/* Do what the journal says. Doing it again changes nothing. */
static void finish(const struct job *job) {
  struct journal *j = &job->table->journal;
  *j->bucket = j->first;
  j->word->list = j->list;
  j->word->count = j->count;
  job->table->rows[j->row].counts = j->counts;
  j->fresh_word = NULL;
  j->fresh_list = NULL;
  give_back(job, &j->stale);
  in_this_order();
  j->committed = 0;
}

static void commit(const struct job *job) {
  in_this_order();
  job->table->journal.committed = 1;
  in_this_order();
  finish(job);
}

/* After the death of the lock's owner: finish its change, or undo it. */
static void repair(const struct job *job) {
  struct table *table = job->table;
  struct journal *j = &table->journal;
  if (j->committed) {
    finish(job);
    table->finished++;
  } else if (j->fresh_word || j->fresh_list) {
    give_back(job, &j->fresh_word);
    give_back(job, &j->fresh_list);
    table->undone++;
  } else {
    table->intact++;
  }
  j->stale = NULL;
  table->repairer = (uint32_t)getpid();
}

static void lock(const struct job *job) {
  int result = must("cannot lock the table", PSMlock(job->segment, &job->table->lock));
  if (result == PSM_OWNER_DIED) repair(job);
}

static void unlock(const struct job *job) {
  must("cannot unlock the table", PSMunlock(job->segment, &job->table->lock));
}

/* FNV-1a */
static uint32_t hash_of(const char *text, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
  return hash;
}

static size_t word_bytes(size_t length) { return offsetof(struct word, text) + length; }

static size_t list_bytes(uint32_t capacity) {
  return offsetof(struct list, places) + capacity * sizeof(struct place);
}

static void *allocate(const struct job *job, size_t bytes, void **where) {
  must("cannot allocate", PSMallocTo(job->segment, bytes, where));
  job->table->journal.counts.blocks++;
  job->table->journal.counts.bytes += bytes;
  return *where;
}

static struct word *find(struct word *word, uint32_t hash, const char *text, size_t length) {
  while (word &&
         !(word->hash == hash && word->length == length && memcmp(word->text, text, length) == 0))
    word = word->next;
  return word;
}

/* Prepare a word without a list, in front of the others in its bucket. */
static struct word *new_word(const struct job *job, struct word *next, uint32_t hash,
                             const char *text, size_t length) {
  struct journal *j = &job->table->journal;
  struct word *word = allocate(job, word_bytes(length), &j->fresh_word);
  word->next = next;
  word->list = NULL;
  word->count = 0;
  word->hash = hash;
  word->length = (uint32_t)length;
  memcpy(word->text, text, length);
  j->counts.distinct++;
  return word;
}

/* Prepare a larger list with the places of `old`, which becomes stale. */
static struct list *larger_list(const struct job *job, struct list *old) {
  struct journal *j = &job->table->journal;
  uint32_t capacity = old ? 2 * old->capacity : WORDS_PLACES;
  struct list *list = allocate(job, list_bytes(capacity), &j->fresh_list);
  list->capacity = capacity;
  list->row = job->row;
  if (old) {
    memcpy(list->places, old->places, old->capacity * sizeof(struct place));
    j->counts.freed_blocks++;
    j->counts.freed_bytes += list_bytes(old->capacity);
    j->counts.foreign += old->row != job->row;
  }
  j->stale = old;
  return list;
}

static void add(const struct job *job, const char *text, size_t length, uint32_t number) {
  struct table *table = job->table;
  struct journal *j = &table->journal;
  uint32_t hash = hash_of(text, length);

  lock(job);
  j->row = job->row;
  j->counts = table->rows[job->row].counts;
  j->bucket = &table->buckets[hash % WORDS_BUCKETS];
  j->first = *j->bucket;
  j->word = find(j->first, hash, text, length);
  if (!j->word) j->word = j->first = new_word(job, j->first, hash, text, length);
  j->list = j->word->list;
  j->count = j->word->count;
  if (!j->list || j->count == j->list->capacity) j->list = larger_list(job, j->list);
  j->list->places[j->count] = (struct place){job->row, number}; /* beyond the list's end as yet */
  j->count++;
  j->counts.words++;
  commit(job);
  unlock(job);
}

/* ---- Texts --------------------------------------------------------------- */

static struct text read_text(const char *path) {
  struct text text = {NULL, 0};
  size_t room = 0;
  FILE *file = fopen(path, "rb");
  if (!file) die(path, strerror(errno));
  do {
    if (text.size == room) {
      room = room ? 2 * room : 65536;
      text.bytes = realloc(text.bytes, room);
      if (!text.bytes) die(path, "not enough memory for this text");
    }
    text.size += fread(text.bytes + text.size, 1, room - text.size, file);
  } while (!feof(file) && !ferror(file));
  if (ferror(file)) die(path, strerror(errno));
  fclose(file);
  return text;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The next run of ASCII letters at or after `*at`, in lower case; 0 if none. */
static size_t next_word(const struct text *text, size_t *at, char **word) {
  while (*at < text->size && !is_letter(text->bytes[*at])) ++*at;
  *word = text->bytes + *at;
  size_t begin = *at;
  while (*at < text->size && is_letter(text->bytes[*at])) text->bytes[(*at)++] |= 0x20;
  return *at - begin;
}

static uint32_t count_words(const struct text *text) {
  uint32_t count = 0;
  char *word;
  for (size_t at = 0; next_word(text, &at, &word);) count++;
  return count;
}

/* ---- Roles --------------------------------------------------------------- */

static struct job join(const char *name) {
  struct job job = {NULL, NULL, 0};
  must(name, PSMopen(name, &(PSMOptions){.flags = PSM_OPEN_JOIN}, &job.segment));
  opened = job.segment;
  job.table = *(struct table **)PSMgetUser(job.segment);
  if (!job.table) die(name, "there is no table of words in this segment");
  return job;
}

static struct job create(const char *name, const char *mebibytes) {
  struct job job = {NULL, NULL, 0};
  PSMOptions options = {.size = strtoull(mebibytes, NULL, 10) << 20, .flags = PSM_OPEN_EXCLUSIVE};
  must(name, PSMopen(name, &options, &job.segment));
  opened = job.segment;
  job.table = PSMcalloc(job.segment, 1, sizeof(struct table));
  if (!job.table) die(name, PSMerrorString(PSMlastError()));
  job.table->rows[0].counts.blocks = 1;
  job.table->rows[0].counts.bytes = sizeof(struct table);
  *(struct table **)PSMgetUser(job.segment) = job.table; /* complete: others may see it */
  return job;
}

static void take_row(struct job *job, uint32_t total) {
  lock(job);
  job->row = job->table->rows_used;
  if (job->row == WORDS_ROWS) die("cannot join", "the table has no row left for this process");
  struct row *row = &job->table->rows[job->row];
  row->pid = (uint32_t)getpid();
  row->total = total;
  strcpy(row->language, "C");
  in_this_order();
  job->table->rows_used++;
  unlock(job);
}

static void index_file(struct job *job, const char *path) {
  struct text text = read_text(path);
  take_row(job, count_words(&text));
  struct row *row = &job->table->rows[job->row];
  printf("{\"event\": \"ready\", \"row\": %" PRIu32 ", \"pid\": %" PRIu32
         ", \"segment\": \"%p\", \"table\": \"%p\"}\n",
         job->row, row->pid, (void *)job->segment, (void *)job->table);
  fflush(stdout);
  wait_for_line();

  row->begun = now();
  uint32_t number = 0;
  size_t at = 0, length;
  for (char *word; (length = next_word(&text, &at, &word)) != 0;) add(job, word, length, number++);
  row->ended = now();
  free(text.bytes);
  printf("{\"event\": \"done\", \"row\": %" PRIu32 "}\n", job->row);
  fflush(stdout);
}

/* Free the whole table, whoever allocated its parts. */
static uint64_t clear(const struct job *job) {
  struct table *table = job->table;
  uint64_t blocks = 1;
  lock(job);
  for (uint32_t i = 0; i < WORDS_BUCKETS; i++) {
    for (struct word *word; (word = table->buckets[i]) != NULL; blocks += 2) {
      table->buckets[i] = word->next;
      PSMfree(job->segment, word->list);
      PSMfree(job->segment, word);
    }
  }
  *(struct table **)PSMgetUser(job->segment) = NULL;
  unlock(job);
  PSMfree(job->segment, table);
  return blocks;
}

static void wait_until_alone(PSMHandle segment) {
  while (must("cannot list the members", PSMmembers(segment, NULL, 0)) > 1) {
    must("cannot reap", PSMreap(segment));
    pause_briefly();
  }
}

static void play_create(const char *name, const char *mebibytes, const char *path) {
  struct job job = create(name, mebibytes);
  index_file(&job, path);

  wait_for_line();
  int members = must("cannot list the members", PSMmembers(job.segment, NULL, 0));
  int reaped = must("cannot reap", PSMreap(job.segment));
  printf("{\"event\": \"reaped\", \"members\": %d, \"reaped\": %d}\n", members, reaped);
  fflush(stdout);

  wait_for_line();
  wait_until_alone(job.segment);
  PSMStat stat;
  uint64_t freed = clear(&job);
  must("cannot take stock", PSMstat(job.segment, &stat));
  int sound = PSMcheck(job.segment);
  printf("{\"event\": \"cleared\", \"freed\": %" PRIu64 ", \"left\": %" PRIu64 ", \"check\": %d}\n",
         freed, stat.blocks, sound);
  PSMdeinit(job.segment);
}

static void play_join(const char *name, const char *path) {
  struct job job = join(name);
  index_file(&job, path);
  PSMdeinit(job.segment);
}

static void play_watch(const char *name, const char *row) {
  struct job job = join(name);
  unsigned long watched = strtoul(row, NULL, 10);
  if (watched >= job.table->rows_used) die("cannot watch", "the table has no such row");
  struct row seen;
  for (;;) {
    lock(&job);
    seen = job.table->rows[watched];
    unlock(&job);
    if (2 * seen.counts.words >= seen.total) break;
    pause_briefly();
  }
  printf("{\"event\": \"half\", \"words\": %" PRIu64 "}\n", seen.counts.words);
  PSMdeinit(job.segment);
}

/* ---- Checking ------------------------------------------------------------ */

/* Add one word's places to the counts; is the word as it should be? */
static bool tally(const struct job *job, uint32_t bucket, const struct word *word,
                  struct counts *counts) {
  if (hash_of(word->text, word->length) != word->hash || word->hash % WORDS_BUCKETS != bucket ||
      !word->list || word->count == 0 || word->count > word->list->capacity)
    return false;
  for (uint32_t i = 0; i < word->count; i++) {
    const struct place *place = &word->list->places[i];
    if (place->row >= job->table->rows_used) return false;
    counts[place->row].words++;
  }
  counts[word->list->places[0].row].distinct++;
  return true;
}

static void write_word(FILE *index, const struct word *word) {
  fprintf(index, "%.*s", (int)word->length, word->text);
  for (uint32_t i = 0; i < word->count; i++)
    fprintf(index, " %" PRIu32 ":%" PRIu32, word->list->places[i].row,
            word->list->places[i].number);
  fputc('\n', index);
}

static void print_row(const struct row *row, uint32_t number) {
  const struct counts *c = &row->counts;
  printf("%s{\"pid\": %" PRIu32 ", \"language\": \"%s\", \"total\": %" PRIu32
         ", \"begun\": %" PRIu64 ", \"ended\": %" PRIu64,
         number ? ", " : "", row->pid, row->language, row->total, row->begun, row->ended);
  printf(", \"words\": %" PRIu64 ", \"distinct\": %" PRIu64 ", \"blocks\": %" PRIu64
         ", \"bytes\": %" PRIu64 ", \"freed_blocks\": %" PRIu64 ", \"freed_bytes\": %" PRIu64
         ", \"foreign\": %" PRIu64 "}",
         c->words, c->distinct, c->blocks, c->bytes, c->freed_blocks, c->freed_bytes, c->foreign);
}

static void play_check(const char *name, const char *path) {
  struct job job = join(name);
  struct table *table = job.table;
  struct counts counts[WORDS_ROWS] = {{0}};
  uint64_t blocks = 1, bytes = sizeof(struct table), broken = 0;
  FILE *index = path ? fopen(path, "wb") : NULL;
  if (path && !index) die(path, strerror(errno));

  lock(&job);
  for (uint32_t i = 0; i < WORDS_BUCKETS; i++) {
    for (struct word *word = table->buckets[i]; word; word = word->next) {
      if (!tally(&job, i, word, counts)) {
        broken++;
        break; /* its pointers are not to be followed */
      }
      blocks += 2;
      bytes += word_bytes(word->length) + list_bytes(word->list->capacity);
      if (index) write_word(index, word);
    }
  }
  printf("{\"event\": \"checked\", \"rows\": [");
  for (uint32_t i = 0; i < table->rows_used; i++) {
    const struct counts *said = &table->rows[i].counts;
    broken += counts[i].words != said->words || counts[i].distinct != said->distinct;
    print_row(&table->rows[i], i);
  }
  printf("], \"finished\": %" PRIu32 ", \"undone\": %" PRIu32 ", \"intact\": %" PRIu32
         ", \"repairer\": %" PRIu32,
         table->finished, table->undone, table->intact, table->repairer);
  unlock(&job);

  PSMStat stat;
  must("cannot take stock", PSMstat(job.segment, &stat));
  printf(", \"broken\": %" PRIu64 ", \"table_blocks\": %" PRIu64 ", \"table_bytes\": %" PRIu64,
         broken, blocks, bytes);
  printf(", \"blocks\": %" PRIu64 ", \"used\": %" PRIu64 ", \"members\": %" PRIu32
         ", \"check\": %d}\n",
         stat.blocks, stat.used, stat.members, PSMcheck(job.segment));
  if (index && fclose(index) != 0) die(path, strerror(errno));
  PSMdeinit(job.segment);
}

int main(int argc, char **argv) {
  const char *role = argc > 2 ? argv[1] : "";
  if (strcmp(role, "create") == 0 && argc == 5)
    play_create(argv[2], argv[3], argv[4]);
  else if (strcmp(role, "join") == 0 && argc == 4)
    play_join(argv[2], argv[3]);
  else if (strcmp(role, "watch") == 0 && argc == 4)
    play_watch(argv[2], argv[3]);
  else if (strcmp(role, "check") == 0 && (argc == 3 || argc == 4))
    play_check(argv[2], argc == 4 ? argv[3] : NULL);
  else {
    fputs(usage, stderr);
    return 2;
  }
  return 0;
}
