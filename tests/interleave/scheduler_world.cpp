// Instrumented, like the program: what it does to Ms and goroutines is part of it.
#include "scheduler_world.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <new>

#include "engine/memory.h"
#include "runtime/os/clock.h"
#include "runtime/os/critical.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/hooks.h"
#include "runtime/stack/context.h"
#include "warren/detail/barrier.h"

#if defined(__clang__)
#define WARREN_NOT_INSTRUMENTED __attribute__((noinline, disable_sanitizer_instrumentation))
#else
#define WARREN_NOT_INSTRUMENTED __attribute__((noinline, no_sanitize_thread))
#endif

// What getm() reads (runtime/sched/m.h). The threads of a scenario share one thread of the system: set at each switch.
extern "C" {
[[gnu::visibility("hidden")]] thread_local warren::rt::m* warren_current_m = nullptr;
}

namespace {
// Of the execution under way.
warren::rt::m* m_of_thread[interleave::kMaxThreads];
bool signalled[interleave::kMaxThreads];  // by m::tid: a signal is on its way

const bool registered = [] {
  interleave::before_each_execution([] {
    for (auto& mp : m_of_thread) mp = nullptr;
    for (bool& x : signalled) x = false;
  });
  interleave::at_tgkill([](int tid) { signalled[tid] = true; });
  interleave::at_each_switch([](int t) { warren_current_m = m_of_thread[t]; });
  return true;
}();

struct thread_start {
  void* (*fn)(void*);
  void* arg;
};
void run_thread(void* p) {
  auto* start = static_cast<thread_start*>(p);
  start->fn(start->arg);
}
}  // namespace

// The scheduler starts threads: here, of the scenario. (Nothing else in these programs does.)
extern "C" int pthread_create(pthread_t* handle, const pthread_attr_t*, void* (*fn)(void*), void* arg) noexcept {
  *handle = pthread_t{1};
  interleave::spawn("new M", &run_thread, new thread_start{fn, arg});
  return 0;
}

namespace warren::rt {

constinit scheduler_hooks sched_hooks{};

WARREN_NOT_INSTRUMENTED void setm(m* mp) noexcept {
  m_of_thread[interleave::current_thread()] = mp;
  warren_current_m = mp;
}
void m::begin_thread() {}
void alternate_stack::teardown() {}
void thread_state_init(thread_state&) noexcept {}
void adopt_thread(fiber& f) noexcept { f = fiber{}; }

WARREN_NOT_INSTRUMENTED void switch_fiber(thread_state&, fiber& from, fiber& to, bool) noexcept {
  warren_context_switch(&from.ctx.sp, to.ctx.sp);
}

// As in sched/m.cpp.
uint32_t enter_critical() noexcept {
  m* mp = getm();
  if (mp == nullptr) return 2;
  const uint32_t outer = mp->in_rt.load(std::memory_order_relaxed);
  mp->in_rt.store(1, std::memory_order_relaxed);
  return outer;
}
void leave_critical(uint32_t outer) noexcept {
  if (outer != 2) getm()->in_rt.store(outer, std::memory_order_release);
}

const void* interrupted_sp(const void*) noexcept { return nullptr; }
void take_sample(stack_sample&, const g*, const void*) noexcept {}
const char* to_string(g_status) noexcept { return "in another state"; }
void check_not_forked() noexcept {}  // nobody forks here
void scheduler::check_dead() noexcept {}
g* goroutine_pool::g_get(p*, uint8_t) { interleave::fail(interleave::outcome::fatal, "there are no newborns here"); }
void prepare_fiber(fiber&, stack_arena&, std::byte*, std::byte*, void (*)(void*), void*, void (*)(void*)) noexcept {}
void goroutine_entry(void*) {}
void goexit(void*) {}
void stack_scavenger::begin_sample(p*, g*, uint32_t) noexcept {}
// No collection marks in the model.
constinit std::atomic<uint32_t> marking_cycle{0};
g_table::~g_table() = default;
void stack_scan::runs(g*) noexcept {}
void stack_scan::born(g*, detail::newborn*) noexcept {}
void take_newborn_slow(detail::newborn*) noexcept {}
uint32_t& stack_scavenger::countdown_of(p* pp) noexcept { return pp->stack_sample_countdown; }

int64_t nanotime() noexcept { return interleave::now(); }
void print_error(const char*, ...) noexcept {}
void fatal(const char* format, ...) noexcept {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  interleave::fail(interleave::outcome::fatal, text);
}

std::atomic<scheduler*> scheduler::running_{nullptr};
std::atomic<scheduler*> scheduler::admitting_{nullptr};
std::atomic<int> scheduler::guests_{0};

namespace {
p_table& an_empty_table = *new p_table;  // made before any execution: its array is not the scenario's memory
}

// The scheduler's constructor would make a whole runtime. Everything that these programs use is zero at first, but for this.
struct scheduler_test {
  static scheduler* make(uint32_t procs, uint32_t most_threads, netpoller* poller) {
    void* const memory = ::operator new (sizeof(scheduler), std::align_val_t{alignof(scheduler)});
    memset(memory, 0, sizeof(scheduler));
    auto* s = static_cast<scheduler*>(memory);
    memcpy(static_cast<void*>(&s->all_p_), static_cast<const void*>(&an_empty_table), sizeof s->all_p_);
    memset(const_cast<void*>(static_cast<const void*>(s->all_p_.begin())), 0, procs * sizeof(std::unique_ptr<p>));
    const_cast<uint32_t&>(s->max_ms_) = most_threads;
    s->poller_.store(poller, std::memory_order_relaxed);
    s->last_poll_.store(1, std::memory_order_relaxed);
    for (uint32_t i = 0; i < procs; ++i) {
      s->all_p_.append(std::make_unique<p>(static_cast<int32_t>(i)));
      s->all_p_[i]->runq.set_unshared(procs == 1);
    }
    s->all_p_.use(procs);
    for (uint32_t i = procs; i-- > 0;) s->idle_p_put(s->all_p_[i].get());
    scheduler::running_.store(s, std::memory_order_relaxed);
    scheduler::admitting_.store(s, std::memory_order_relaxed);
    return s;
  }
  static void add_m(scheduler* s, m* mp) {
    mp->sched = s;
    mp->id = static_cast<int32_t>(s->m_count_.fetch_add(1, std::memory_order_relaxed));
    mp->tid = mp->id + 1;
    mp->random = static_cast<uint32_t>(mp->id) * 2654435761u + 1;
    mp->all_link = s->all_m_.load(std::memory_order_relaxed);
    s->all_m_.store(mp, std::memory_order_relaxed);
  }
  // Takes pp out of the list of idle Ps.
  static void take(scheduler* s, p* pp) {
    p** at = &s->idle_ps_;
    while (*at != pp) at = &(*at)->link;
    *at = pp->link;
    pp->link = nullptr;
    s->idle_p_count_.fetch_sub(1, std::memory_order_relaxed);
  }
  static void add_spinning(scheduler* s) { s->spinning_.fetch_add(1, std::memory_order_relaxed); }
  static void add_idle(scheduler* s, m* mp) {
    mp->idle_link = s->idle_ms_;
    s->idle_ms_ = mp;
    ++s->idle_m_count_;
  }
  // As sysmon does (sched/sysmon.cpp, take_from_blocked).
  static void take_away(scheduler* s, p* pp) {
    m* mp = pp->mp.load(std::memory_order_acquire);
    if (mp == nullptr || pp->status.load(std::memory_order_acquire) != p_status::running) return;
    if (s->revoke(pp, mp, pp->schedtick.load(std::memory_order_relaxed), false)) s->hand_off_p(pp);
  }
  // scheduler::begin_exit and wake_all_idle (lifecycle.cpp).
  static void exit(scheduler* s) {
    s->exiting_.store(true, std::memory_order_seq_cst);
    s->lock_.lock();
    m* idle = s->idle_ms_;
    s->idle_ms_ = nullptr;
    s->idle_m_count_ = 0;
    s->lock_.unlock();
    while (idle != nullptr) {
      m* next = idle->idle_link;
      idle->park.wakeup();
      idle = next;
    }
    s->poller_.load(std::memory_order_acquire)->wake();
  }
};

}  // namespace warren::rt

namespace interleave {

using namespace warren::rt;

runnable_list poller_model::poll(int64_t delay_ns) {
  constexpr int64_t kFar = 1'000'000'000;
  if (delay_ns != 0) {
    event_.sleep(delay_ns > kFar ? -1 : delay_ns);
    event_.clear();
  }
  runnable_list list;
  if (g* gp = ready_.exchange(nullptr, std::memory_order_acq_rel)) {
    waiters_.fetch_sub(1, std::memory_order_seq_cst);
    list.push(gp);
  }
  return list;
}

void poller_model::expect(g* gp) noexcept {
  expected_ = gp;
  waiters_.store(1, std::memory_order_relaxed);
}

void poller_model::arrive() noexcept {
  ready_.store(expected_, std::memory_order_release);
  event_.wakeup();
}

world::world(uint32_t procs, uint32_t most_threads) : poller(new poller_model) {
  sched = scheduler_test::make(procs, most_threads, poller);
}

namespace {
g* end_on_g0(m*, g* gp) {
  gp->status.store(g_status::dead, std::memory_order_relaxed);
  gp->mp = nullptr;
  return nullptr;
}
}  // namespace

void world::end_goroutine() {
  mcall(&end_on_g0);
  __builtin_unreachable();
}

g* world::make_goroutine(void (*fn)(void*), void* arg) {
  constexpr size_t kStack = size_t{32} << 10;
  auto* const stack = static_cast<std::byte*>(::operator new(kStack));
  g* gp = new g;
  gp->goid = reinterpret_cast<uintptr_t>(gp) >> 6 & 0xffff;
  gp->status.store(g_status::waiting, std::memory_order_relaxed);
  gp->stack_state.low = stack;
  gp->stack_state.high = stack + kStack;
  gp->stack_state.ctx.sp = make_context(stack + kStack, fn, arg);
  return gp;
}

void world::queue(uint32_t at, g* gp) {
  gp->status.store(g_status::runnable, std::memory_order_relaxed);
  run_queue::spill none;
  require(proc(at)->runq.put(gp, false, &none), "the ring has room");
}

void world::queue_globally(g* gp) {
  gp->status.store(g_status::runnable, std::memory_order_relaxed);
  sched->put_global(gp, gp, 1);
}

m* world::make_m(const char* name, p* pp) {
  m* mp = new m;
  scheduler_test::add_m(sched, mp);
  if (pp != nullptr) {
    scheduler_test::take(sched, pp);
    sched->acquire_p(mp, pp);
  }
  born_[born_count_++] = {name, mp, pp == nullptr};
  return mp;
}

m* world::thread(const char* name, uint32_t at, bool spinning) {
  m* mp = make_m(name, proc(at));
  mp->spinning = spinning;
  if (spinning) scheduler_test::add_spinning(sched);
  return mp;
}

m* world::sleeper(const char* name) {
  m* mp = make_m(name, nullptr);
  scheduler_test::add_idle(sched, mp);
  return mp;
}

// Last, for a thread has seen only what setup had done when it was made.
void world::start(scenario& s) {
  for (uint32_t i = 0; i < born_count_; ++i) {
    s.thread(born_[i].name, [mp = born_[i].mp, asleep = born_[i].asleep] {
      setm(mp);
      if (asleep) {  // as stop_m goes on
        mp->park.sleep();
        mp->park.clear();
        if (mp->next_p == nullptr) return;
        mp->sched->acquire_p(mp, mp->next_p);
        mp->next_p = nullptr;
        mp->spinning = mp->start_spinning;
      }
      mp->sched->m_loop(mp);
    });
  }
}

namespace {
// The model's own words, of which no order comes.
WARREN_NOT_INSTRUMENTED bool is_signalled(int tid) { return signalled[tid]; }
WARREN_NOT_INSTRUMENTED bool take_signal(int tid) {
  const bool was = signalled[tid];
  signalled[tid] = false;
  return was;
}
}  // namespace

void world::compute(const event& enough) {
  const int tid = getm()->tid;
  wait_until([&] { return is_signalled(tid) || enough.is_set(); }, "a signal, or to have computed enough");
  if (!take_signal(tid)) return;
  m* mp = getm();
  require(mp->in_rt.load(std::memory_order_relaxed) == 0, "user code is outside brackets");
  mp->sched->on_preempt_signal(mp, __builtin_frame_address(0), nullptr);
}

void world::take_p_away(uint32_t from) { scheduler_test::take_away(sched, proc(from)); }

void world::finish() { scheduler_test::exit(sched); }

}  // namespace interleave

namespace warren::detail {

// No barrier either.
constinit std::atomic<uint32_t> barrier_flags{0};
void barrier_words_slow(const void*, size_t) noexcept {}

}  // namespace warren::detail
