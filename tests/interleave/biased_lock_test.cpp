// A lock that is biased to a P (runtime/sched/biased_lock.h), between that P's owner and others.
#include "runtime/sched/biased_lock.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/in_rt.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

struct world {
  biased<mutex> lock;
  int guarded = 0;
  p* home = new p(0);
  p* away = new p(1);

  void critical() {
    lock.lock();
    ++guarded;
    interleave::step();  // the lock is also held outside brackets: the thread may lose its processor, or its P
    ++guarded;
    lock.unlock();
  }
  // Makes this thread of the scenario an M that runs a goroutine on pp.
  static void run_on(p* pp) {
    m* mp = getm();
    mp->current_p = pp;
    mp->in_rt.store(0, std::memory_order_relaxed);
  }
};

world* biased_to_home(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "lock");
  world::run_on(w->home);
  for (int i = 0; i < 40; ++i) {
    w->lock.lock();
    w->lock.unlock();
  }
  return w;
}

template <int kHome, int kAway>
void home_and_away(scenario& s) {
  auto* w = biased_to_home(s);
  s.thread("home", [=] {
    world::run_on(w->home);
    for (int i = 0; i < kHome; ++i) w->critical();
  });
  s.thread("away", [=] {
    world::run_on(w->away);
    for (int i = 0; i < kAway; ++i) w->critical();
  });
  s.at_end([=] { require(w->guarded == 2 * (kHome + kAway), "two held the lock at once"); });
}

// A thread without P, and one of another P.
void two_strangers(scenario& s) {
  auto* w = biased_to_home(s);
  s.thread("home", [=] {
    world::run_on(w->home);
    w->critical();
  });
  s.thread("away", [=] {
    world::run_on(w->away);
    w->critical();
  });
  s.thread("stranger", [=] {
    world::run_on(nullptr);
    w->critical();
  });
  s.at_end([=] { require(w->guarded == 6, "two held the lock at once"); });
}

// A goroutine takes the lock by bias and loses its P while it holds it; the P's next owner comes to the lock.
void p_changes_hands(scenario& s) {
  auto* w = biased_to_home(s);
  auto* handed_over = s.make<interleave::event>();
  s.thread("first", [=] {
    world::run_on(w->home);
    w->lock.lock();
    ++w->guarded;
    handed_over->signal();
    interleave::step();
    ++w->guarded;
    w->lock.unlock();
  });
  s.thread("next", [=] {
    handed_over->wait("the P");
    world::run_on(w->home);
    w->critical();
  });
  s.at_end([=] { require(w->guarded == 4, "two held the lock at once"); });
}

// The lock becomes biased by an acquisition of the underlying lock; its holder loses the P before it unlocks. To the P's next owner the
// bias is its own and nobody holds the lock by it: only that the underlying lock is held tells.
void p_changes_hands_as_the_bias_begins(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "lock");
  world::run_on(w->home);
  for (int i = 0; i < 32; ++i) {
    w->lock.lock();
    w->lock.unlock();
  }
  auto* handed_over = s.make<interleave::event>();
  s.thread("first", [=] {
    world::run_on(w->home);
    w->lock.lock();  // 32 in a row after the first
    ++w->guarded;
    handed_over->signal();
    interleave::step();
    ++w->guarded;
    w->lock.unlock();
  });
  s.thread("next", [=] {
    handed_over->wait("the P");
    world::run_on(w->home);
    w->critical();
  });
  s.at_end([=] { require(w->guarded == 4, "two held the lock at once"); });
}

constexpr interleave::subject kSubjects[] = {
    {"HomeAndAway", home_and_away<1, 1>, {.preemptions = 3, .weak = 2}},
    {"PChangesHands", p_changes_hands, {.preemptions = 3, .weak = 1}},
    {"HomeTwice", home_and_away<2, 1>, {.preemptions = 3, .weak = 1}},
    {"AwayTwice", home_and_away<1, 2>, {.preemptions = 2, .weak = 1}},
    {"PChangesHandsAsTheBiasBegins", p_changes_hands_as_the_bias_begins, {.preemptions = 3, .weak = 1}},
    {"TwoStrangers", two_strangers, {.preemptions = 2, .weak = 1}},
};
INTERLEAVE_SUBJECTS(BiasedLock, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"membarrier.cpp", "syscall(", weakening::dropped}, outcome::data_race},
    {{"biased_lock.h", "void give_fast() noexcept { fast_.store(0, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"biased_lock.cpp", "fast_.load(std::memory_order_acquire) != 0; ++i", weakening::relaxed}, outcome::data_race},
};
INTERLEAVE_MISTAKES(BiasedLock, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
