// mutex: parking lock with barging and a starvation mode, after the behaviour of Go's sync.Mutex.
//
// The word:
//   locked    somebody owns the lock
//   woken     a waiter was woken and competes for the lock, or a newcomer that spins speaks for the waiters: unlock need wake nobody
//   starving  ownership goes from the unlocker to the first waiter; newcomers do not compete, they queue
//   waiting   the queue is not empty. Changed only under the queue's lock, together with the queue
// Invariants: starving implies locked and waiting. A goroutine in the queue is parked, or about to be: its commit releases the queue's
// lock.
//
// Normal mode. Unlock releases the lock and wakes the first waiter, which competes with whoever runs already and so often loses; then it
// queues again, in front. That is unfair and fast: a running goroutine may take the lock many times within its slice, and no switch
// happens per critical section. Starving mode. A woken waiter that finds the lock taken and has waited 1 ms in all sets `starving`: from
// then on unlock does not release the lock but makes the first waiter its owner. A waiter that gets the lock this way and is the last, or
// has not waited so long, ends the mode, because every critical section costs a switch in it. (The threshold and both rules are Go's; see
// golang/go issue 13086 for the measurements behind them.)
//
// Unlike Go's, an unlock that has somebody to wake takes the queue's lock before it gives up ownership. So nothing is touched after the
// mutex could have been destroyed: once the word says "free" an other goroutine may lock, unlock and delete the object that contains the
// mutex, as C++ programs do with a reference count under a lock. While we hold the queue's lock with a waiter popped, that waiter has not
// returned from lock(), which a correct program does not forget before deleting.
//
// Memory order: taking the lock is acquire, giving it up release; a hand-over goes through goready. Changes of the other bits need no
// order of their own: they are read-modify-writes of the one word, or made under the queue's lock.
#include "runtime/os/clock.h"
#include "runtime/os/cpu.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/park.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/wait_queue.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {

namespace {
constexpr uint32_t kLockedBit = 1;
constexpr uint32_t kWoken = 2;
constexpr uint32_t kStarving = 4;
constexpr uint32_t kWaiting = 8;

constexpr int64_t kStarvationThreshold = 1'000'000;  // 1 ms, as in Go
// Spinning as in Go: 4 rounds of 30 pauses, about 1 µs. With goroutines waiting on the same P it would only keep them from running.
constexpr int kSpinRounds = 4;
constexpr int kPausesPerRound = 30;
}  // namespace

void mutex::lock() {
  // A loop of lock and unlock may be all that a goroutine does; before the lock is taken, so that nobody is stopped as its owner.
  rt::safepoint();
  uint32_t old = 0;
  if (state_.compare_exchange_strong(old, kLockedBit, std::memory_order_acquire, std::memory_order_relaxed)) [[likely]]
    return;
  // Free while others wait, one of them perhaps on its way: who runs already takes it in passing.
  if ((old & kLockedBit) == 0 &&
      state_.compare_exchange_strong(old, old | kLockedBit, std::memory_order_acquire, std::memory_order_relaxed))
    return;
  lock_slow();
}

bool mutex::try_lock() noexcept {
  rt::safepoint();

  uint32_t old = state_.load(std::memory_order_relaxed);
  while ((old & (kLockedBit | kStarving)) == 0) {
    if (state_.compare_exchange_weak(old, old | kLockedBit, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

void mutex::lock_slow() {
  detail::wait_queue& queue = detail::queue_in(waiters_);
  detail::waiter me{detail::must_getg("mutex::lock")};
  int round = 0;
  bool awake = false;  // the woken bit is mine to clear
  bool starving = false;
  for (;;) {
    uint32_t old = state_.load(std::memory_order_relaxed);
    if ((old & kLockedBit) == 0) {
      // Free (starving implies locked). Take it; with awake, give the woken bit back.
      const uint32_t taken = (old | kLockedBit) & ~(awake ? kWoken : 0);
      if (state_.compare_exchange_weak(old, taken, std::memory_order_acquire, std::memory_order_relaxed)) return;
      continue;
    }
    if ((old & kStarving) == 0 && round < kSpinRounds && rt::spinning_pays()) {
      ++round;
      if (!awake && (old & (kWoken | kWaiting)) == kWaiting &&
          state_.compare_exchange_weak(old, old | kWoken, std::memory_order_relaxed, std::memory_order_relaxed)) {
        awake = true;
      }
      for (int i = 0; i < kPausesPerRound; ++i) rt::cpu_pause();
      continue;
    }

    WARREN_SYNC_POINT();
    queue.lock.lock();
    old = state_.load(std::memory_order_relaxed);
    for (;;) {
      if ((old & kLockedBit) == 0) break;
      const uint32_t wait = ((old | kWaiting) & ~(awake ? kWoken : 0)) | (starving ? kStarving : 0);
      if (state_.compare_exchange_weak(old, wait, std::memory_order_relaxed, std::memory_order_relaxed)) break;
    }
    if ((old & kLockedBit) == 0) {  // it became free before we were in the queue
      queue.lock.unlock();
      continue;
    }
    if (me.since == 0) {
      me.since = rt::nanotime();
      queue.push_back(&me);
    } else {
      queue.push_front(&me);
    }
    WARREN_SYNC_POINT();
    rt::gopark(&rt::park_unlock, &queue.lock, rt::wait_reason::sync_mutex_lock);
    if (me.owner) return;
    awake = true;
    starving = starving || rt::nanotime() - me.since > kStarvationThreshold;
    round = 0;
  }
}

void mutex::unlock_slow() noexcept {
  detail::wait_queue& queue = detail::queue_in(waiters_);
  uint32_t old = state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((old & kLockedBit) == 0) {
      rt::fatal("goroutine %llu: unlock of unlocked mutex %p: each unlock needs a lock before it",
                static_cast<unsigned long long>(goroutine_id()), static_cast<const void*>(this));
    }
    if ((old & kStarving) == 0 && ((old & kWaiting) == 0 || (old & kWoken) != 0)) {
      // Nobody to wake. This is the last access.
      if (state_.compare_exchange_weak(old, old & ~kLockedBit, std::memory_order_release, std::memory_order_relaxed)) return;
      continue;
    }

    WARREN_SYNC_POINT();
    queue.lock.lock();
    // waiting is stable now. starving can still be set only by a woken waiter that holds this lock: stable too. woken can come.
    old = state_.load(std::memory_order_relaxed);
    detail::waiter* w = nullptr;
    if ((old & kStarving) != 0) {
      w = queue.pop_front();
      w->owner = true;
      // The waiter's rule, applied on its behalf: its wait is known here.
      const bool end = queue.empty() || rt::nanotime() - w->since < kStarvationThreshold;
      const uint32_t clear = (end ? kStarving : 0) | (queue.empty() ? kWaiting : 0);
      state_.fetch_and(~clear, std::memory_order_relaxed);
    } else if ((old & kWaiting) != 0) {
      const bool last = queue.first == queue.last;
      while ((old & kWoken) == 0) {
        const uint32_t freed = ((old & ~kLockedBit) | kWoken) & ~(last ? kWaiting : 0);
        if (state_.compare_exchange_weak(old, freed, std::memory_order_release, std::memory_order_relaxed)) {
          w = queue.pop_front();
          break;
        }
      }
    }
    queue.lock.unlock();
    if (w != nullptr) {
      WARREN_SYNC_POINT();
      rt::goready(w->gp);
      return;
    }
    // Somebody spoke up for the waiters meanwhile: around again.
  }
}

}  // namespace warren
