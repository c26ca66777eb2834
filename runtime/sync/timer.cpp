// Timers and tickers.
//
// A channel timer is one collected object: the scheduler's timer, a channel, and the channel's buffer of one value. A chan handle to it is
// a pointer into the middle of that object and so keeps all of it: for (auto t : tick(1s)) needs nothing else. The scheduler's heap of
// timers keeps nothing (it lies outside of what is scanned): when no handle is left, the object's finalizer takes the timer out of that
// heap, and the memory is free one collection later. Until then the timer may fire into an object that is still whole.
//
// No stale values. The firing side runs without any lock of the timer, on any P, and may be overtaken by a stop or a reset between the
// moment it was taken out of the heap and the moment it sends. So each start has a number. The number of the current one is guarded by the
// channel's lock; the firing side compares it, under that lock, with the number it was started with, and sends nothing if they differ.
// stop and reset change the number and empty the buffer under the same lock. Every value is thus either received before, or never.
//
//   stop, reset                             firing (scheduler's stack)
//   lock state                              (the timer is out of the heap)
//   take the timer out of the heap          lock channel
//   lock channel                              if number ≠ mine: unlock, done
//     ++number; empty the buffer              hand over to a receiver, or put it into the buffer
//   unlock channel                          unlock channel
//   [start with the new number]
//   unlock state
//
// Locks are taken in the order state, channel; state, heap of timers. The firing side takes the channel's alone, because timer_start may
// wait for the function's end.
//
// What stop answers: true if the event of the current start was prevented: it was not sent (this includes a firing on its way: it will find
// another number), or was sent into the buffer and is there no more. Go answers the same.
//
// A timer with a function starts a goroutine, made when the timer is armed (runtime/sync/deferred_go.h); its argument is that newborn, not
// the state, so nothing has to be told to a firing that a stop came too late for.
//
// Rejected: an ordinary channel of capacity one and a loop "if (!t.stop()) drain" for the user (Go before 1.23; nearly everybody got it
// wrong); letting the channel ask the timer lazily (Go 1.23 does that, so that timers nobody waits for cost nothing in the heap of timers:
// it would put a test into every channel operation).
#include "warren/timer.h"

#include <mutex>
#include <utility>

#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sync/deferred_go.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/timer_state.h"
#include "warren/go.h"

namespace warren {

namespace detail {

namespace {

constexpr type_descriptor kTimeSlot{
    sizeof(timer::time_point), alignof(timer::time_point), layout_kind::noscan, 0, nullptr, nullptr, "time"};
constexpr elem_type kTimes{
    sizeof(timer::time_point), alignof(timer::time_point), elem_kind::copy8, nullptr, nullptr, &kTimeSlot, false, true};

// A value on its way. As large as the largest element that a channel moves as a word: the compiler does not know which kind it is.
struct time_in_transit {
  timer::time_point at;
  int64_t unused = 0;
};

// The collector need not look inside: the only pointer leads to the object itself.
struct channel_timer : timer_state {
  using collected = finalized_with<noscan>;

  channel_timer() : timer_state(kind::channel), channel(kTimes, buffer, 1) {}
  ~channel_timer() { timer.stop_sync(); }

  bool stop_locked() noexcept;
  void start_locked(int64_t delay_ns, int64_t period_ns);
  static void fire(void* arg, uintptr_t number);

  hchan channel;
  alignas(timer::time_point) std::byte buffer[sizeof(timer::time_point)];
  // Guarded by the channel's lock.
  uint64_t number = 0;  // of the current start
  bool sent = false;    // by the current start
  // Guarded by the state's lock.
  bool started = false;  // and not stopped since. Says nothing about firing
  int64_t period = 0;
};

struct function_timer : timer_state {
  explicit function_timer(const boxed_function& f) : timer_state(kind::function), function(f) {}

  newborn* stop_locked() noexcept { return timer.stop() ? static_cast<newborn*>(timer.arg()) : nullptr; }
  void start_locked(newborn* nb, int64_t delay_ns) { timer.start(&fire, nb, 0, time_from_now(delay_ns), 0); }
  newborn* make_goroutine() {
    return defer_goroutine(ptr<void>(static_cast<void*>(this)), [](void* self) { static_cast<function_timer*>(self)->function(); });
  }
  static void fire(void* nb, uintptr_t) { start_deferred(static_cast<newborn*>(nb)); }

  const boxed_function function;
  WARREN_FIELDS_WITH_BASE(timer_state, function);
};

void channel_timer::fire(void* arg, uintptr_t number) {
  auto* t = static_cast<channel_timer*>(arg);
  hchan* const c = &t->channel;
  time_in_transit now{timer::time_point(std::chrono::nanoseconds(rt::nanotime()))};
  WARREN_SYNC_POINT();
  c->lock.lock();
  if (number != t->number || c->closed.load(std::memory_order_relaxed)) {
    c->lock.unlock();
    return;
  }
  t->sent = true;
  if (sudog* receiver = c->recvq.dequeue()) {
    c->lock.unlock();
    WARREN_SYNC_POINT();
    move_construct(*c->type, receiver->elem, &now);
    wake(receiver, true);
    return;
  }
  if (c->count() == 0) c->push(&now);
  c->lock.unlock();
}

// REQUIRES: lock held. Was there an event to prevent?
bool channel_timer::stop_locked() noexcept {
  const bool was_started = started && timer.of_this_run();
  timer.stop();
  started = false;
  WARREN_SYNC_POINT();
  channel.lock.lock();
  ++number;
  bool undelivered = !sent;
  if (channel.count() != 0) {
    time_in_transit nobody_s;
    channel.pop(&nobody_s);
    undelivered = true;
  }
  channel.lock.unlock();
  return was_started && (undelivered || period > 0);
}

// REQUIRES: lock held; stopped.
void channel_timer::start_locked(int64_t delay_ns, int64_t period_ns) {
  channel.lock.lock();
  sent = false;
  const uint64_t mine = number;
  channel.lock.unlock();
  period = period_ns;
  started = true;
  timer.start(&fire, this, mine, time_from_now(delay_ns), period_ns);
}

channel_timer& channel_of(const ptr<timer_state>& t) noexcept { return *static_cast<channel_timer*>(t.get()); }
function_timer& function_of(const ptr<timer_state>& t) noexcept { return *static_cast<function_timer*>(t.get()); }

// What both need to say about misuse.
void must_be_made(const ptr<timer_state>& t, const char* what) {
  if (t == nullptr) rt::fatal("goroutine %llu: %s: make it with a duration first", static_cast<unsigned long long>(goroutine_id()), what);
  must_getg(what);
}

int64_t must_be_positive(std::chrono::nanoseconds d) {
  if (d.count() <= 0) {
    rt::fatal("goroutine %llu: ticker with period %lld ns: it must be positive", static_cast<unsigned long long>(goroutine_id()),
              static_cast<long long>(d.count()));
  }
  return d.count();
}

bool reset_channel_timer(channel_timer& t, int64_t delay_ns, int64_t period_ns) {
  std::lock_guard hold(t.lock);
  const bool prevented = t.stop_locked();
  t.start_locked(delay_ns, period_ns);
  return prevented;
}

chan<timer::time_point> handle_of(const ptr<timer_state>& t) noexcept {
  if (t == nullptr || t->what != timer_state::kind::channel) return {};
  return chan_access::wrap<chan<timer::time_point>>(ptr<hchan>(&channel_of(t).channel));
}

}  // namespace

ptr<timer_state> new_channel_timer(int64_t delay_ns, int64_t period_ns) {
  const ptr<channel_timer> t = make<channel_timer>();
  std::lock_guard hold(t->lock);
  t->start_locked(delay_ns, period_ns);
  return t;
}

ptr<timer_state> new_function_timer(int64_t delay_ns, const boxed_function& f) {
  const ptr<function_timer> t = make<function_timer>(f);
  newborn* const nb = t->make_goroutine();
  std::lock_guard hold(t->lock);
  t->start_locked(nb, delay_ns);
  return t;
}

}  // namespace detail

chan<timer::time_point> timer::c() const noexcept { return detail::handle_of(t_); }

bool timer::stop() const {
  using namespace detail;
  must_be_made(t_, "timer::stop of a nil timer");
  rt::safepoint();
  if (t_->what == timer_state::kind::channel) {
    std::lock_guard hold(t_->lock);
    return channel_of(t_).stop_locked();
  }
  newborn* nb;
  {
    std::lock_guard hold(t_->lock);
    nb = function_of(t_).stop_locked();
  }
  if (nb == nullptr) return false;
  drop_deferred(nb);
  return true;
}

bool timer::reset(std::chrono::nanoseconds d) const {
  using namespace detail;
  must_be_made(t_, "timer::reset of a nil timer");
  rt::safepoint();
  if (t_->what == timer_state::kind::channel) return reset_channel_timer(channel_of(t_), d.count(), 0);
  function_timer& t = function_of(t_);
  newborn* spare = t.make_goroutine();  // may wait for a P: not under the lock
  bool prevented;
  {
    std::lock_guard hold(t.lock);
    newborn* const pending = t.stop_locked();
    prevented = pending != nullptr;
    t.start_locked(prevented ? pending : std::exchange(spare, nullptr), d.count());
  }
  if (spare != nullptr) drop_deferred(spare);
  return prevented;
}

ticker::ticker(std::chrono::nanoseconds d) {
  const int64_t period = detail::must_be_positive(d);
  t_ = detail::new_channel_timer(period, period);
}

chan<timer::time_point> ticker::c() const noexcept { return detail::handle_of(t_); }

void ticker::stop() const {
  detail::must_be_made(t_, "ticker::stop of a nil ticker");
  rt::safepoint();
  std::lock_guard hold(t_->lock);
  detail::channel_of(t_).stop_locked();
}

void ticker::reset(std::chrono::nanoseconds d) const {
  const int64_t period = detail::must_be_positive(d);
  detail::must_be_made(t_, "ticker::reset of a nil ticker");
  rt::safepoint();
  detail::reset_channel_timer(detail::channel_of(t_), period, period);
}

}  // namespace warren
