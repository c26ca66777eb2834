// Not instrumented: this is the world that programs see, not a part of them.
#include "goroutines.h"

#include <stdarg.h>
#include <stdio.h>

#include <new>

#include "engine/memory.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/m.h"
#include "runtime/sched/timer.h"

// What getm() reads (runtime/sched/m.h). The threads of a scenario share one thread of the system: set at each switch.
extern "C" {
[[gnu::visibility("hidden")]] thread_local warren::rt::m* warren_current_m = nullptr;
}

namespace interleave {

namespace {

using warren::rt::g;
using warren::rt::m;
using warren::rt::timer;

struct goroutine {
  g base;
  enum class is : uint8_t { running, waiting, runnable } state = is::running;
  event woken;
};

struct armed_timer {
  timer* t;
  bool armed = true, running = false;
  event ended;
  armed_timer* next;
};

// Of the execution under way; anew with each.
goroutine* by_thread[kMaxThreads];
armed_timer* timers = nullptr;
alignas(m) std::byte ms[kMaxThreads][sizeof(m)];

struct commit_call {
  goroutine* who;
  bool (*commit)(g*, void*);
  void* arg;
};

void run_commit(void* p) {
  auto* call = static_cast<commit_call*>(p);
  goroutine* who = call->who;
  if (call->commit(&who->base, call->arg)) return;
  who->state = goroutine::is::runnable;  // cancelled: nobody else has it
  who->woken.signal();
}

void run_timer(void* p) {
  auto* a = static_cast<armed_timer*>(p);
  step();
  if (!a->armed) return;
  a->armed = false;
  a->running = true;
  a->t->fn(a->t->arg, a->t->seq);
  step();
  a->running = false;
  a->ended.signal();
}

}  // namespace

namespace detail {
void become_goroutine() {
  auto* x = new goroutine;
  x->base.goid = static_cast<uint64_t>(current_thread());
  by_thread[current_thread()] = x;
}
}  // namespace detail

}  // namespace interleave

namespace warren::rt {

using namespace interleave;

g* getg() noexcept {
  goroutine* x = by_thread[current_thread()];
  return x == nullptr ? nullptr : &x->base;
}

void check_not_forked() noexcept {}  // nobody forks here

void gopark(bool (*commit)(g*, void*), void* arg, wait_reason) {
  goroutine* me = by_thread[current_thread()];
  if (me == nullptr) interleave::fail(outcome::fatal, "gopark on a thread that is no goroutine");
  step();
  me->woken.clear();
  me->state = goroutine::is::waiting;
  commit_call call{me, commit, arg};
  if (commit != nullptr) spawn("commit", &run_commit, new commit_call(call));
  me->woken.wait("goready");
  me->state = goroutine::is::running;
}

void goready(g* gp) noexcept {
  auto* x = reinterpret_cast<goroutine*>(gp);
  step();
  if (x->state != goroutine::is::waiting)
    interleave::fail(outcome::fatal, "goready of a goroutine that does not wait: readied twice, or not parked yet");
  x->state = goroutine::is::runnable;
  x->woken.signal();
}

void safepoint_slow(m*) { interleave::fail(outcome::fatal, "a safepoint's request: nobody makes any here"); }

void timer_start(timer* t) {
  timers = new armed_timer{.t = t, .ended = {}, .next = timers};
  spawn("timer", &run_timer, timers, true);
}

bool timer_stop_sync(timer* t) {
  step();
  bool stopped = false;
  for (armed_timer* a = timers; a != nullptr; a = a->next) {
    if (a->t != t) continue;
    if (a->armed) {
      a->armed = false;
      stopped = true;
    } else if (a->running || a->ended.is_set()) {
      a->ended.wait("the end of the timer's function");
    }
    a->t = nullptr;
  }
  return stopped;
}

int64_t nanotime() noexcept { return interleave::now(); }

void print_error(const char*, ...) noexcept {}
void fatal(const char* format, ...) noexcept {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  interleave::fail(outcome::fatal, text);
}

}  // namespace warren::rt

namespace interleave {

// Called by the engine before each execution: what the last one left is gone with it.
void forget_goroutines() {
  for (auto& x : by_thread) x = nullptr;
  timers = nullptr;
  for (auto& x : ms) ::new (static_cast<void*>(x)) m;
}

namespace {
const bool registered = [] {
  before_each_execution(&forget_goroutines);
  at_each_switch([](int t) { warren_current_m = std::launder(reinterpret_cast<m*>(ms[t])); });
  return true;
}();
}  // namespace

}  // namespace interleave

namespace warren {
uint64_t goroutine_id() noexcept {
  const rt::g* gp = rt::getg();
  return gp == nullptr ? 0 : gp->goid;
}
int maxprocs() noexcept { return 2; }
}  // namespace warren
