/* A hash table of chains, which grows and keeps its size. */
#include "views.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Views {
  struct Views *next;
  uint64_t key;
  uint64_t count;
  pid_t freer; /* who has called psm_views_end; 0 if nobody has */
} Views;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Views **chains;
static size_t chain_count; /* a power of two, or 0 at first */
static size_t used;
static uint64_t generation;

static void take(void) { pthread_mutex_lock(&lock); }
static void give(void) { pthread_mutex_unlock(&lock); }

static void give_in_child(void) {
  generation++;
  give();
}

void psm_views_begin(void) { pthread_atfork(take, give, give_in_child); }

/* Addresses have 48 bits. */
uint64_t psm_views_key(uintptr_t block) {
  take();
  uint64_t key = (uint64_t)block ^ (generation << 48);
  give();
  return key;
}

static size_t chain_of(uint64_t key, size_t count) {
  uint64_t mixed = (key >> 4) * 0x9E3779B97F4A7C15u;
  return (size_t)(mixed >> 32) & (count - 1);
}

/* The link that leads to the views of a key, or to the end of its chain. */
static Views **find(uint64_t key) {
  static Views *none;
  if (chain_count == 0) {
    return &none;
  }
  Views **link = &chains[chain_of(key, chain_count)];
  while (*link != NULL && (*link)->key != key) {
    link = &(*link)->next;
  }
  return link;
}

static void grow(void) {
  size_t more = chain_count == 0 ? 64 : 2 * chain_count;
  Views **wider = calloc(more, sizeof *wider);
  if (wider == NULL) {
    return; /* longer chains still work */
  }
  for (size_t i = 0; i < chain_count; i++) {
    while (chains[i] != NULL) {
      Views *moved = chains[i];
      chains[i] = moved->next;
      moved->next = wider[chain_of(moved->key, more)];
      wider[chain_of(moved->key, more)] = moved;
    }
  }
  free(chains);
  chains = wider;
  chain_count = more;
}

static int add(uint64_t key) {
  if (used >= chain_count) {
    grow();
  }
  Views **link = find(key);
  if (*link == NULL) {
    Views *made = chain_count == 0 ? NULL : calloc(1, sizeof *made);
    if (made == NULL) {
      return PSM_VIEWS_NO_MEMORY;
    }
    made->key = key;
    *link = made;
    used++;
  } else if ((*link)->freer != 0) {
    return PSM_VIEWS_ENDING;
  }
  (*link)->count++;
  return 0;
}

int psm_views_add(uint64_t key) {
  take();
  int status = add(key);
  give();
  return status;
}

int psm_views_remove(uint64_t key) {
  int last = 0;
  take();
  Views **link = find(key);
  Views *views = *link;
  if (--views->count == 0) {
    last = views->freer == getpid();
    *link = views->next;
    free(views);
    used--;
  }
  give();
  return last;
}

uint64_t psm_views_count(uint64_t key) {
  take();
  Views *views = *find(key);
  uint64_t count = views == NULL ? 0 : views->count;
  give();
  return count;
}

int psm_views_end(uint64_t key) {
  int status = 0;
  take();
  Views *views = *find(key);
  if (views == NULL) {
    status = 1;
  } else if (views->freer != 0) {
    status = PSM_VIEWS_ENDING;
  } else {
    views->freer = getpid();
  }
  give();
  return status;
}
