// Parking and readying: runtime/sched/park.cpp's protocol in the shipped schedule loop, with real switches.
//
// What a goroutine has on its stack and in its g passes from the thread that parked it to the one that runs it next. Nothing but the
// status protocol, the publication in commit and the queues orders the two: where they do not, the checker sees a data race.
#include "runtime/sched/park.h"

#include <gtest/gtest.h>

#include "runtime/os/mutex.h"
#include "scheduler_world.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;
using interleave::world;

// A place where one goroutine waits and is fetched: published by commit, as netpoll's words are.
struct slot {
  std::atomic<g*> waiting{nullptr};

  static bool publish(g* gp, void* self) {
    static_cast<slot*>(self)->waiting.store(gp, std::memory_order_release);
    return true;
  }
  void park() { gopark(&publish, this, wait_reason::other); }
  g* fetch() {
    interleave::wait_until([this] { return waiting.load(std::memory_order_relaxed) != nullptr; }, "a goroutine to park");
    return waiting.exchange(nullptr, std::memory_order_acquire);
  }
};

// Another thread readies the goroutine as soon as it is published: the M that parks it is not done yet.
template <int kTimes>
void readied_while_parking(scenario& s) {
  auto* w = s.make<world>(2);
  auto* x = s.make<slot>();
  w->queue(0, w->goroutine([=] {
    int on_the_stack = 0;
    int* volatile where = &on_the_stack;  // not in a register across the park
    for (int i = 0; i < kTimes; ++i) {
      ++*where;
      x->park();
      ++*where;
    }
    require(on_the_stack == 2 * kTimes, "the stack is not what it was");
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    for (int i = 0; i < kTimes; ++i) goready(x->fetch());
  }));
  w->thread("parks", 0);
  w->thread("readies", 1);
  w->start(s);
}

// The same by a thread that is no M.
void readied_from_outside(scenario& s) {
  auto* w = s.make<world>(1);
  auto* x = s.make<slot>();
  w->queue(0, w->goroutine([=] {
    x->park();
    w->finish();
  }));
  w->thread("parks", 0);
  w->start(s);
  s.thread("outside", [=] { goready(x->fetch()); });
}

// commit finds that what was waited for has happened, and cancels; or it has not, and the other side readies.
void cancelled_or_readied(scenario& s) {
  struct place {
    mutex lock;
    bool happened = false;
    g* waiter = nullptr;
    static bool commit(g* gp, void* self) {
      auto* x = static_cast<place*>(self);
      x->lock.lock();
      const bool parks = !x->happened;
      if (parks) x->waiter = gp;
      x->lock.unlock();
      return parks;
    }
  };
  auto* w = s.make<world>(2);
  auto* x = s.make<place>();
  w->queue(0, w->goroutine([=] {
    gopark(&place::commit, x, wait_reason::other);
    require(x->happened, "it has happened");
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    x->lock.lock();
    x->happened = true;
    g* waiter = x->waiter;
    x->lock.unlock();
    if (waiter != nullptr) goready(waiter);
  }));
  w->thread("parks", 0);
  w->thread("readies", 1);
  w->start(s);
}

// A wait queue under a runtime lock that commit releases (park_unlock), and the word that the waker hands over.
void parked_under_a_lock(scenario& s) {
  struct queue {
    mutex lock;
    g* waiter = nullptr;
    bool open = false;
  };
  auto* w = s.make<world>(2);
  auto* q = s.make<queue>();
  auto* gift = s.make<int>(1);
  w->queue(0, w->goroutine([=] {
    q->lock.lock();
    if (q->open) {
      q->lock.unlock();
    } else {
      q->waiter = getg();
      gopark(&park_unlock, &q->lock, wait_reason::other);
      require(*static_cast<int*>(park_param(getg())) == 2, "what the waker hands over arrives");
    }
    w->finish();
  }));
  w->queue(1, w->goroutine([=] {
    q->lock.lock();
    q->open = true;
    g* waiter = q->waiter;
    if (waiter != nullptr) {
      *gift = 2;
      set_park_param(waiter, gift);
    }
    q->lock.unlock();
    if (waiter != nullptr) goready(waiter);
  }));
  w->thread("parks", 0);
  w->thread("readies", 1);
  w->start(s);
}

constexpr interleave::subject kSubjects[] = {
    {"ReadiedFromOutside", readied_from_outside, {.preemptions = 2, .weak = 1}},
    {"ReadiedWhileParking", readied_while_parking<1>, {.preemptions = 2, .weak = 0}},
    {"CancelledOrReadied", cancelled_or_readied, {.preemptions = 2, .weak = 0}},
    {"ParkedUnderALock", parked_under_a_lock, {.preemptions = 2, .weak = 0}},
    {"ReadiedTwice", readied_while_parking<2>, {.preemptions = 1, .weak = 0}},
};
INTERLEAVE_SUBJECTS(Park, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"park_test.cpp", "waiting.store(gp, std::memory_order_release)", weakening::relaxed}, outcome::fatal},
    {{"park_test.cpp", "waiting.exchange(nullptr, std::memory_order_acquire)", weakening::relaxed}, outcome::fatal},
};
INTERLEAVE_MISTAKES(Park, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
