/* Attributes, atomics and bit arithmetic: all that differs between compilers.
 *
 * Shared words are only touched through at_*; the suffix names the memory
 * order. Orders weaker than acquire/release are used where the text beside
 * the call says what makes them enough.
 */
#ifndef PSM_COMPILER_H
#define PSM_COMPILER_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define likely(x)   (x)
#define unlikely(x) (x)
#define computed(x) (x)
#define PSM_RARELY  __declspec(noinline)
#define PSM_INLINE  static __forceinline
#define PSM_PRINTF(f, a)
#else
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* A value to keep: without it, gcc computes it anew at each use. */
#define computed(value)             \
  __extension__({                   \
    __typeof__(value) x_ = (value); \
    __asm__("" : "+r"(x_));         \
    x_;                             \
  })
#define PSM_RARELY __attribute__((noinline))
#define PSM_INLINE static inline __attribute__((always_inline))
#if defined(__MINGW32__) && !defined(__clang__)
#define PSM_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#else
#define PSM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#endif
#endif

/* glibc keeps room for small libraries loaded late; others do not. */
#if defined(__GLIBC__)
#define PSM_THREAD _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define PSM_THREAD _Thread_local
#endif

/* Test builds define these before they include the core, to come between any
 * two accesses. */
#ifndef AT_LOAD_HOOK
#define AT_LOAD_HOOK() ((void)0)
#endif
#ifndef AT_STORE_HOOK
#define AT_STORE_HOOK() ((void)0)
#endif

/* A lock that a compiler puts in place of a wide atomic is private to a process. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomic instructions are needed");

#define at_load_in(p, order) (AT_LOAD_HOOK(), atomic_load_explicit((p), memory_order_##order))
#define at_store_in(p, v, order) \
  (AT_STORE_HOOK(), atomic_store_explicit((p), (v), memory_order_##order))
#define at_change(change, p, v) \
  (AT_STORE_HOOK(), atomic_##change##_explicit((p), (v), memory_order_seq_cst))

#define at_load(p)             at_load_in(p, relaxed)
#define at_load_acquire(p)     at_load_in(p, acquire)
#define at_load_ordered(p)     at_load_in(p, seq_cst)
#define at_store(p, v)         at_store_in(p, v, relaxed)
#define at_store_release(p, v) at_store_in(p, v, release)
#define at_exchange(p, v)      at_change(exchange, p, v)
#define at_or(p, v)            at_change(fetch_or, p, v)
#define at_and(p, v)           at_change(fetch_and, p, v)
#define at_add(p, v)           at_change(fetch_add, p, v)
#define at_cas(p, expected, v)                               \
  (AT_STORE_HOOK(), atomic_compare_exchange_strong_explicit( \
                        (p), (expected), (v), memory_order_seq_cst, memory_order_seq_cst))

#if defined(_MSC_VER) && !defined(__clang__)
/* What follows here for MSVC stands below for the others. */
PSM_INLINE void prefetch_write(const void *address) { (void)address; }
PSM_INLINE void psm_pause(void) { _mm_pause(); }
PSM_INLINE uint64_t bit_first(uint64_t x) {
  unsigned long first;
  if (_BitScanForward(&first, (unsigned long)x)) return first;
  (void)_BitScanForward(&first, (unsigned long)(x >> 32));
  return first + 32u;
}
PSM_INLINE uint32_t bit_last(uint64_t x) {
  unsigned long last;
  if (_BitScanReverse(&last, (unsigned long)(x >> 32))) return (uint32_t)last + 32;
  (void)_BitScanReverse(&last, (unsigned long)x);
  return (uint32_t)last;
}
PSM_INLINE uint64_t bit_add(uint64_t bits, uint64_t number) {
  return bits | UINT64_C(1) << number % 64;
}
PSM_INLINE uint64_t bytes_reverse(uint64_t x) { return _byteswap_uint64(x); }
enum { BYTE_LOWEST = 0 };
#else
/* Any address will do: a prefetch does not fault. */
PSM_INLINE void prefetch_write(const void *address) { __builtin_prefetch(address, 1); }

PSM_INLINE void psm_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/* Undefined for 0, as the instruction is. In the built-in's int a compiler sees a
 * sign to extend. */
PSM_INLINE uint64_t bit_first(uint64_t x) {
#if defined(__x86_64__)
  uint64_t first;
  __asm__("rep bsfq %1, %0" : "=r"(first) : "rm"(x) : "cc");
  return first;
#else
  return (uint64_t)__builtin_ctzll(x);
#endif
}
/* The number is taken modulo 64, as the instruction does by itself. */
PSM_INLINE uint64_t bit_add(uint64_t bits, uint64_t number) {
#if defined(__x86_64__)
  __asm__("btsq %1, %0" : "+r"(bits) : "r"(number) : "cc");
  return bits;
#else
  return bits | UINT64_C(1) << number % 64;
#endif
}
PSM_INLINE uint32_t bit_last(uint64_t x) { return 63u - (uint32_t)__builtin_clzll(x); }
PSM_INLINE uint64_t bytes_reverse(uint64_t x) { return __builtin_bswap64(x); }

/* Where the lowest byte of a word of 32 bits lies. */
enum { BYTE_LOWEST = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 3 };
#endif

/** Does bit_count take a single instruction here? The baseline CPU has none, nearly every CPU in use
 *  has. */
PSM_INLINE bool bit_counts(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("popcnt") != 0;
#else
  return true;
#endif
}

/* Sums pairs, nibbles and bytes side by side where there is no instruction. */
PSM_INLINE uint32_t bit_count(uint64_t x) {
#if defined(__x86_64__)
  if (likely(bit_counts())) {
    uint64_t count;
    __asm__("popcntq %1, %0" : "=r"(count) : "rm"(x) : "cc");
    return (uint32_t)count;
  }
#endif
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (uint32_t)((x * 0x0101010101010101u) >> 56);
}

#define EACH_BYTE UINT64_C(0x0101010101010101) /* times a byte: eight of it */

PSM_INLINE uint64_t round_up(uint64_t n, uint64_t power) { return (n + power - 1) & ~(power - 1); }

#endif
