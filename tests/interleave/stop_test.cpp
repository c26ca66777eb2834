// Stopping the world, and holding threads by signal while it stands: runtime/sched/stop.cpp and the handler's part in preempt.cpp.
//
// One plain variable stands for the heap: goroutines write it whenever they run, the one who has stopped the world writes it meanwhile. If
// anybody still runs then, or goes on without having seen the collector's writes, it is a data race; if somebody is held for ever, or the
// stop waits for nobody, a deadlock.
#include "runtime/sched/stop.h"

#include <gtest/gtest.h>

#include "scheduler_world.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;
using interleave::world;

struct heap {
  int objects = 0;
  interleave::event collected, computed;

  void collect() {
    stop_the_world("test");
    ++objects;
    interleave::step();
    ++objects;
    start_the_world();
    collected.signal();
  }
  void mutate() { ++objects; }
};

// A goroutine that calls nothing of the runtime.
void held_by_signal(scenario& s) {
  auto* w = s.make<world>(2);
  auto* h = s.make<heap>();
  w->queue(0, w->goroutine([=] {
    h->collect();
    h->computed.wait("the other goroutine's end");
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    for (int i = 0; i < 2 && !h->collected.is_set(); ++i) {
      h->mutate();
      w->compute(h->collected);
      h->mutate();  // the world was stopped only while this goroutine was held
    }
    h->computed.signal();
  }));
  w->thread("stops the world", 0);
  w->thread("computes", 1);
  w->start(s);
}

// One that comes to a safepoint, or to a signal before that.
void stops_at_a_safepoint(scenario& s) {
  auto* w = s.make<world>(2);
  auto* h = s.make<heap>();
  w->queue(0, w->goroutine([=] {
    h->collect();
    h->computed.wait("the other goroutine's end");
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    h->mutate();
    safepoint();
    h->mutate();
    h->computed.signal();
  }));
  w->thread("stops the world", 0);
  w->thread("comes to a safepoint", 1);
  w->start(s);
}

// One from which the P is taken at that moment: it runs without.
void held_without_p(scenario& s) {
  auto* w = s.make<world>(2);
  auto* h = s.make<heap>();
  w->queue(0, w->goroutine([=] {
    h->collect();
    h->computed.wait("the other goroutine's end");
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    for (int i = 0; i < 2 && !h->collected.is_set(); ++i) {
      h->mutate();
      w->compute(h->collected);
      h->mutate();  // the world was stopped only while this goroutine was held
    }
    h->computed.signal();
  }));
  w->thread("stops the world", 0);
  w->thread("computes", 1);
  w->start(s);
  s.thread("monitor", [=] { w->take_p_away(1); });
}

constexpr interleave::subject kSubjects[] = {
    {"HeldBySignal", held_by_signal, {.preemptions = 2, .weak = 1}},
    {"StopsAtASafepoint", stops_at_a_safepoint, {.preemptions = 2, .weak = 0}},
    {"HeldWithoutP", held_without_p, {.preemptions = 1, .weak = 0}},
};
INTERLEAVE_SUBJECTS(Stop, kSubjects)

}  // namespace
}  // namespace warren::rt
