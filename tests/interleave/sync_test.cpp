// warren::mutex and wait_group over the model of park and ready.
#include "warren/sync.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "subject.h"

namespace warren {
namespace {

using interleave::go;
using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

template <int kGoroutines, int kRounds>
void exclusion(scenario& s) {
  struct state {
    mutex m;
    int guarded = 0;
  };
  auto* v = s.make<state>();
  s.name(v, "mutex");
  constexpr const char* kNames[] = {"a", "b", "c"};
  for (int i = 0; i < kGoroutines; ++i)
    go(s, kNames[i], [=] {
      for (int k = 0; k < kRounds; ++k) {
        v->m.lock();
        const int before = v->guarded;
        interleave::step();
        v->guarded = before + 1;
        v->m.unlock();
      }
    });
  s.at_end([=] {
    require(v->guarded == kGoroutines * kRounds, "two held the mutex at once");
    require(v->m.try_lock(), "the mutex is free in the end");
  });
}

// The essay in mutex.cpp: whoever locks after the last unlock may delete the mutex.
void deleted_by_the_last(scenario& s) {
  struct state {
    mutex m;
    int references = 2;
  };
  auto* v = s.make<state>();
  s.name(v, "mutex");
  for (const char* name : {"a", "b"})
    go(s, name, [=] {
      v->m.lock();
      const bool last = --v->references == 0;
      v->m.unlock();
      if (last) delete v;
    });
}

void wait_for_two(scenario& s) {
  struct state {
    wait_group wg;
    int done[2] = {};
  };
  auto* v = s.make<state>();
  s.name(v, "wait_group");
  v->wg.add(2);
  for (int i = 0; i < 2; ++i)
    go(s, i == 0 ? "worker 0" : "worker 1", [=] {
      v->done[i] = 1;
      v->wg.done();
    });
  for (const char* name : {"waiter 0", "waiter 1"})
    go(s, name, [=] {
      v->wg.wait();
      require(v->done[0] + v->done[1] == 2, "wait returned too early");
    });
}

// When wait has returned, the object may be destroyed.
void deleted_after_wait(scenario& s) {
  auto* wg = s.make<wait_group>();
  s.name(wg, "wait_group");
  wg->add(1);
  go(s, "worker", [=] { wg->done(); });
  go(s, "waiter", [=] {
    wg->wait();
    delete wg;
  });
}

constexpr interleave::subject kSubjects[] = {
    {"Mutex", exclusion<2, 1>, {.preemptions = 2, .weak = 1}},
    {"MutexTwice", exclusion<2, 2>, {.preemptions = 1, .weak = 1}},
    {"MutexOfThree", exclusion<3, 1>, {.preemptions = 1, .weak = 1}},
    {"MutexDeletedByTheLast", deleted_by_the_last, {.preemptions = 2, .weak = 1}},
    {"WaitGroup", wait_for_two, {.preemptions = 1, .weak = 1}},
    {"WaitGroupDeletedAfterWait", deleted_after_wait, {.preemptions = 3, .weak = 1}},
};
INTERLEAVE_SUBJECTS(Sync, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"sync.h", "state_.compare_exchange_strong(held, 0, std::memory_order_release", weakening::relaxed}, outcome::data_race},
    {{"mutex.cpp", "state_.compare_exchange_strong(old, kLockedBit, std::memory_order_acquire", weakening::no_acquire}, outcome::data_race},
    {{"mutex.cpp", "state_.compare_exchange_strong(old, old | kLockedBit, std::memory_order_acquire", weakening::no_acquire},
     outcome::data_race},
    {{"wait_group.cpp", "state_.fetch_add(delta, std::memory_order_acq_rel)", weakening::no_release}, outcome::data_race},
    {{"wait_group.cpp", "uint64_t state = state_.load(std::memory_order_acquire)", weakening::no_acquire}, outcome::data_race},
};
INTERLEAVE_MISTAKES(Sync, kSubjects, kMistakes)

}  // namespace
}  // namespace warren
