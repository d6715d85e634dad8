/* The one-file build, and the table of contents: floors from the ground up. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include "status.c" /* 0  result codes, the thread's last error */

#include "os/os.c" /* 1  files, mappings at an address, processes: the system's folder */

#include "classes.c" /* 2  size to class and back */
#include "layout.c"  /*    what lies where in the file */

#include "commit.c"  /* 3  memory that the file system has promised */
#include "roster.c"  /*    seats and who is alive */
#include "address.c" /*    where a segment goes */

#include "lock.c" /* 4  a lock that survives its owner */
#include "slab.c" /*    groups, hints, what a cache gives back */

#include "span.c" /* 5  runs of units under the span lock */

#include "give.c" /* 6  a block goes back to its group */
#include "kept.c" /*    what the dead kept */

#include "magazine.c" /* 7  what a thread keeps */

#include "reap.c" /* 8  give back what the dead held */

#include "cache.c" /* 9  a thread's claimed blocks */
#include "large.c" /*    blocks of whole units */

#include "process.c" /* 10 what only this process knows */

#include "segment.c" /* 11 create, join, leave */
#include "fork.c"    /*    a child is a member */
#include "check.c"   /*    count, walk, check */

#include "api.c" /* 12 the exported functions */
