// rwmutex: one word, two queues, hand-over.
//
// The word:
//   writer   a writer is inside
//   waiting  a queue is not empty. Changed only under the queues' lock (that of the writers' queue), together with the queues
//   readers  how many are inside, in the bits above
// Invariants: writer and readers exclude one another. Readers come in only while neither writer nor waiting is set; so with `waiting` set
// and the queues' lock held, the number of readers can only fall, and once the last one knows that it is the last, the word is still.
// While readers are inside, the first to be served is a writer: a reader queues only behind a writer that is inside or waits, and the
// writer that leaves takes all waiting readers in.
//
// Hand-over. Whoever leaves as the last with `waiting` set does not open the lock but passes it on, under the queues' lock: a writer to all
// readers that wait, if there are any, else to the first writer; the last reader to the first writer. The rules together make the two kinds
// take turns: so nobody starves, and a writer waits for at most the readers inside and those that came while its predecessor was inside.
// These are Go's rules. Go lets writers compete for a mutex among themselves, so that a running one may overtake one that is being woken;
// here a writer that comes while the lock is passed on queues, which costs a switch per critical section if writers contend all the time
// (about what a channel operation costs), and needs no second lock in the uncontended case, which is one locked instruction for each
// operation.
//
// After the last access. A fast release is one compare-and-swap. A slow one has taken somebody out of a queue; that goroutine has not
// returned from its lock() before we ready it, and a correct program does not destroy what somebody is about to use. goready touches
// nothing of the lock.
//
// Memory order: taking acquires, giving releases. The last reader acquires too, and passes what all readers did to the writer by goready.
//
// Rejected: counting readers by fetch_add, as Go does (readers on many processors then never fail, but a reader that finds a writer has
// counted itself already and must be counted out; with the count in doubt the hand-over is no longer a decision of one thread); a counter
// per processor (64 bytes each, for every lock; writers would have to visit all).
#include "warren/rwmutex.h"

#include "runtime/os/cpu.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/park.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/wait_queue.h"
#include "warren/go.h"

namespace warren {

namespace {
constexpr uint32_t kWriter = 1;
constexpr uint32_t kWaiting = 2;
constexpr uint32_t kReader = 4;
constexpr uint32_t kReaders = ~(kWriter | kWaiting);

// As in mutex.cpp: about 1 µs, which pays only while the one inside runs on another P.
constexpr int kSpinRounds = 4;
constexpr int kPausesPerRound = 30;

// Looks for a while whether `bits` go away. Not where somebody waits already: then it is not our turn.
bool spin_until_clear(const std::atomic<uint32_t>& word, uint32_t bits) noexcept {
  if (maxprocs() < 2) return false;
  for (int round = 0; round < kSpinRounds; ++round) {
    const uint32_t s = word.load(std::memory_order_relaxed);
    if ((s & bits) == 0) return true;
    if ((s & kWaiting) != 0) return false;
    for (int i = 0; i < kPausesPerRound; ++i) rt::cpu_pause();
  }
  return false;
}

[[noreturn]] void misused(const char* what, const void* lock) noexcept {
  rt::fatal("goroutine %llu: %s %p: each release needs a lock of the same kind before it", static_cast<unsigned long long>(goroutine_id()),
            what, lock);
}
}  // namespace

void rwmutex::lock() {
  rt::safepoint();  // as in mutex::lock
  uint32_t free = 0;
  if (!state_.compare_exchange_strong(free, kWriter, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]]
    lock_slow();
}

bool rwmutex::try_lock() noexcept {
  rt::safepoint();
  uint32_t free = 0;
  return state_.compare_exchange_strong(free, kWriter, std::memory_order_acquire, std::memory_order_relaxed);
}

void rwmutex::lock_slow() {
  detail::waiter me{detail::must_getg("rwmutex::lock")};
  detail::wait_queue& queue = detail::queue_in(writers_);
  uint32_t free = 0;
  if (spin_until_clear(state_, ~uint32_t{0}) &&
      state_.compare_exchange_strong(free, kWriter, std::memory_order_acquire, std::memory_order_relaxed))
    return;
  WARREN_SYNC_POINT();
  queue.lock.lock();
  uint32_t s = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (s == 0) {
      if (!state_.compare_exchange_weak(s, kWriter, std::memory_order_acquire, std::memory_order_relaxed)) continue;
      queue.lock.unlock();
      return;
    }
    if (state_.compare_exchange_weak(s, s | kWaiting, std::memory_order_relaxed, std::memory_order_relaxed)) break;
  }
  queue.push_back(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&rt::park_unlock, &queue.lock, rt::wait_reason::sync_rwmutex_lock);
  // It was handed to us.
}

void rwmutex::lock_shared() {
  rt::safepoint();
  uint32_t s = 0;
  // First as if nobody were inside: that saves the load where it matters.
  while (!state_.compare_exchange_weak(s, s + kReader, std::memory_order_acquire, std::memory_order_relaxed)) {
    if ((s & (kWriter | kWaiting)) != 0) [[unlikely]]
      return lock_shared_slow();
  }
}

bool rwmutex::try_lock_shared() noexcept {
  rt::safepoint();
  uint32_t s = state_.load(std::memory_order_relaxed);
  while ((s & (kWriter | kWaiting)) == 0) {
    if (state_.compare_exchange_weak(s, s + kReader, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

void rwmutex::lock_shared_slow() {
  detail::waiter me{detail::must_getg("rwmutex::lock_shared")};
  detail::wait_queue& queue = detail::queue_in(writers_);
  if (spin_until_clear(state_, kWriter | kWaiting) && try_lock_shared()) return;
  WARREN_SYNC_POINT();
  queue.lock.lock();
  uint32_t s = state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((s & (kWriter | kWaiting)) == 0) {
      if (!state_.compare_exchange_weak(s, s + kReader, std::memory_order_acquire, std::memory_order_relaxed)) continue;
      queue.lock.unlock();
      return;
    }
    if (state_.compare_exchange_weak(s, s | kWaiting, std::memory_order_relaxed, std::memory_order_relaxed)) break;
  }
  detail::queue_in(readers_).push_back(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&rt::park_unlock, &queue.lock, rt::wait_reason::sync_rwmutex_rlock);
}

void rwmutex::unlock_shared() noexcept {
  uint32_t s = kReader;
  for (;;) {
    // With somebody waiting, the last one passes the lock on. `waiting` cannot appear and go away again behind our back: only whoever is
    // the last inside clears it, and we are inside.
    if ((s & kReaders) == 0 || ((s & kWaiting) != 0 && (s & kReaders) == kReader)) [[unlikely]]
      return unlock_shared_slow(s);
    if (state_.compare_exchange_weak(s, s - kReader, std::memory_order_release, std::memory_order_relaxed)) return;
  }
}

void rwmutex::unlock_shared_slow(uint32_t s) noexcept {
  if ((s & kReaders) == 0) misused("unlock_shared of an rwmutex that no reader holds,", this);
  WARREN_SYNC_POINT();
  detail::wait_queue& writers = detail::queue_in(writers_);
  writers.lock.lock();
  state_.load(std::memory_order_acquire);  // what the readers did that have left: each has released on its way out
  detail::waiter* const w = writers.pop_front();
  const bool more = !writers.empty() || !detail::queue_in(readers_).empty();
  state_.store(kWriter | (more ? kWaiting : 0), std::memory_order_relaxed);
  writers.lock.unlock();
  WARREN_SYNC_POINT();
  rt::goready(w->gp);
}

void rwmutex::unlock() noexcept {
  uint32_t held = kWriter;
  if (!state_.compare_exchange_strong(held, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
    unlock_slow();
}

void rwmutex::unlock_slow() noexcept {
  if ((state_.load(std::memory_order_relaxed) & kWriter) == 0) misused("unlock of an rwmutex that no writer holds,", this);
  WARREN_SYNC_POINT();
  detail::wait_queue& writers = detail::queue_in(writers_);
  detail::wait_queue& readers = detail::queue_in(readers_);
  writers.lock.lock();
  detail::waiter* w = readers.first;
  if (w != nullptr) {
    uint32_t n = 0;
    for (const detail::waiter* r = w; r != nullptr; r = r->next) ++n;
    readers.first = readers.last = nullptr;
    // Release: a reader that comes by itself acquires from here; those in the queue by goready.
    state_.store(n * kReader | (writers.empty() ? 0 : kWaiting), std::memory_order_release);
  } else {
    w = writers.pop_front();
    w->next = nullptr;
    state_.store(kWriter | (writers.empty() ? 0 : kWaiting), std::memory_order_relaxed);
  }
  writers.lock.unlock();
  while (w != nullptr) {
    detail::waiter* const next = w->next;
    WARREN_SYNC_POINT();
    rt::goready(w->gp);
    w = next;
  }
}

}  // namespace warren
