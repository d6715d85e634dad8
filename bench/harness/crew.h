/* An allocator, and a crew of processes or threads that use it and start together.
 *
 * Nothing here allocates from the heap, so that the allocator under test sees only the workload.
 * The header compiles as C11 and as C++17.
 */
#ifndef BENCH_CREW_H
#define BENCH_CREW_H

#include <stddef.h>
#include <stdint.h>

#include "harness/failure.h"
#include "harness/options.h"
#include "harness/random.h"
#include "harness/ring.h"
#include "harness/timer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum Sharing {
  SHARES_NOTHING,     /* a private allocator: its members are threads */
  SHARES_WITH_NOBODY, /* a shared file, but of one process at a time: threads */
  SHARES_BY_FORK,     /* children inherit what their parent opened */
  SHARES_BY_NAME      /* any process opens it by its name */
} Sharing;

typedef struct Peer {
  const char *name;
  const char *(*version)(void);
  Sharing sharing;
  int (*open)(const char *name, size_t bytes); /* create or join; 0 = OK */
  void (*close)(void);
  uint64_t (*metadata)(void); /* resident bytes that are no block's; NULL: unknown */
  uint64_t heap_max;          /* bytes of its largest segment, silently; 0: no limit */
} Peer;

/* What a member does: prepare, crew_wait, then the timed part. */
typedef void MemberBody(const Options *options, uint32_t index, Timer *timer);

/** Run all members to their end. Exits if one of them fails. */
void crew_run(const Options *options, const Peer *peer, MemberBody *body);

/** The sum of all members' timers: its end is the sum of their times. */
Timer crew_total(const Options *options);

/** Wait until all members are here. */
void crew_wait(void);

/** The ring of a member; all members share all rings. */
Ring *crew_ring(uint32_t index);

/** Open or join the segment that the options name; exits if that fails. */
void segment_open(const Options *options, const Peer *peer);

/** Zeroed memory that is no heap's. Inherited by fork; never given back. */
void *pages(size_t bytes);

/** The same, shared with children by fork. */
void *pages_shared(size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
