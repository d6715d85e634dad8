/* An index of words that several processes build together, in any language.
 *
 * Everything lies in one PSM segment and is linked by ordinary pointers; the
 * segment's user word points to the table. The table's lock guards all of it.
 *
 * Killing a process at any instruction does no harm, not even inside the lock:
 *  - A change is first prepared aside. Blocks for it go into `fresh_*`.
 *  - `committed = 1` decides. Before it nothing is visible, after it the journal
 *    says all that remains to be stored, and storing it twice is harmless.
 *  - Whoever gets the lock from a dead owner therefore looks at `committed`,
 *    and either finishes the change or frees what was prepared.
 */
#ifndef WORDS_H
#define WORDS_H

#include <stdint.h>

/* [begin: read by words.py] */

enum {
  WORDS_BUCKETS = 16384,
  WORDS_ROWS = 16, /* processes that may index, in the life of a table */
  WORDS_PLACES = 2 /* room in a word's first list; doubled when full */
};

/* The word is number `number` in the text that process `row` indexed. */
struct place {
  uint32_t row;
  uint32_t number;
};

/* The places of one word. When full it is replaced by a larger one, and the
 * process that replaces it frees it, whoever allocated it. */
struct list {
  uint32_t capacity;
  uint32_t row; /* who allocated it */
  struct place places[];
};

struct word {
  struct word *next; /* in the same bucket */
  struct list *list;
  uint32_t count; /* places in use */
  uint32_t hash;
  uint32_t length;
  char text[]; /* not terminated */
};

/* What a process has done so far. */
struct counts {
  uint64_t words;    /* indexed */
  uint64_t distinct; /* added to the table: it met them first */
  uint64_t blocks;   /* allocated */
  uint64_t bytes;    /* asked for in them */
  uint64_t freed_blocks;
  uint64_t freed_bytes;
  uint64_t foreign; /* freed blocks that another process had allocated */
};

struct row {
  uint32_t pid;
  uint32_t total;        /* words in its text */
  uint64_t begun, ended; /* nanoseconds of the system's monotonic clock, or 0 */
  char language[8];
  struct counts counts;
};

/* The change that the owner of the lock is about to make. */
struct journal {
  uint32_t committed;
  uint32_t row; /* counts of this row become `counts` */
  struct counts counts;
  struct word **bucket, *first; /* *bucket becomes `first` */
  struct word *word;            /* its list and count become these */
  struct list *list;
  uint32_t count;
  void *fresh_word, *fresh_list; /* allocated, in the table when committed */
  void *stale;                   /* out of the table when committed, then freed */
};

struct table {
  uint32_t lock; /* for PSMlock */
  uint32_t rows_used;
  uint32_t finished; /* changes of a dead process that another finished */
  uint32_t undone;   /* ... that another undid */
  uint32_t intact;   /* deaths inside the lock, but between two changes */
  uint32_t repairer; /* pid of the process that repaired last */
  struct journal journal;
  struct row rows[WORDS_ROWS];
  struct word *buckets[WORDS_BUCKETS];
};

/* [end: read by words.py] */

#endif /* WORDS_H */
