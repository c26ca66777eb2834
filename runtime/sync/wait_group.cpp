// wait_group: a counter and the goroutines that wait for its zero, in one word.
//
// The upper half of the word is the counter, the lower the number of goroutines inside wait() that have decided to park. A waiter counts
// itself under the queue's lock, queues, and parks releasing the lock; so an add that brings the counter to zero and sees waiters finds
// them all in the queue once it has the lock. Each waiter takes itself off the count when it leaves. Until then an add from zero is the
// misuse "used again before all waits have returned", and is told so.
//
// The add that reaches zero without waiters touches nothing afterwards: a wait() that begins then returns at once, and its caller may
// destroy the object.
#include "runtime/os/fatal.h"
#include "runtime/sched/park.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/wait_queue.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {

namespace {
int32_t counter_of(uint64_t state) noexcept { return static_cast<int32_t>(state >> 32); }
uint32_t waiters_of(uint64_t state) noexcept { return static_cast<uint32_t>(state); }
}  // namespace

void wait_group::add(int n) {
  const uint64_t delta = static_cast<uint64_t>(static_cast<uint32_t>(n)) << 32;
  // Release: what this goroutine did before done(). Acquire: the one who reaches zero passes on what the others did before theirs.
  const uint64_t before = state_.fetch_add(delta, std::memory_order_acq_rel);
  const int32_t counter = counter_of(before + delta);
  if (counter < 0) {
    rt::fatal("goroutine %llu: negative wait_group counter (%d after add(%d)): more done() than add()",
              static_cast<unsigned long long>(goroutine_id()), counter, n);
  }
  if (waiters_of(before) == 0) return;
  if (n > 0 && counter_of(before) == 0) {
    rt::fatal(
        "goroutine %llu: wait_group used again before %u previous wait() have returned: add before wait, and use a new wait_group for the "
        "next round",
        static_cast<unsigned long long>(goroutine_id()), waiters_of(before));
  }
  if (counter != 0 || n == 0) return;

  WARREN_SYNC_POINT();
  detail::wait_queue& queue = detail::queue_in(waiters_);
  queue.lock.lock();
  detail::waiter* w = queue.first;
  queue.first = queue.last = nullptr;
  queue.lock.unlock();
  while (w != nullptr) {
    detail::waiter* const next = w->next;
    WARREN_SYNC_POINT();
    rt::goready(w->gp);
    w = next;
  }
}

void wait_group::wait() {
  uint64_t state = state_.load(std::memory_order_acquire);
  if (counter_of(state) == 0) return;
  detail::wait_queue& queue = detail::queue_in(waiters_);
  detail::waiter me{detail::must_getg("wait_group::wait")};
  queue.lock.lock();
  state = state_.load(std::memory_order_acquire);
  do {
    if (counter_of(state) == 0) {
      queue.lock.unlock();
      return;
    }
  } while (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire));
  WARREN_SYNC_POINT();
  queue.push_back(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&rt::park_unlock, &queue.lock, rt::wait_reason::sync_wait_group);
  state_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace warren
