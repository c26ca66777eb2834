#include "netpoll/poll_desc.h"

#include <mutex>
#include <new>

#include "netpoll/poller.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sync/deferred_go.h"

namespace warren::rt {

constinit std::atomic<poll_hook> poll_test_hook{nullptr};

namespace {
inline void at(poll_point where, poll_desc* pd) noexcept {
  if (poll_hook hook = poll_test_hook.load(std::memory_order_relaxed)) [[unlikely]]
    hook(where, pd);
}

uint32_t this_run() noexcept { return static_cast<uint32_t>(scheduler::run_number()); }
bool of_this_run(uint32_t run) noexcept { return run == this_run() && scheduler::current() != nullptr; }
}  // namespace

// --- the pool --------------------------------------------------------------------------------------------------------------------------

// Chunks are found by index without a lock: a chunk's pointer is published once and stays.
struct poll_desc_pool {
  static constexpr uint32_t kChunk = 128;     // about 40 KiB at a time
  static constexpr uint32_t kChunks = 32768;  // four million descriptors; the table is touched as far as it is used

  mutex lock;
  poll_desc* free = nullptr;  // guarded by lock
  uint32_t made = 0;          // guarded by lock
  std::atomic<poll_desc*> chunk[kChunks];

  poll_desc* get() {
    std::lock_guard held(lock);
    if (free == nullptr) {
      if (made == kChunk * kChunks) fatal("more than %u open descriptors; raise poll_desc_pool::kChunks", made);
      poll_desc* items = new poll_desc[kChunk];
      for (uint32_t i = kChunk; i-- > 0;) {
        items[i].index_ = made + i;
        items[i].link_ = free;
        free = &items[i];
      }
      chunk[made / kChunk].store(items, std::memory_order_release);
      made += kChunk;
    }
    poll_desc* pd = free;
    free = pd->link_;
    return pd;
  }
  void put(poll_desc* pd) noexcept {
    std::lock_guard held(lock);
    pd->link_ = free;  // last in, first out: its cache lines are warm
    free = pd;
  }
};

namespace {
constinit poll_desc_pool pool;
}

poll_desc* poll_desc::acquire() {
  poll_desc* pd = pool.get();
  for (side* s : {&pd->read_, &pd->write_}) {
    s->word.store(word_nil, std::memory_order_relaxed);
    s->deadline.store(0, std::memory_order_relaxed);
    s->abandoned.store(false, std::memory_order_relaxed);
  }
  const uint64_t generation = (pd->state_.load(std::memory_order_relaxed) >> kGenerationShift) + 1;
  pd->state_.store(generation << kGenerationShift, std::memory_order_seq_cst);
  return pd;
}

void poll_desc::release(poll_desc* pd) noexcept {
  pd->disarm(pd->read_);
  pd->disarm(pd->write_);
  const uint64_t generation = (pd->state_.load(std::memory_order_relaxed) >> kGenerationShift) + 1;
  pd->state_.store(generation << kGenerationShift | kClosing, std::memory_order_seq_cst);
  pool.put(pd);
}

poll_desc* poll_desc::of_token(uint64_t token) noexcept {
  const uint32_t index = static_cast<uint32_t>(token);
  if (index / poll_desc_pool::kChunk >= poll_desc_pool::kChunks) return nullptr;
  poll_desc* items = pool.chunk[index / poll_desc_pool::kChunk].load(std::memory_order_acquire);
  return items == nullptr ? nullptr : &items[index % poll_desc_pool::kChunk];
}

uint64_t poll_desc::token() const noexcept {
  const uint64_t generation = state_.load(std::memory_order_relaxed) >> kGenerationShift;
  return generation << kGenerationShift | index_;
}

// --- waiting ---------------------------------------------------------------------------------------------------------------------------

poll_error poll_desc::check(uint8_t s) const noexcept {
  if ((state_.load(std::memory_order_seq_cst) & kClosing) != 0) return poll_error::closing;
  const int64_t deadline = of(s).deadline.load(std::memory_order_seq_cst);
  if (deadline != 0 && nanotime() >= deadline) return poll_error::timeout;
  return poll_error::none;
}

bool poll_desc::ended() const noexcept { return (state_.load(std::memory_order_acquire) & kEnded) != 0; }

bool poll_desc::edge_remembered(uint8_t s) const noexcept { return of(s).word.load(std::memory_order_relaxed) == word_ready; }

poll_error poll_desc::prepare(uint8_t s) noexcept {
  const poll_error e = check(s);
  if (e != poll_error::none) return e;
  std::atomic<uintptr_t>& word = of(s).word;
  // Mostly nil already: no fence then. A `ready` that this load misses stays where it is and costs one system call too many later.
  if (word.load(std::memory_order_relaxed) != word_nil) word.exchange(word_nil, std::memory_order_seq_cst);
  return poll_error::none;
}

// wait → r, unless an edge, the deadline or close came first.
bool poll_desc::publish(runnable* r, std::atomic<uintptr_t>& word) noexcept {
  poller::made().add_waiters(1);
  uintptr_t expected = word_wait;
  if (word.compare_exchange_strong(expected, reinterpret_cast<uintptr_t>(r), std::memory_order_seq_cst)) return true;
  poller::made().add_waiters(-1);
  return false;
}

// On the scheduler's stack, the goroutine's context saved.
bool poll_desc::commit_park(g* gp, void* side_word) noexcept { return publish(gp, *static_cast<std::atomic<uintptr_t>*>(side_word)); }

// nil → wait. false: an edge is remembered.
bool poll_desc::begin_wait(side& s) noexcept {
  uintptr_t expected = word_nil;
  if (s.word.compare_exchange_strong(expected, word_wait, std::memory_order_seq_cst)) return true;
  if (expected != word_ready)
    fatal("two goroutines wait for the same direction of a descriptor (word %#lx); take its lock", static_cast<unsigned long>(expected));
  return false;
}

// What the last look before a wait does: the one who is about to wait owns the timer.
void poll_desc::arm_for_deadline(side& s) {
  if (const int64_t deadline = s.deadline.load(std::memory_order_seq_cst); deadline != 0) arm_for(s, deadline);
  s.parked_in_run = this_run();
}

poll_error poll_desc::wait(uint8_t s) {
  side& me = of(s);
  at(poll_point::before_wait, this);
  for (;;) {
    if (const poll_error e = check(s); e != poll_error::none) return e;
    if (!begin_wait(me)) {
      me.word.exchange(word_nil, std::memory_order_seq_cst);
      return poll_error::none;
    }
    at(poll_point::before_park, this);
    poll_error e = check(s);
    if (e == poll_error::none) {
      arm_for_deadline(me);
      gopark(&commit_park, &me.word, wait_reason::io_wait);
    }
    // Readiness that came meanwhile is not thrown away, whatever else happened.
    const uintptr_t old = me.word.exchange(word_nil, std::memory_order_seq_cst);
    if (old == word_ready) return poll_error::none;
    if (old > word_wait) fatal("poll_desc %u: woken while still registered (word %#lx)", index_, static_cast<unsigned long>(old));
    if (e != poll_error::none) return e;
    // Woken by close or a deadline: check() says which. Or by a timer that was armed for an earlier one: wait again.
  }
}

// Whatever ends it early stays as it was found, for the wait that follows.
bool poll_desc::start_when_ready(uint8_t s, detail::newborn* nb) {
  side& me = of(s);
  at(poll_point::before_wait, this);
  if (!begin_wait(me)) return false;
  at(poll_point::before_park, this);
  if (check(s) == poll_error::none) {
    arm_for_deadline(me);
    if (publish(nb, me.word)) return true;
  }
  uintptr_t expected = word_wait;
  me.word.compare_exchange_strong(expected, word_nil, std::memory_order_seq_cst);
  return false;
}

// Takes out who waits, if anybody does, and marks the word. The caller readies or starts what is returned.
runnable* poll_desc::unblock(side& s, bool ready) noexcept {
  uintptr_t old = s.word.load(std::memory_order_seq_cst);
  for (;;) {
    if (old == word_ready) return nullptr;
    if (old == word_nil && !ready) return nullptr;  // a later wait checks the flags itself
    if (s.word.compare_exchange_weak(old, ready ? word_ready : word_nil, std::memory_order_seq_cst)) break;
  }
  if (old <= word_wait) return nullptr;  // about to park: its commit fails
  if (!of_this_run(s.parked_in_run)) {
    s.abandoned.store(true, std::memory_order_release);
    return nullptr;
  }
  return reinterpret_cast<runnable*>(old);
}

bool poll_desc::on_event(uint64_t token, uint8_t sides, bool ended, runnable_list& out) noexcept {
  const uint64_t generation = token >> kGenerationShift;
  uint64_t state = state_.load(std::memory_order_seq_cst);
  do {
    if (state >> kGenerationShift != generation) return false;
  } while (ended && (state & kEnded) == 0 && !state_.compare_exchange_weak(state, state | kEnded, std::memory_order_seq_cst));
  at(poll_point::event_checked, this);
  if ((sides & kReadSide) != 0) {
    if (runnable* r = unblock(read_, true)) out.push(r);
  }
  if ((sides & kWriteSide) != 0) {
    if (runnable* r = unblock(write_, true)) out.push(r);
  }
  return true;
}

// --- deadlines and close
// ------------------------------------------------------------------------------------------------------------------

void ready(runnable* r) noexcept {
  if (r->is_newborn) {
    detail::start_deferred(static_cast<detail::newborn*>(r));
  } else {
    goready(static_cast<g*>(r));
  }
}

namespace {
void ready_waiter(runnable* r) noexcept {
  if (r == nullptr) return;
  poller::made().add_waiters(-1);
  ready(r);
}
}  // namespace

// Makes sure that the timer fires at `when` or before.
void poll_desc::arm_for(side& s, int64_t when) {
  if (s.armed_in_run != this_run()) {
    forget_timer(s);
  } else if (is_armed(s)) {
    if (s.armed <= when) return;
    timer_stop_sync(&s.deadline_timer);
  }
  s.armed = when;
  s.armed_in_run = this_run();
  s.deadline_timer.fn = &s == &read_ ? &on_read_timer : &on_write_timer;
  s.deadline_timer.arg = this;
  s.deadline_timer.seq = ++s.armings;
  s.deadline_timer.when = when;
  s.deadline_timer.period = 0;
  timer_start(&s.deadline_timer);
}

// On return the timer is not armed. Its function may still be in its last instructions if it has left its number; then it can at most wake
// somebody who waits here next, too early.
void poll_desc::disarm(side& s) noexcept {
  if (!is_armed(s)) return;
  if (of_this_run(s.armed_in_run)) {
    timer_stop_sync(&s.deadline_timer);
    s.fired.store(s.armings, std::memory_order_relaxed);
  } else {
    forget_timer(s);
  }
}

// The timer was used in an earlier run, whose heaps are gone: the timer must not look for the one it was in, armed or not.
void poll_desc::forget_timer(side& s) noexcept {
  s.deadline_timer.home.store(nullptr, std::memory_order_relaxed);
  s.deadline_timer.index = -1;
  s.fired.store(s.armings, std::memory_order_relaxed);
}

void poll_desc::on_read_timer(void* pd, uintptr_t seq) {
  poll_desc* self = static_cast<poll_desc*>(pd);
  self->on_timer(self->read_, seq);
}

void poll_desc::on_write_timer(void* pd, uintptr_t seq) {
  poll_desc* self = static_cast<poll_desc*>(pd);
  self->on_timer(self->write_, seq);
}

void poll_desc::on_timer(side& s, uintptr_t seq) noexcept {
  at(poll_point::timer_entered, this);
  s.fired.store(seq, std::memory_order_release);
  ready_waiter(unblock(s, false));
}

void poll_desc::set_deadline(int64_t when, uint8_t sides) noexcept {
  for (const uint8_t which : {kReadSide, kWriteSide}) {
    if ((sides & which) == 0) continue;
    side& s = of(which);
    const int64_t old = s.deadline.exchange(when, std::memory_order_seq_cst);
    // Later or none: the armed timer comes too early, no harm. Earlier: who is parked has to arm it anew.
    if (when != 0 && (old == 0 || when < old)) ready_waiter(unblock(s, false));
  }
}

uint8_t poll_desc::evict() noexcept {
  at(poll_point::before_evict, this);
  if ((state_.fetch_or(kClosing, std::memory_order_seq_cst) & kClosing) != 0) fatal("poll_desc %u evicted twice", index_);
  ready_waiter(unblock(read_, false));
  ready_waiter(unblock(write_, false));
  return static_cast<uint8_t>((read_.abandoned.load(std::memory_order_acquire) ? kReadSide : 0) |
                              (write_.abandoned.load(std::memory_order_acquire) ? kWriteSide : 0));
}

}  // namespace warren::rt
