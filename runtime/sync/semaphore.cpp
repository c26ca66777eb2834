// semaphore: a count and a queue under one lock.
//
// A release hands units over: whoever is first in the queue and can be served owns his units from that moment, woken or not, and is out of
// the queue. One that waits with a context does so in a select over the context's end and a channel of his own, which the release closes.
// If both have happened he looks under the lock: out of the queue means served. Then the units are his, and since his context has ended he
// gives them back, and the next is served (x/sync does the same). When somebody gives up in the middle of the queue, those behind him may
// be servable: if he was the first.
#include "warren/semaphore.h"

#include <mutex>

#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/turn.h"
#include "warren/go.h"
#include "warren/select.h"

namespace warren {

namespace {
struct unit_waiter {
  const int64_t n;
  rt::g* const gp;              // parked, or about to be: its commit releases the lock
  detail::hchan* const served;  // or this, which is closed
  detail::queue_link<unit_waiter> link;
};
using unit_queue = detail::leavable_queue<unit_waiter>;

void must_not_be_negative(int64_t n, const char* what) noexcept {
  if (n < 0) {
    rt::fatal("goroutine %llu: %s of %lld units: the number must not be negative", static_cast<unsigned long long>(goroutine_id()), what,
              static_cast<long long>(n));
  }
}

// Takes those out of the queue who can be served. REQUIRES: the lock held; who waits in a channel has it closed here. The others are to be
// readied, by ready_all, after unlocking.
void serve(unit_queue& queue, int64_t size, int64_t* out, rt::g_list* sleepers) noexcept {
  while (unit_waiter* w = queue.first) {
    if (size - *out < w->n) return;
    *out += w->n;
    queue.remove(w);
    if (w->gp != nullptr) {
      sleepers->push(w->gp);
    } else {
      detail::closechan(w->served);  // before the lock is given up: after that he may have gone, and the channel with him
    }
  }
}
void ready_all(rt::g_list sleepers) noexcept {
  while (rt::g* gp = sleepers.pop()) {
    WARREN_SYNC_POINT();
    rt::goready(gp);
  }
}
}  // namespace

bool semaphore::try_acquire(int64_t n) noexcept {
  must_not_be_negative(n, "try_acquire");
  rt::safepoint();
  unit_queue& queue = unit_queue::in(waiters_);
  std::lock_guard hold(queue.lock);
  if (size_ - out_ < n || queue.first != nullptr) return false;
  out_ += n;
  return true;
}

void semaphore::acquire(int64_t n) {
  must_not_be_negative(n, "acquire");
  rt::safepoint();
  if (n > size_) {
    rt::fatal("goroutine %llu: acquire of %lld units from a semaphore of %lld can never succeed: ask for less, or make it larger",
              static_cast<unsigned long long>(goroutine_id()), static_cast<long long>(n), static_cast<long long>(size_));
  }
  unit_queue& queue = unit_queue::in(waiters_);
  queue.lock.lock();
  if (size_ - out_ >= n && queue.first == nullptr) {
    out_ += n;
    queue.lock.unlock();
    return;
  }
  rt::g* const gp = rt::getg();
  if (gp == nullptr) {
    queue.lock.unlock();
    detail::must_getg("semaphore::acquire");
  }
  unit_waiter me{n, gp, nullptr, {}};
  queue.push_back(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&rt::park_unlock, &queue.lock, rt::wait_reason::sync_semaphore);
}

std::error_code semaphore::acquire(const context& ctx, int64_t n) {
  must_not_be_negative(n, "acquire");
  if (const std::error_code e = ctx.err()) return e;
  const chan<unit> done = ctx.done();
  if (!done) {
    acquire(n);
    return {};
  }
  if (n > size_) {
    done.recv();
    return ctx.err();
  }
  if (try_acquire(n)) return {};

  const chan<unit> served = make_chan<unit>();
  unit_waiter me{n, nullptr, served.raw(), {}};
  unit_queue& queue = unit_queue::in(waiters_);
  {
    std::lock_guard hold(queue.lock);
    if (size_ - out_ >= n && queue.first == nullptr) {
      out_ += n;
      return {};
    }
    queue.push_back(&me);
  }
  WARREN_SYNC_POINT();
  select(recv(done), recv(served));
  const std::error_code e = ctx.err();
  WARREN_SYNC_POINT();

  rt::g_list sleepers;
  {
    // Also when we were served: whoever did so has to be done with our record.
    std::lock_guard hold(queue.lock);
    if (!e) return {};
    if (me.link.linked) {
      const bool was_first = queue.first == &me;
      queue.remove(&me);
      if (!was_first) return e;
    } else {
      out_ -= n;
    }
    serve(queue, size_, &out_, &sleepers);
  }
  ready_all(sleepers);
  return e;
}

void semaphore::release(int64_t n) noexcept {
  must_not_be_negative(n, "release");
  unit_queue& queue = unit_queue::in(waiters_);
  rt::g_list sleepers;
  int64_t out;
  {
    std::lock_guard hold(queue.lock);
    out = out_;
    if (n <= out) {
      out_ -= n;
      serve(queue, size_, &out_, &sleepers);
    }
  }
  if (n > out) {
    rt::fatal("goroutine %llu: release of %lld units of a semaphore of which %lld are out: release what was acquired, once",
              static_cast<unsigned long long>(goroutine_id()), static_cast<long long>(n), static_cast<long long>(out));
  }
  ready_all(sleepers);
  rt::safepoint();
}

}  // namespace warren
