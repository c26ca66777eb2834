// How the program's accesses come to the checker.
//
// The sources under test are compiled as they are, with -fsanitize=thread: the compiler then calls __tsan_read8(address) before a plain
// access and __tsan_atomic32_load(address, order) in place of an atomic one. We do not link libtsan but define these functions here. So
// nothing in the sources knows of the checker: what is checked is the file that is shipped. (Rejected: a macro or template parameter for
// std::atomic in the runtime, which would change every declaration and see no plain variable.)
//
// System calls come through syscall(2), which is defined here as well: futex and membarrier are the model's while a scenario runs, all
// others go to the kernel. Likewise sched_yield and operator new and delete.
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include <new>

#include "execution.h"

using interleave::execution;
using interleave::in_engine;
using interleave::step_record;

namespace {

inline bool mine() noexcept { return execution::program_runs(); }

inline const void* place_of(void* return_address) noexcept { return return_address; }
#define PLACE place_of(__builtin_return_address(0))

template <class T>
uintptr_t at(const volatile T* p) noexcept {
  return reinterpret_cast<uintptr_t>(p);
}

uint64_t old_value(uint64_t, uint64_t v) { return v; }
uint64_t sum(uint64_t a, uint64_t b) { return a + b; }
uint64_t difference(uint64_t a, uint64_t b) { return a - b; }
uint64_t both(uint64_t a, uint64_t b) { return a & b; }
uint64_t either(uint64_t a, uint64_t b) { return a | b; }
uint64_t exclusive(uint64_t a, uint64_t b) { return a ^ b; }
uint64_t not_both(uint64_t a, uint64_t b) { return ~(a & b); }

template <class T>
T do_load(const volatile T* p, int order, const void* place) {
  in_engine in;
  execution& e = execution::get();
  e.before_access(at(p), true);
  order = e.weakened(place, order, false);
  const int t = e.current();
  const auto v = static_cast<T>(e.mem().load(t, at(p), sizeof(T), order, place));
  e.record(
      {step_record::load, static_cast<uint8_t>(t), sizeof(T), static_cast<int8_t>(order), !e.mem().read_newest(t), at(p), v, 0, place, {}});
  e.looked(at(p), v);
  return v;
}

template <class T>
void do_store(volatile T* p, T v, int order, const void* place) {
  in_engine in;
  execution& e = execution::get();
  e.before_access(at(p));
  order = e.weakened(place, order, false);
  const int t = e.current();
  e.record({step_record::store, static_cast<uint8_t>(t), sizeof(T), static_cast<int8_t>(order), false, at(p), 0, v, place, {}});
  e.mem().store(t, at(p), sizeof(T), v, order, place);
  e.wrote();
}

template <class T>
T do_modify(volatile T* p, T operand, int order, uint64_t (*change)(uint64_t, uint64_t), const void* place) {
  in_engine in;
  execution& e = execution::get();
  e.before_access(at(p));
  order = e.weakened(place, order, false);
  const int t = e.current();
  const auto old = static_cast<T>(e.mem().modify(t, at(p), sizeof(T), order, place, change, operand));
  e.record({step_record::modify, static_cast<uint8_t>(t), sizeof(T), static_cast<int8_t>(order), false, at(p), old, *p, place, {}});
  e.wrote();
  return old;
}

template <class T>
bool do_cas(volatile T* p, T* expected, T desired, int order, int failure, bool weak, const void* place) {
  in_engine in;
  execution& e = execution::get();
  e.before_access(at(p));
  const int weaker = e.weakened(place, order, false);
  if (weaker != order) failure = e.weakened(place, failure, false);
  const int t = e.current();
  uint64_t wanted = *expected;
  const bool done = e.mem().compare_exchange(t, at(p), sizeof(T), &wanted, desired, weaker, failure, weak, place);
  e.record({done ? step_record::cas_done : step_record::cas_failed,
            static_cast<uint8_t>(t),
            sizeof(T),
            static_cast<int8_t>(weaker),
            !done && !e.mem().read_newest(t),
            at(p),
            wanted,
            desired,
            place,
            {}});
  if (done) {
    e.wrote();
  } else {
    *expected = static_cast<T>(wanted);
    e.looked(at(p), wanted);
  }
  return done;
}

inline void plain(const volatile void* p, size_t n, bool write, const void* place) {
  if (!mine()) return;
  in_engine in;
  execution& e = execution::get();
  e.mem().plain(e.current(), reinterpret_cast<uintptr_t>(p), n, write, place);
}

long raw_syscall(long n, long a, long b, long c, long d, long e, long f) noexcept {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
#else
#error "add the system call of this processor: the checker's hooks replace libc's syscall()"
#endif
}

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** p, void*) { plain(p, sizeof(void*), true, PLACE); }
void __tsan_vptr_read(void** p) { plain(p, sizeof(void*), false, PLACE); }
void __tsan_read_range(void* p, unsigned long n) { plain(p, n, false, PLACE); }
void __tsan_write_range(void* p, unsigned long n) { plain(p, n, true, PLACE); }

#define WARREN_PLAIN(n)                                                   \
  void __tsan_read##n(void* p) { plain(p, n, false, PLACE); }             \
  void __tsan_write##n(void* p) { plain(p, n, true, PLACE); }             \
  void __tsan_unaligned_read##n(void* p) { plain(p, n, false, PLACE); }   \
  void __tsan_unaligned_write##n(void* p) { plain(p, n, true, PLACE); }   \
  void __tsan_volatile_read##n(void* p) { plain(p, n, false, PLACE); }    \
  void __tsan_volatile_write##n(void* p) { plain(p, n, true, PLACE); }    \
  void __tsan_read##n##_pc(void* p, void*) { plain(p, n, false, PLACE); } \
  void __tsan_write##n##_pc(void* p, void*) { plain(p, n, true, PLACE); } \
  void __tsan_read_write##n(void* p) { plain(p, n, true, PLACE); }        \
  void __tsan_unaligned_read_write##n(void* p) { plain(p, n, true, PLACE); }
WARREN_PLAIN(1)
WARREN_PLAIN(2)
WARREN_PLAIN(4)
WARREN_PLAIN(8)
WARREN_PLAIN(16)

void* __tsan_memcpy(void* d, const void* s, size_t n) {
  plain(s, n, false, PLACE);
  plain(d, n, true, PLACE);
  return __builtin_memcpy(d, s, n);
}
void* __tsan_memmove(void* d, const void* s, size_t n) {
  plain(s, n, false, PLACE);
  plain(d, n, true, PLACE);
  return __builtin_memmove(d, s, n);
}
void* __tsan_memset(void* d, int c, size_t n) {
  plain(d, n, true, PLACE);
  return __builtin_memset(d, c, n);
}

#define WARREN_ATOMIC(bits, T)                                                                                                             \
  T __tsan_atomic##bits##_load(const volatile T* p, int o) {                                                                               \
    return mine() ? do_load(p, o, PLACE) : __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                                                        \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int o) {                                                                            \
    if (mine()) return do_store(p, v, o, PLACE);                                                                                           \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                                              \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int o) {                                                                            \
    return mine() ? do_modify(p, v, o, &old_value, PLACE) : __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                   \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int o) {                                                                           \
    return mine() ? do_modify(p, v, o, &sum, PLACE) : __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                          \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int o) {                                                                           \
    return mine() ? do_modify(p, v, o, &difference, PLACE) : __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                   \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_and(volatile T* p, T v, int o) {                                                                           \
    return mine() ? do_modify(p, v, o, &both, PLACE) : __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);                                         \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_or(volatile T* p, T v, int o) {                                                                            \
    return mine() ? do_modify(p, v, o, &either, PLACE) : __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                        \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_xor(volatile T* p, T v, int o) {                                                                           \
    return mine() ? do_modify(p, v, o, &exclusive, PLACE) : __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);                                    \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_fetch_nand(volatile T* p, T v, int o) {                                                                          \
    return mine() ? do_modify(p, v, o, &not_both, PLACE) : __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST);                                    \
  }                                                                                                                                        \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T d, int o, int f) {                                              \
    return mine() ? do_cas(p, e, d, o, f, false, PLACE) : __atomic_compare_exchange_n(p, e, d, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                                                        \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* e, T d, int o, int f) {                                                \
    return mine() ? do_cas(p, e, d, o, f, true, PLACE) : __atomic_compare_exchange_n(p, e, d, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }                                                                                                                                        \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* p, T e, T d, int o, int f) {                                                    \
    if (mine()) {                                                                                                                          \
      do_cas(p, &e, d, o, f, false, PLACE);                                                                                                \
    } else {                                                                                                                               \
      __atomic_compare_exchange_n(p, &e, d, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                    \
    }                                                                                                                                      \
    return e;                                                                                                                              \
  }
WARREN_ATOMIC(8, uint8_t)
WARREN_ATOMIC(16, uint16_t)
WARREN_ATOMIC(32, uint32_t)
WARREN_ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order) {
  const void* const place = PLACE;
  if (!mine()) return __atomic_thread_fence(__ATOMIC_SEQ_CST);
  in_engine in;
  execution& e = execution::get();
  e.schedule_point();
  order = e.weakened(place, order, true);
  e.record({step_record::fence, static_cast<uint8_t>(e.current()), 0, static_cast<int8_t>(order), false, 0, 0, 0, place,
            order < 0 ? "dropped" : ""});
  if (order > 0) e.mem().fence(e.current(), order);
}
void __tsan_atomic_signal_fence(int) {}

long syscall(long n, ...) noexcept {
  va_list args;
  va_start(args, n);
  long a[6];
  for (long& x : a) x = va_arg(args, long);
  va_end(args);
  if (mine()) {
    execution& e = execution::get();
    if (n == SYS_futex) {
      in_engine in;
      const auto address = static_cast<uintptr_t>(a[0]);
      switch (a[1] & FUTEX_CMD_MASK) {
        case FUTEX_WAIT: {
          const auto* limit = reinterpret_cast<const timespec*>(a[3]);
          const int64_t ns = limit == nullptr ? -1 : limit->tv_sec * 1'000'000'000 + limit->tv_nsec;
          return e.futex_wait(address, static_cast<uint32_t>(a[2]), ns, PLACE) ? 0 : -1;
        }
        case FUTEX_WAKE: return e.futex_wake(address, static_cast<int>(a[2]), PLACE);
      }
    }
    if (n == SYS_tgkill && e.at_tgkill != nullptr) {
      in_engine in;
      e.schedule_point();
      e.at_tgkill(static_cast<int>(a[1]));
      return 0;
    }
    if (n == SYS_membarrier) {
      in_engine in;
      if (a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED && e.weakened(PLACE, 5, true) >= 0) e.membarrier();
      return 0;
    }
  }
  const long result = raw_syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

int sched_yield() noexcept {
  if (mine()) {
    in_engine in;
    execution::get().yield();
    return 0;
  }
  return static_cast<int>(raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0));
}

}  // extern "C"

namespace {
void* get(size_t n, size_t align) {
  if (mine()) {
    in_engine in;
    return execution::get().allocate(n, align);
  }
  void* p = align <= alignof(max_align_t) ? malloc(n) : aligned_alloc(align, (n + align - 1) / align * align);
  if (p == nullptr) abort();
  return p;
}
void put(void* p, const void* place) noexcept {
  if (p == nullptr) return;
  if (!execution::owns(p)) return free(p);
  if (!mine()) return;  // gone with its execution
  in_engine in;
  execution::get().release(p, place);
}
}  // namespace

void* operator new(size_t n) { return get(n, 0); }
void* operator new(size_t n, std::align_val_t a) { return get(n, static_cast<size_t>(a)); }
void* operator new[](size_t n) { return get(n, 0); }
void* operator new[](size_t n, std::align_val_t a) { return get(n, static_cast<size_t>(a)); }
void* operator new(size_t n, const std::nothrow_t&) noexcept { return get(n, 0); }
void operator delete(void* p) noexcept { put(p, PLACE); }
void operator delete(void* p, size_t) noexcept { put(p, PLACE); }
void operator delete(void* p, std::align_val_t) noexcept { put(p, PLACE); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { put(p, PLACE); }
void operator delete[](void* p) noexcept { put(p, PLACE); }
void operator delete[](void* p, size_t) noexcept { put(p, PLACE); }
void operator delete[](void* p, std::align_val_t) noexcept { put(p, PLACE); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { put(p, PLACE); }
