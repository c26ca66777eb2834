// The collections of a running program: who starts them, who marks, who waits.
//
// One goroutine of the runtime, made at the first request of a run, drives: it parks until somebody wants a collection, starts it, marks in
// pieces, ends it, and wakes who waited. It works in brackets, a piece each, so a stop of the world never finds it in the middle of one,
// and the scheduler treats it like any goroutine in between. A second one sweeps, so that the first is always parked when it is wanted.
//
// Promptness. A small heap is marked in less time than a time slice takes, and a program fills it in less. So the driver must never stand
// in a queue behind a goroutine that allocates: the heap would grow to several times its goal within that goroutine's slice (it did: to
// 20 MB of 4). Who asks for a collection readies the driver, which is next, and gives way. Between its pieces, and at the end of its slice
// (which is the rest of that of who readied it), the driver does not queue but naps, and who allocates while it naps and sees that nothing
// is left to mark, or that the nap should be over, wakes it (hurry) and gives way: the timer would wait for the end of its slice.
//
// Who marks. A quarter of the processors' time goes to marking, as in Go, half of it where there is one: with fewer than four Ps the driver
// works for that part of the time, from the first moment on until it is some way ahead of that, and sleeps for the rest, unless its P has
// nothing else to do; with eight and more, further goroutines do nothing else while a collection marks. Goroutines that allocate help in
// proportion (assist_gc), and wait for workers where there is nothing left to help with and the memory limit is near (gc/assist_queue.h).
// And a P that has nothing to run marks (idle_work): it takes a worker, which does one piece and parks, so that whatever has become
// runnable meanwhile comes first.
//
// When the program ends. A cycle under way is brought to its end before the run does: the heap outlives the run, and a marking without
// a world could not be continued. From then on no collection begins in this run. (Nothing of this runs on the main goroutine's stack:
// others may still look at variables there, to see that they are to end.)
#include <utility>

#include "runtime/memory.h"
#include "runtime/os/clock.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/park.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/timer.h"
#include "warren/go.h"

namespace warren::rt {

namespace {

constexpr uint64_t kPiece = WARREN_CAPACITY(128 * 1024, 1024);  // bytes scanned: 100 µs or so
constexpr int64_t kShortestSleep = 100'000;
constexpr int kRetries = 3;  // of busy stacks, before the world is stopped for them

struct gc_waiter {
  g* gp = nullptr;
  gc_trigger why = gc_trigger::manual;
  gc_report report;
  gc_waiter* next = nullptr;
};

class gc_cycle {
 public:
  void request(gc_trigger why);
  gc_report run(gc_trigger why);
  void begin_run() noexcept;
  void give_way();
  bool may_stop() noexcept;
  runnable* idle_work() noexcept;
  void hurry() noexcept;

 private:
  static bool wait(g* gp, void* waiter) noexcept;
  static bool begin_nap(g* gp, void* self) noexcept;
  bool end_nap() noexcept;
  void nap(int64_t ns);
  void pause(int64_t ns);
  void ask(gc_trigger why);
  void drive();
  void collect(gc_trigger why, bool force);
  void sweep();
  void wake_sweeper();
  void make_workers();
  void work();
  void keep_to_share(int64_t began, int64_t worked);

  mutex lock_;
  // Guarded by lock_.
  bool driven_ = false;  // a driver exists
  bool asleep_ = false;  // and is parked, as driver_
  bool closing_ = false;
  bool wanted_ = false;
  gc_trigger why_ = gc_trigger::manual;
  g* driver_ = nullptr;
  std::atomic<int64_t> nap_ends_{0};  // the driver is parked between two pieces until then; 0: it is not. hurry looks without the lock
  bool sweeper_made_ = false;
  bool sweep_wanted_ = false;  // the sweeper is not parked, and may have looked for the last time
  g* parked_sweeper_ = nullptr;
  uint32_t workers_made_ = 0;
  g* parked_workers_ = nullptr;   // linked by g::next
  uint32_t dedicated_ = 0;        // workers that are still to be started as such in this cycle
  gc_waiter* waiters_ = nullptr;  // for the next collection
  bool stop_is_due_ = false;      // the run waits for the driver
};

gc_cycle& the_cycle() noexcept {
  static gc_cycle c;
  return c;
}

// A goroutine that counts for nobody.
template <class F>
void go_system(F&& f) {
  go([f] {
    getg()->system.store(true, std::memory_order_relaxed);
    m* const mp = rt_enter();
    mp->current_p->counters.ended.add();
    rt_leave(mp);
    f();
  });
}

void gc_cycle::request(gc_trigger why) {
  const int64_t last = memory().gc.last_end();
  ask(why);
  hurry();  // it may have begun, and sweep what the last one has left
  // Where the memory limit sets the goal, who has come to it waits for the marking to begin: the driver may have to wait for a processor.
  collector& gc = memory().gc;
  while (gc.phase() == gc_phase::off && gc.beyond_limit() && gc.last_end() == last) {
    lock_.lock();
    const bool hopeless = closing_;
    lock_.unlock();
    if (hopeless) return;
    gosched();
  }
}

void gc_cycle::ask(gc_trigger why) {
  lock_.lock();
  if (closing_ || wanted_) {
    lock_.unlock();
    return;
  }
  wanted_ = true;
  why_ = why;
  const bool make = !driven_;
  driven_ = true;
  g* const wake = asleep_ ? driver_ : nullptr;
  asleep_ = false;
  lock_.unlock();
  if (make) go_system([] { the_cycle().drive(); });
  if (wake != nullptr) goready(wake);
  if (make || wake != nullptr) gosched();  // it is next
}

// The commit queues the goroutine and wakes the driver: only then can it be served.
bool gc_cycle::wait(g*, void* arg) noexcept {
  auto* const me = static_cast<gc_waiter*>(arg);
  gc_cycle& self = the_cycle();
  g* wake = nullptr;
  self.lock_.lock();
  if (!self.closing_) {  // else the run is about to end, and this goroutine with it
    gc_waiter** last = &self.waiters_;
    while (*last != nullptr) last = &(*last)->next;
    *last = me;
    if (self.asleep_) {
      self.asleep_ = false;
      wake = self.driver_;
    }
  }
  self.lock_.unlock();
  if (wake != nullptr) goready(wake);
  return true;
}

gc_report gc_cycle::run(gc_trigger why) {
  gc_waiter me;
  me.gp = getg();
  me.why = why;
  lock_.lock();
  const bool make = !driven_ && !closing_;
  if (make) driven_ = true;
  lock_.unlock();
  if (make) go_system([] { the_cycle().drive(); });
  gopark(&wait, &me, wait_reason::gc);
  return me.report;
}

void gc_cycle::drive() {
  for (;;) {
    lock_.lock();
    if (closing_ && stop_is_due_) {
      lock_.unlock();
      end_runtime();
    }
    if (closing_ || (!wanted_ && waiters_ == nullptr)) {
      driver_ = getg();
      asleep_ = true;
      gopark(&park_unlock, &lock_, wait_reason::gc);
      continue;
    }
    gc_waiter* const served = waiters_;
    const gc_trigger why = served != nullptr ? served->why : why_;
    waiters_ = nullptr;
    wanted_ = false;
    lock_.unlock();

    collect(why, served != nullptr);
    memory().gc.report_limit();
    if (served != nullptr && served->why == gc_trigger::manual) {
      const int64_t before = nanotime();
      memory().gc.finish_sweep();
      while (!memory().heap.sweep_done()) gosched();  // somebody has the last span
      memory().gc.swept(nanotime() - before);
    }
    start_finalizers();
    wake_sweeper();
    for (gc_waiter* w = served; w != nullptr;) {
      gc_waiter* const next = w->next;
      w->report = memory().gc.report();
      goready(w->gp);
      w = next;
    }
  }
}

bool slice_is_over() noexcept { return (getm()->requests.load(std::memory_order_relaxed) & request_preempt) != 0; }

void gc_cycle::collect(gc_trigger why, bool force) {
  collector& gc = memory().gc;
  memory().heap.gather_tables();
  if (!gc.start(why, force)) return;
  if (gc.phase() == gc_phase::mark) make_workers();
  const int64_t began = nanotime();
  int64_t worked = 0;
  int retries = 0;
  while (gc.phase() == gc_phase::mark) {
    const int64_t before = nanotime();
    m* mp = rt_enter();
    const uint64_t done = gc.work(kPiece, collector::worker::background);
    if (gc.has_work() && mp->sched->idle_p_count() > 0) mp->sched->wake_p(true);  // an idle P finds an idle worker
    const bool idle = done == 0 && gc.idle();
    size_t busy = 0;
    if (idle && retries < kRetries) {
      ++retries;
      busy = gc.retry_stacks();
    }
    rt_leave(mp);
    gc.assists().wake_paid();
    worked += nanotime() - before;
    if (idle && busy == 0 && gc.idle()) {
      if (gc.finish()) gc.assists().wake_paid();  // the rest is forgiven
      continue;
    }
    if (busy != 0 || done == 0) {
      pause(kShortestSleep);  // others are at work, or have been asked to come to a safepoint
    } else if (slice_is_over()) {
      nap(kShortestSleep);
    } else {
      safepoint();
      keep_to_share(began, worked);
    }
  }
}

// Workers are made as many as there are Ps, at the first marking, and kept. Those that are to work all the time are started here.
void gc_cycle::make_workers() {
  const auto procs = static_cast<uint32_t>(maxprocs());
  lock_.lock();
  const uint32_t missing = workers_made_ < procs ? procs - workers_made_ : 0;
  workers_made_ += missing;
  lock_.unlock();
  for (uint32_t i = 0; i < missing; ++i) go_system([] { the_cycle().work(); });
  const auto dedicated = static_cast<uint32_t>(pacer::share(static_cast<int>(procs)) * procs);
  for (uint32_t i = 1; i < dedicated; ++i) {  // the driver is the first
    lock_.lock();
    g* const gp = parked_workers_;
    if (gp != nullptr) {
      parked_workers_ = static_cast<g*>(gp->next);
      gp->next = nullptr;
      ++dedicated_;
    }
    lock_.unlock();
    if (gp == nullptr) break;
    goready(gp);
  }
}

void gc_cycle::work() {
  collector& gc = memory().gc;
  g* const me = getg();
  for (;;) {
    lock_.lock();
    me->next = parked_workers_;
    parked_workers_ = me;
    gopark(&park_unlock, &lock_, wait_reason::gc);
    lock_.lock();
    const bool dedicated = dedicated_ > 0;
    if (dedicated) --dedicated_;
    lock_.unlock();
    for (;;) {
      m* const mp = rt_enter();
      const uint64_t done = gc.work(kPiece, dedicated ? collector::worker::background : collector::worker::idle);
      rt_leave(mp);
      gc.assists().wake_paid();
      if (!dedicated || done == 0) break;
      safepoint();
    }
  }
}

// Asked by a P that has found nothing to run.
runnable* gc_cycle::idle_work() noexcept {
  if (!memory().gc.has_work()) return nullptr;
  if (!lock_.try_lock()) return nullptr;
  g* const gp = parked_workers_;
  if (gp != nullptr) {
    parked_workers_ = static_cast<g*>(gp->next);
    gp->next = nullptr;
  }
  lock_.unlock();
  if (gp != nullptr) gp->status.store(g_status::runnable, std::memory_order_relaxed);
  return gp;
}

// The background sweeper. It gives way after every few spans: who needs the memory sooner sweeps for itself.
void gc_cycle::sweep() {
  constexpr int kSpans = 16;
  for (;;) {
    for (int swept = 1; memory().heap.sweep_one(); ++swept)
      if (swept % kSpans == 0) gosched();
    lock_.lock();
    if (std::exchange(sweep_wanted_, false)) {  // since the last look
      lock_.unlock();
      continue;
    }
    parked_sweeper_ = getg();
    gopark(&park_unlock, &lock_, wait_reason::gc);
  }
}

void gc_cycle::wake_sweeper() {
  if (memory().heap.sweep_done()) return;
  lock_.lock();
  const bool make = !sweeper_made_;
  sweeper_made_ = true;
  sweep_wanted_ = !make && parked_sweeper_ == nullptr;
  g* const wake = std::exchange(parked_sweeper_, nullptr);
  lock_.unlock();
  if (make) go_system([] { the_cycle().sweep(); });
  if (wake != nullptr) goready(wake);
}

// Is something waiting for the P of the caller?
bool others_wait() noexcept {
  m* const mp = rt_enter();
  const bool waits = !mp->current_p->runq.empty() || mp->sched->global_size() != 0;
  rt_leave(mp);
  return waits;
}

void gc_cycle::keep_to_share(int64_t began, int64_t worked) {
  const double share = pacer::share(maxprocs()) * maxprocs();
  if (share >= 1) return;
  const int64_t due = pacer::rest(worked, nanotime() - began, share);
  if (due >= kShortestSleep) pause(due);
}

// ---- the driver's naps ------------------------------------------------------------------------------------------------------------------
void gc_cycle::give_way() {
  if (slice_is_over()) {
    nap(kShortestSleep);
  } else {
    safepoint();
  }
}

// Leaves the P to others, if there are any.
void gc_cycle::pause(int64_t ns) {
  if (others_wait()) {
    nap(ns);
  } else {
    gosched();
  }
}

void gc_cycle::nap(int64_t ns) {
  g* const gp = getg();
  gp->sleep_timer.fn = [](void* self, uintptr_t) { static_cast<gc_cycle*>(self)->end_nap(); };
  gp->sleep_timer.arg = this;
  gp->sleep_timer.when = nanotime() + ns;
  gopark(&begin_nap, this, wait_reason::gc);
  timer_stop_sync(&gp->sleep_timer);
}

bool gc_cycle::begin_nap(g* gp, void* arg) noexcept {
  auto* const self = static_cast<gc_cycle*>(arg);
  self->lock_.lock();
  self->driver_ = gp;
  self->nap_ends_.store(gp->sleep_timer.when, std::memory_order_relaxed);
  timer_start(&gp->sleep_timer);  // fires on another P at once, perhaps, and waits for the lock
  self->lock_.unlock();
  return true;
}

bool gc_cycle::end_nap() noexcept {
  lock_.lock();
  g* const wake = nap_ends_.exchange(0, std::memory_order_relaxed) != 0 ? driver_ : nullptr;
  lock_.unlock();
  if (wake != nullptr) goready(wake);
  return wake != nullptr;
}

// By a goroutine that allocates while a collection marks, or is wanted.
void gc_cycle::hurry() noexcept {
  const int64_t nap_ends = nap_ends_.load(std::memory_order_relaxed);
  if (nap_ends == 0 || (!memory().gc.idle() && nanotime() < nap_ends)) return;
  if (end_nap()) gosched();  // the driver is next
}

void gc_cycle::begin_run() noexcept {
  lock_.lock();
  driven_ = asleep_ = closing_ = wanted_ = stop_is_due_ = sweeper_made_ = sweep_wanted_ = false;
  nap_ends_.store(0, std::memory_order_relaxed);
  parked_sweeper_ = nullptr;
  waiters_ = nullptr;
  workers_made_ = dedicated_ = 0;
  parked_workers_ = nullptr;
  lock_.unlock();
}

// The main goroutine has ended.
bool gc_cycle::may_stop() noexcept {
  lock_.lock();
  closing_ = true;
  stop_is_due_ = driven_ && !asleep_;
  const bool now = !stop_is_due_;
  lock_.unlock();
  return now;
}

const bool cycle_hooks_set = [] {
  sched_hooks.runtime_may_stop = [] { return the_cycle().may_stop(); };
  sched_hooks.idle_work = [] { return the_cycle().idle_work(); };
  return true;
}();

}  // namespace

void request_gc(gc_trigger why) { the_cycle().request(why); }
gc_report run_gc(gc_trigger why) { return the_cycle().run(why); }
void collection_gives_way() { the_cycle().give_way(); }
void begin_run_of_gc() noexcept { the_cycle().begin_run(); }

namespace {
struct assisting : assist_queue::waiter {
  g* gp = nullptr;
};
}  // namespace

void assist_gc() noexcept {
  collector& gc = memory().gc;
  assisting me;
  m* const mp = rt_enter();
  mcache& c = *mp->current_p->cache;
  bool paid = true;
  if (c.black && c.charged_bytes != 0) {
    const uint64_t bytes = c.charged_bytes;
    c.charged_bytes = 0;
    paid = gc.assist(bytes, &c.mark_credit);
    if (!paid) me.debt = -std::exchange(c.mark_credit, 0);  // it goes where this goroutine goes
  }
  rt_leave(mp);
  the_cycle().hurry();
  if (paid) return;
  me.wake = [](assist_queue::waiter* w) noexcept { goready(static_cast<assisting*>(w)->gp); };
  const auto wait = [](g* gp, void* arg) noexcept {
    auto* const me = static_cast<assisting*>(arg);
    me->gp = gp;
    return memory().gc.assists().wait(me);
  };
  gopark(wait, &me, wait_reason::gc);
}

}  // namespace warren::rt
