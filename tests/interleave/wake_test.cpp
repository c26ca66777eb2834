// Waking threads: the rules of runtime/sched/proc.cpp's essay, in the shipped schedule loop.
//
// In each program some goroutine waits for another one that lies in a queue, and keeps its P meanwhile. If that one is not run, an M sleeps
// that should not: a lost wake-up.
#include <gtest/gtest.h>

#include <array>

#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"
#include "scheduler_world.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::wait_until;
using interleave::weakening;
using interleave::world;

struct flags {
  bool a = false, b = false, c = false;
};

// Rules (1) and (3): work is submitted by a busy P while the other M is about to sleep.
void submitted_as_another_goes_idle(scenario& s) {
  auto* w = s.make<world>(2);
  auto* done = s.make<interleave::event>();
  g* b = w->goroutine([=] { done->signal(); });
  w->queue(0, w->goroutine([=] {
    goready(b);
    done->wait("the goroutine that was readied");
    w->finish();
  }));
  w->thread("busy", 0);
  w->thread("idler", 1);
  w->start(s);
}

// The same from a thread that is no M, through the global queue.
void submitted_from_outside(scenario& s) {
  auto* w = s.make<world>(1);
  g* b = w->goroutine([=] { w->finish(); });
  w->thread("idler", 0);
  w->start(s);
  s.thread("outside", [=] { goready(b); });
}

// Rule (2): one M is woken for the first of two pieces, and is responsible for the second.
void two_pieces(scenario& s) {
  auto* w = s.make<world>(3);
  auto* b_runs = s.make<interleave::event>();
  auto* c_runs = s.make<interleave::event>();
  g* b = w->goroutine([=] {
    b_runs->signal();
    c_runs->wait("the other piece");
  });
  g* c = w->goroutine([=] {
    c_runs->signal();
    b_runs->wait("the other piece");
  });
  w->queue(0, w->goroutine([=] {
    goready(b);
    goready(c);
    b_runs->wait("the first piece");
    c_runs->wait("the second piece");
    w->finish();
  }));
  w->thread("busy", 0);
  w->sleeper("sleeper 1");
  w->sleeper("sleeper 2");
  w->start(s);
}

// Rule (4): the idler may not spin, since the other one does; which finds two goroutines and stops spinning.
void not_allowed_to_spin(scenario& s) {
  auto* w = s.make<world>(2);
  auto* done = s.make<interleave::event>();
  w->queue(0, w->goroutine([=] {
    done->wait("the second goroutine");
    w->finish();
  }));
  w->queue(0, w->goroutine([=] { done->signal(); }));
  w->thread("spinner", 0, true);
  w->thread("idler", 1);
  w->start(s);
}

// An M goes to sleep in the poller, until a far timer; then a busy P arms a near one.
void timer_armed_as_another_goes_to_the_poller(scenario& s) {
  auto* w = s.make<world>(2);
  auto* done = s.make<interleave::event>();
  g* b = w->goroutine([=] { done->signal(); });
  auto* far = s.make<timer>();
  far->when = INT64_MAX / 2;
  w->proc(1)->timers.add(far);
  auto* near = s.make<timer>();
  near->fn = [](void* gp, uintptr_t) { goready(static_cast<g*>(gp)); };
  near->arg = b;
  near->when = 1;
  w->queue(0, w->goroutine([=] {
    timer_start(near);
    done->wait("the timer");
    w->finish();
  }));
  w->thread("busy", 0);
  w->thread("idler", 1);
  w->start(s);
}

// The M in the poller waits for a timer that is due earlier, so it is not woken; and must see the new one when it looks again.
void timer_armed_between_two_others(scenario& s) {
  constexpr int64_t kNear = 1'030'000;  // the clock begins at 1 ms and goes on by 1 µs at each look
  auto* w = s.make<world>(2);
  auto* done = s.make<interleave::event>();
  g* b = w->goroutine([=] { done->signal(); });
  auto* timers = s.make<std::array<timer, 3>>();
  (*timers)[0].fn = [](void*, uintptr_t) {};
  (*timers)[0].when = kNear;
  (*timers)[1].when = INT64_MAX / 2;
  for (int i = 0; i < 2; ++i) w->proc(1)->timers.add(&(*timers)[i]);
  timer* between = &(*timers)[2];
  between->fn = [](void* gp, uintptr_t) { goready(static_cast<g*>(gp)); };
  between->arg = b;
  between->when = kNear + 1;
  w->queue(0, w->goroutine([=] {
    timer_start(between);
    done->wait("the timer");
    w->finish();
  }));
  w->thread("busy", 0);
  w->thread("idler", 1);
  w->start(s);
}

// A goroutine is parked on a descriptor; data arrives while the only M looks for work.
void data_arrives_as_the_last_goes_idle(scenario& s) {
  auto* w = s.make<world>(1);
  g* reader = w->goroutine([=] { w->finish(); });
  w->poller->expect(reader);
  w->thread("idler", 0);
  w->start(s);
  s.thread("kernel", [=] { w->poller->arrive(); });
}

// A goroutine whose slice is over goes to the global queue, and its P is kept by one that waits for it.
void preempted_behind_a_hog(scenario& s) {
  auto* w = s.make<world>(2);
  auto* done = s.make<interleave::event>();
  w->queue(0, w->goroutine([=] {
    getm()->requests.store(request_preempt, std::memory_order_relaxed);
    safepoint();
    done->signal();
  }));
  w->queue(0, w->goroutine([=] {
    done->wait("the goroutine that was preempted");
    w->finish();
  }));
  w->thread("busy", 0);
  w->sleeper("sleeper");
  w->start(s);
}

// No thread may be started: the P that was taken for the work goes back to the list.
void threads_are_used_up(scenario& s) {
  auto* w = s.make<world>(2, 2);
  auto* done = s.make<interleave::event>();
  g* b = w->goroutine([=] { done->signal(); });
  w->queue(0, w->goroutine([=] {
    goready(b);
    done->wait("the goroutine that was readied");
    w->finish();
  }));
  w->thread("busy", 0);
  w->thread("idler", 1);
  w->start(s);
}

constexpr interleave::subject kSubjects[] = {
    {"SubmittedFromOutside", submitted_from_outside, {.preemptions = 2, .weak = 1}},
    {"TimerArmedBetweenTwoOthers", timer_armed_between_two_others, {.preemptions = 0, .weak = 3}},
    {"SubmittedAsAnotherGoesIdle", submitted_as_another_goes_idle, {.preemptions = 2, .weak = 1}},
    {"NotAllowedToSpin", not_allowed_to_spin, {.preemptions = 2, .weak = 1}},
    {"PreemptedBehindAHog", preempted_behind_a_hog, {.preemptions = 2, .weak = 0}},
    {"DataArrivesAsTheLastGoesIdle", data_arrives_as_the_last_goes_idle, {.preemptions = 2, .weak = 1}},
    {"TimerArmedAsAnotherGoesToThePoller", timer_armed_as_another_goes_to_the_poller, {.preemptions = 2, .weak = 1}},
    {"ThreadsAreUsedUp", threads_are_used_up, {.preemptions = 2, .weak = 0}},
    {"TwoPieces", two_pieces, {.preemptions = 1, .weak = 1}},
};
INTERLEAVE_SUBJECTS(Wake, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"proc.cpp", "// the StoreLoad of the submitter's side", weakening::dropped}, outcome::deadlock},
    // Found by the checker: the read-modify-write before it is not enough.
    {{"proc.cpp", "// the StoreLoad of the idler's side", weakening::dropped}, outcome::deadlock},
};
INTERLEAVE_MISTAKES(Wake, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
