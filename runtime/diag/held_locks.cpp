// Finds goroutines that park while they hold a lock of the operating system's threads (std::mutex, std::shared_mutex, pthread_mutex_t, …).
//
// Why that is wrong. Whoever wants such a lock blocks his thread, and the owner, parked, may need that very thread to go on: with as many
// waiters as Ps the process stands still. And it will be unlocked on another thread than the one that locked it, which the standard does
// not allow. It works in every test and fails under load, so it has to be looked for: compile with -DWARREN_DEBUG_LOCKS=ON (preset dev has
// it), or link this file's object into a program. warren::mutex may be held across anything.
//
//   WARREN_HELD_LOCKS=report   print each pair of places (locked here, parks here) once, to standard error; the default
//   WARREN_HELD_LOCKS=abort    print it and abort
//   WARREN_HELD_LOCKS=off
//
// How. This file defines the pthread functions that take and give locks, and passes on to the definitions behind it (dlsym RTLD_NEXT). The
// program's definitions come before those of libc for every library that is loaded with it. The calls that libc makes inside itself
// (stdio, malloc, the dynamic linker) do not come here; nor does pthread_cond_wait's release, which ends with the lock held as before and
// during which its goroutine cannot park, since its thread is blocked. The runtime's own locks are futexes and do not come here either.
//
// What a goroutine holds is noted in a fixed table by its id, with the return addresses on its stack, found by frame pointers. Nothing here
// allocates, takes a lock, or calls anything that might, until there is something to report: we may be anywhere, inside malloc's hooks too.
// Locks of threads outside and of scheduler stacks are not noted: there is no goroutine that could park.
//
// Not seen: pthread_spin_lock, semaphores, locks made of bare futexes. A lock that one goroutine takes and another gives is reported as
// held by the first, until it ends, which is what the standard says of it.
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "runtime/os/fatal.h"
#include "runtime/sched/g.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/m.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {

constexpr int kFrames = 16;
constexpr int kLocksEach = 8;
constexpr uint32_t kOwners = 1024;  // goroutines that hold a lock at one moment
constexpr uint32_t kProbes = 32;
constexpr uint32_t kSites = 1024;

struct frames {
  void* at[kFrames] = {};
  int n = 0;

  // The return addresses from here up. Frame pointers of foreign code may be anything: only what lies in order on the stack is believed.
  [[gnu::always_inline]] void walk(const g* gp) noexcept {
    auto fp = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    const auto low = reinterpret_cast<uintptr_t>(gp->stack_state.low), high = reinterpret_cast<uintptr_t>(gp->stack_state.high);
    n = 0;
    while (n < kFrames && fp >= low && fp + 2 * sizeof(void*) <= high && fp % sizeof(void*) == 0) {
      const auto* words = reinterpret_cast<const uintptr_t*>(fp);
      if (words[1] == 0) break;
      at[n++] = reinterpret_cast<void*>(words[1]);
      if (words[0] <= fp) break;
      fp = words[0];
    }
  }
};

struct held_lock {
  const void* lock = nullptr;
  const char* kind = nullptr;
  frames where;
};

// One goroutine's locks. `owner` is changed from 0 by the goroutine that takes the slot and back by it alone; only it reads the rest.
struct holder {
  std::atomic<uint64_t> owner{0};
  int count = 0;
  int unnoted = 0;  // beyond kLocksEach
  held_lock locks[kLocksEach];
};

constinit holder holders[kOwners];
constinit std::atomic<uint64_t> sites[kSites];

uint64_t key_of(const g* gp) noexcept { return scheduler::run_number() << 48 ^ gp->goid; }
uint64_t mix(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

holder* find(uint64_t key) noexcept {
  for (uint64_t i = 0, h = mix(key); i < kProbes; ++i) {
    holder& s = holders[(h + i) % kOwners];
    if (s.owner.load(std::memory_order_relaxed) == key) return &s;
  }
  return nullptr;
}
holder* find_or_take(uint64_t key) noexcept {
  if (holder* s = find(key)) return s;
  for (uint64_t i = 0, h = mix(key); i < kProbes; ++i) {
    holder& s = holders[(h + i) % kOwners];
    uint64_t free = 0;
    if (s.owner.compare_exchange_strong(free, key, std::memory_order_acquire, std::memory_order_relaxed)) return &s;
  }
  return nullptr;  // not noted then: better to miss a report than to stop
}

[[gnu::always_inline]] inline void note_locked(const void* lock, const char* kind) noexcept {
  const g* gp = getg();
  if (gp == nullptr) return;
  holder* const s = find_or_take(key_of(gp));
  if (s == nullptr) return;
  if (s->count == kLocksEach) {
    ++s->unnoted;
    return;
  }
  held_lock& h = s->locks[s->count++];
  h.lock = lock;
  h.kind = kind;
  h.where.walk(gp);
}

void note_unlocked(const void* lock) noexcept {
  const g* gp = getg();
  if (gp == nullptr) return;
  holder* const s = find(key_of(gp));
  if (s == nullptr) return;
  int i = s->count;
  while (i > 0 && s->locks[i - 1].lock != lock) --i;  // the last one taken: a lock may be recursive
  if (i > 0) {
    for (; i < s->count; ++i) s->locks[i - 1] = s->locks[i];
    --s->count;
  } else if (s->unnoted > 0) {
    --s->unnoted;
  }
  if (s->count == 0 && s->unnoted == 0) s->owner.store(0, std::memory_order_release);
}

enum class policy : int { unread, report, abort, off };
std::atomic<policy> the_policy{policy::unread};
policy read_policy() noexcept {
  policy p = the_policy.load(std::memory_order_relaxed);
  if (p != policy::unread) return p;
  const char* const text = getenv("WARREN_HELD_LOCKS");
  if (text == nullptr || *text == '\0' || strcmp(text, "report") == 0) {
    p = policy::report;
  } else if (strcmp(text, "abort") == 0) {
    p = policy::abort;
  } else if (strcmp(text, "off") == 0) {
    p = policy::off;
  } else {
    fatal("WARREN_HELD_LOCKS=%s: want report, abort or off", text);
  }
  the_policy.store(p, std::memory_order_relaxed);
  return p;
}

// true: this pair of places was not reported before (or there is no room to remember it).
bool is_new(const frames& locked, const frames& parks) noexcept {
  uint64_t h = 1;
  for (int i = 0; i < locked.n; ++i) h = mix(h ^ reinterpret_cast<uintptr_t>(locked.at[i]));
  for (int i = 0; i < parks.n; ++i) h = mix(h ^ reinterpret_cast<uintptr_t>(parks.at[i]));
  if (h == 0) h = 1;
  for (uint64_t i = 0; i < kProbes; ++i) {
    std::atomic<uint64_t>& s = sites[(h + i) % kSites];
    uint64_t seen = 0;
    if (s.compare_exchange_strong(seen, h, std::memory_order_relaxed)) return true;
    if (seen == h) return false;
  }
  return true;
}

void print(const frames& f) noexcept {
  for (int i = 0; i < f.n; ++i) {
    print_error("\t");
    backtrace_symbols_fd(&f.at[i], 1, STDERR_FILENO);
  }
}

void check(const g* gp, wait_reason why) noexcept {
  const holder* const s = find(key_of(gp));
  if (s == nullptr || s->count == 0) return;
  const policy p = read_policy();
  if (p == policy::off) return;
  frames here;
  here.walk(gp);
  for (int i = 0; i < s->count; ++i) {
    const held_lock& h = s->locks[i];
    if (!is_new(h.where, here)) continue;
    print_error(
        "warren: goroutine %llu parks (%s) while it holds the %s %p: others that want it block their threads; unlock it before, "
        "or make it a %s\nlocked here:\n",
        static_cast<unsigned long long>(gp->goid), why == wait_reason::none ? "yield" : to_string(why), h.kind, h.lock,
        strstr(h.kind, "rwlock") == nullptr ? "warren::mutex" : "warren::rwmutex");
    print(h.where);
    print_error("parks here:\n");
    print(here);
    if (p == policy::abort) ::abort();
  }
}

const bool hook_set = [] {
  sched_hooks.parking = &check;
  return true;
}();

constexpr const char* kMutex = "mutex (std::mutex)";
constexpr const char* kShared = "rwlock (std::shared_mutex), shared,";
constexpr const char* kAlone = "rwlock (std::shared_mutex)";

// The definition behind ours. May be looked up twice at the same time, with the same result.
template <class F>
F next(std::atomic<F>& slot, const char* name) noexcept {
  F f = slot.load(std::memory_order_relaxed);
  if (f == nullptr) {
    f = reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
    if (f == nullptr) fatal("WARREN_DEBUG_LOCKS: no %s behind ours: link libc dynamically, or build without", name);
    slot.store(f, std::memory_order_relaxed);
  }
  return f;
}

}  // namespace

// The linker is told to look for this name (-u), which brings the whole file into the program.
extern "C" const int warren_debug_locks_linked = 1;

}  // namespace warren::rt

// The signatures and exception specifications are those of <pthread.h>.
#define WARREN_TAKES(name, kind, parameters, arguments)               \
  extern "C" int name parameters noexcept {                           \
    static constinit std::atomic<int(*) parameters> slot{nullptr};    \
    const int result = warren::rt::next(slot, #name) arguments;       \
    if (result == 0) warren::rt::note_locked(lock, warren::rt::kind); \
    return result;                                                    \
  }
#define WARREN_GIVES(name, parameters)                             \
  extern "C" int name parameters noexcept {                        \
    static constinit std::atomic<int(*) parameters> slot{nullptr}; \
    warren::rt::note_unlocked(lock);                               \
    return warren::rt::next(slot, #name)(lock);                    \
  }

WARREN_TAKES(pthread_mutex_lock, kMutex, (pthread_mutex_t * lock), (lock))
WARREN_TAKES(pthread_mutex_trylock, kMutex, (pthread_mutex_t * lock), (lock))
WARREN_TAKES(pthread_mutex_timedlock, kMutex, (pthread_mutex_t * lock, const timespec* until), (lock, until))
WARREN_TAKES(pthread_mutex_clocklock, kMutex, (pthread_mutex_t * lock, clockid_t clock, const timespec* until), (lock, clock, until))
WARREN_GIVES(pthread_mutex_unlock, (pthread_mutex_t * lock))
WARREN_TAKES(pthread_rwlock_rdlock, kShared, (pthread_rwlock_t * lock), (lock))
WARREN_TAKES(pthread_rwlock_tryrdlock, kShared, (pthread_rwlock_t * lock), (lock))
WARREN_TAKES(pthread_rwlock_timedrdlock, kShared, (pthread_rwlock_t * lock, const timespec* until), (lock, until))
WARREN_TAKES(pthread_rwlock_clockrdlock, kShared, (pthread_rwlock_t * lock, clockid_t clock, const timespec* until), (lock, clock, until))
WARREN_TAKES(pthread_rwlock_wrlock, kAlone, (pthread_rwlock_t * lock), (lock))
WARREN_TAKES(pthread_rwlock_trywrlock, kAlone, (pthread_rwlock_t * lock), (lock))
WARREN_TAKES(pthread_rwlock_timedwrlock, kAlone, (pthread_rwlock_t * lock, const timespec* until), (lock, until))
WARREN_TAKES(pthread_rwlock_clockwrlock, kAlone, (pthread_rwlock_t * lock, clockid_t clock, const timespec* until), (lock, clock, until))
WARREN_GIVES(pthread_rwlock_unlock, (pthread_rwlock_t * lock))
