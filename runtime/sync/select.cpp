// select: one communication out of several.
//
// Four steps, each only if the one before did not succeed:
//   0  try the cases one by one in random order, with one lock at a time. That finds a ready case without ordering and taking all locks.
//      It may miss one: a value that wanders from channel B to channel A behind our back is never seen, although at every moment one of
//      the two was ready.
//   1  lock all channels, in the order of their addresses (so that two selects over the same channels cannot deadlock), and look again,
//      in the same random order. Now it is one moment: if nothing is ready, `otherwise` may run.
//   2  put a sudog into the queue of every channel and park. The park's commit arms the timer, then releases the locks.
//   3  awake: take the sudogs that did not fire out of their queues.
//
// Exactly one waker. The sudogs of a select share a frame with the word `fired`. Whoever finds one of them in a queue (under that
// channel's lock), and the timer's function (under none), changes fired from 0 to 1 and, if it was the one who did, wakes the goroutine;
// all others pass by.
//
// Why the frame outlives its users. The frame, the cases and their sudogs lie on the stack of the goroutine that selects, which leaves
// them when it is awake and through step 3. Who may still touch them?
//   - The commit, on the scheduler's stack: it unlocks channel after channel while a waker that found an unlocked one may already have
//     readied the goroutine. But step 3 takes the lock of every channel that has a sudog to be removed, and the one that fired was found
//     under its channel's lock; so step 3 ends only after the commit has released the last lock, and the commit touches nothing after
//     that. If the timer fires, step 3 takes all locks. If there are no channels, the commit touches nothing after arming.
//   - A waker that lost the election: it reads sg->select->fired under the channel's lock, having taken sg out of the queue; step 3 comes
//     for sg under the same lock, before (then the waker does not find it) or after.
//   - The waker that won: everything it does to the frame precedes its goready.
//   - The timer's function: step 3 calls timer_stop_sync, which returns only when the function is not running.
// Why the timer is armed in the commit and not before: it may fire at once, on another thread, and may only ready a goroutine that is
// parked. Arming it before the locks are released is harmless: a timer's function takes no channel's lock, the timers' lock is never held
// while a channel is locked by the firing side.
#include "warren/select.h"

#include <algorithm>
#include <new>

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "warren/go.h"

namespace warren {
namespace detail {

class select_operation {
 public:
  explicit select_operation(std::span<select_case* const> cases) noexcept : cases_(cases) {}
  int run();

 private:
  using kind = select_case::kind;
  // An index into cases_. More than 64 channel cases are refused, but nil ones count too, and otherwise and after come on top.
  using index = uint8_t;
  static constexpr int kNone = -1;

  select_case& at(int i) const noexcept { return *cases_[static_cast<size_t>(i)]; }
  static sudog* waiter(select_case& cs) noexcept { return std::launder(reinterpret_cast<sudog*>(cs.waiter_)); }

  // Those that have one caller are part of it: without their frames a select takes 7 to 9 % less.
  int choose();
  void classify();
  void shuffle() noexcept;
  void sort_by_address() noexcept;
  void lock_all() noexcept;
  void unlock_all() noexcept;
  bool try_one(select_case& cs);
  int try_all_locked();
  int wait();
  int leave(select_frame& frame) noexcept;
  static bool commit(rt::g* gp, void* self) noexcept;
  static void timed_out(void* frame, uintptr_t seq);

  const std::span<select_case* const> cases_;
  int channels_ = 0;  // length of the two orders: cases with a channel that is not nil
  int otherwise_ = kNone;
  int after_ = kNone;
  int64_t deadline_ = 0;        // nanotime, of after_
  rt::timer* timer_ = nullptr;  // for the commit: armed there if not null
  index poll_order_[max_select_cases];
  index lock_order_[max_select_cases];
};

[[gnu::always_inline]] inline void select_operation::classify() {
  if (cases_.size() > max_select_cases + 2) {
    rt::fatal("goroutine %llu: select over %zu cases: at most %zu, and one each of otherwise and after; use several goroutines",
              static_cast<unsigned long long>(goroutine_id()), cases_.size(), max_select_cases);
  }
  for (int i = 0; i < static_cast<int>(cases_.size()); ++i) {
    select_case& cs = at(i);
    switch (cs.kind_) {
      case kind::otherwise:
        if (otherwise_ == kNone) otherwise_ = i;
        break;
      case kind::after:
        if (after_ == kNone || cs.delay_ns_ < at(after_).delay_ns_) after_ = i;
        break;
      case kind::recv:
        if (cs.has_value_) {  // of an earlier select, never taken
          if (cs.c_->type->destroy != nullptr) cs.c_->type->destroy(cs.elem_);
          cs.has_value_ = false;
        }
        [[fallthrough]];
      case kind::send:
        if (cs.c_ == nullptr) break;
        if (channels_ == static_cast<int>(max_select_cases)) {
          rt::fatal("goroutine %llu: select over more than %zu channels: use several goroutines",
                    static_cast<unsigned long long>(goroutine_id()), max_select_cases);
        }
        poll_order_[channels_++] = static_cast<index>(i);
        break;
    }
  }
  // A wait that is over before it began.
  if (after_ != kNone && at(after_).delay_ns_ <= 0 && otherwise_ == kNone) otherwise_ = after_;
}

[[gnu::always_inline]] inline void select_operation::shuffle() noexcept {
  rt::m* const mp = rt::getm();  // no switch until the last use
  for (int i = channels_ - 1; i > 0; --i) {
    const auto j = static_cast<int>((uint64_t{mp->next_random()} * static_cast<uint64_t>(i + 1)) >> 32);
    std::swap(poll_order_[i], poll_order_[j]);
  }
}

[[gnu::always_inline]] inline void select_operation::sort_by_address() noexcept {
  const auto lower = [this](index a, index b) { return std::less<>()(at(a).c_, at(b).c_); };
  if (channels_ <= 8) {
    for (int i = 0; i < channels_; ++i) {
      const index x = poll_order_[i];
      int j = i;
      for (; j > 0 && lower(x, lock_order_[j - 1]); --j) lock_order_[j] = lock_order_[j - 1];
      lock_order_[j] = x;
    }
  } else {
    std::copy_n(poll_order_, channels_, lock_order_);
    std::sort(lock_order_, lock_order_ + channels_, lower);
  }
}

// A channel that occurs several times is locked once: its cases are neighbours in the order.
[[gnu::always_inline]] inline void select_operation::lock_all() noexcept {
  const hchan* last = nullptr;
  for (int i = 0; i < channels_; ++i) {
    hchan* c = at(lock_order_[i]).c_;
    if (c != last) c->lock.lock();
    last = c;
    WARREN_SYNC_POINT();
  }
}

// From the last to the first; touches nothing of *this after the last unlock (see the head of the file).
void select_operation::unlock_all() noexcept {
  for (int i = channels_ - 1; i >= 0; --i) {
    hchan* c = at(lock_order_[i]).c_;
    if (i > 0 && c == at(lock_order_[i - 1]).c_) continue;
    c->lock.unlock();
    if (i > 0) WARREN_SYNC_POINT();
  }
}

// Step 0, for one case.
bool select_operation::try_one(select_case& cs) {
  if (cs.kind_ == kind::send) return cs.c_->peek_send() && chansend(cs.c_, cs.elem_, false);
  if (!cs.c_->peek_recv()) return false;
  const recv_result r = chanrecv(cs.c_, cs.elem_, false);
  cs.has_value_ = r == recv_result::value;
  return r != recv_result::nothing;
}

// Step 1. REQUIRES: all locked. Returns the case that was executed (then all are unlocked) or kNone.
[[gnu::always_inline]] inline int select_operation::try_all_locked() {
  for (int k = 0; k < channels_; ++k) {
    const int i = poll_order_[k];
    select_case& cs = at(i);
    hchan* const c = cs.c_;
    if (cs.kind_ == kind::send) {
      if (c->closed.load(std::memory_order_relaxed)) {
        unlock_all();
        send_on_closed(c);
      }
      if (sudog* receiver = c->recvq.dequeue()) {
        unlock_all();
        hand_to_receiver(*c->type, receiver, cs.elem_);
        wake(receiver, true);
        return i;
      }
      if (c->count() < c->dataqsiz) {
        c->push(cs.elem_);
        unlock_all();
        return i;
      }
    } else {
      if (sudog* sender = c->sendq.dequeue()) {
        if (c->dataqsiz == 0) {
          unlock_all();
          take_from_sender(*c->type, cs.elem_, sender);
        } else {
          refill_from_sender(c, sender, cs.elem_);
          unlock_all();
        }
        wake(sender, true);
        cs.has_value_ = true;
        return i;
      }
      if (c->count() > 0) {
        c->pop(cs.elem_);
        unlock_all();
        cs.has_value_ = true;
        return i;
      }
      if (c->closed.load(std::memory_order_relaxed)) {
        unlock_all();
        return i;
      }
    }
  }
  return kNone;
}

bool select_operation::commit(rt::g*, void* self) noexcept {
  auto* op = static_cast<select_operation*>(self);
  WARREN_SYNC_POINT();
  // Without channels nothing holds the goroutine back once the timer is armed: it may have been woken, and its frame be gone, before
  // timer_start returns.
  const bool locked = op->channels_ > 0;
  if (op->timer_ != nullptr) rt::timer_start(op->timer_);
  if (locked) op->unlock_all();
  return true;
}

// On the scheduler's stack of any P.
void select_operation::timed_out(void* arg, uintptr_t) {
  auto* frame = static_cast<select_frame*>(arg);
  WARREN_SYNC_POINT();
  if (!frame->claim()) return;
  WARREN_SYNC_POINT();
  rt::goready(frame->gp);
}

// Steps 2 and 3. REQUIRES: all locked. Returns with all unlocked.
[[gnu::always_inline]] inline int select_operation::wait() {
  select_frame frame(rt::getg());
  for (int k = 0; k < channels_; ++k) {
    select_case& cs = at(lock_order_[k]);
    auto* sg = ::new (static_cast<void*>(cs.waiter_)) sudog;
    sg->gp = frame.gp;
    sg->elem = cs.elem_;
    sg->select = &frame;
    (cs.kind_ == kind::send ? cs.c_->sendq : cs.c_->recvq).enqueue(sg);
  }
  rt::timer timer;
  if (after_ != kNone) {
    timer.fn = &timed_out;
    timer.arg = &frame;
    timer.when = deadline_;
    timer_ = &timer;
  }
  rt::gopark(&commit, this, channels_ == 0 && after_ == kNone ? rt::wait_reason::select_no_cases : rt::wait_reason::select);
  if (timer_ != nullptr) rt::timer_stop_sync(timer_);
  return leave(frame);
}

// Step 3. Channel by channel: nobody else can fire this select any more, so the channels need not stand still together.
[[gnu::always_inline]] inline int select_operation::leave(select_frame& frame) noexcept {
  int fired = kNone;
  for (int k = 0; k < channels_;) {
    hchan* const c = at(lock_order_[k]).c_;
    // The fired one was found under its channel's lock. Where it is alone there is nothing to remove and nobody left to wait for.
    const bool only_the_fired = waiter(at(lock_order_[k])) == frame.winner && (k + 1 == channels_ || at(lock_order_[k + 1]).c_ != c);
    if (!only_the_fired) c->lock.lock();
    for (; k < channels_ && at(lock_order_[k]).c_ == c; ++k) {
      select_case& cs = at(lock_order_[k]);
      sudog* sg = waiter(cs);
      if (sg == frame.winner) {
        fired = lock_order_[k];
      } else if (sg->linked) {
        (cs.kind_ == kind::send ? c->sendq : c->recvq).remove(sg);
      }
    }
    if (!only_the_fired) c->lock.unlock();
    WARREN_SYNC_POINT();
  }
  if (fired == kNone) return after_;
  select_case& cs = at(fired);
  const bool success = frame.winner->success;
  if (cs.kind_ == kind::send && !success) send_on_closed(cs.c_);
  if (cs.kind_ == kind::recv) cs.has_value_ = success;
  return fired;
}

int select_operation::run() {
  const int done = choose();
  if (done == kNone) return done;
  const select_case& cs = at(done);
  if (cs.kind_ == kind::recv && cs.has_value_ && cs.c_->type->slot->kind == layout_kind::ambiguous)
    note_received(*cs.c_->type, rt::getg(), cs.elem_);
  return done;
}

[[gnu::always_inline]] inline int select_operation::choose() {
  must_getg("select");
  rt::safepoint();
  classify();
  for (int k = 0; k < channels_; ++k) {
    const select_case& cs = at(poll_order_[k]);
    if (cs.kind_ == kind::send && cs.c_->type->slot->kind == layout_kind::ambiguous) note_sent(*cs.c_->type, cs.elem_);
  }
  shuffle();
  for (int k = 0; k < channels_; ++k) {
    const int i = poll_order_[k];
    if (try_one(at(i))) return i;
  }
  // With at most one channel there is nothing that step 1 could see better.
  if (channels_ <= 1 && otherwise_ != kNone) return otherwise_;
  if (after_ != kNone && otherwise_ == kNone) {
    const int64_t now = rt::nanotime();
    const int64_t delay = at(after_).delay_ns_;
    deadline_ = delay > INT64_MAX - now ? INT64_MAX : now + delay;  // nanoseconds::max() is a customary "never"
  }
  WARREN_SYNC_POINT();
  sort_by_address();
  lock_all();
  const int done = try_all_locked();
  if (done != kNone) return done;
  if (otherwise_ != kNone) {
    unlock_all();
    return otherwise_;
  }
  return wait();
}

}  // namespace detail

int select(std::span<select_case* const> cases) { return detail::select_operation(cases).run(); }

}  // namespace warren
