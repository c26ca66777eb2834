// The runtime's own lock and note (runtime/os) and the lock of a channel, down to the futex.
#include <gtest/gtest.h>

#include <mutex>

#include "runtime/os/futex.h"
#include "runtime/os/mutex.h"
#include "runtime/sync/chan_lock.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

template <class Lock, int kThreads, int kRounds>
void exclusion(scenario& s) {
  struct state {
    Lock lock;
    int guarded = 0;
  };
  auto* v = s.make<state>();
  s.name(v, "lock");
  constexpr const char* kNames[] = {"a", "b", "c"};
  for (int i = 0; i < kThreads; ++i)
    s.thread(kNames[i], [=] {
      for (int k = 0; k < kRounds; ++k) {
        v->lock.lock();
        const int before = v->guarded;
        interleave::step();  // held across a loss of the processor
        v->guarded = before + 1;
        v->lock.unlock();
      }
    });
  s.at_end([=] { require(v->guarded == kThreads * kRounds, "two held the lock at once"); });
}

// One sleeps, another wakes; what was written before the wake-up is read after the sleep.
void note_hands_over(scenario& s) {
  struct state {
    note n;
    int message = 0;
  };
  auto* v = s.make<state>();
  s.name(v, "note");
  s.thread("sleeper", [=] {
    v->n.sleep();
    require(v->message == 1, "the message is not there");
    v->n.clear();
  });
  s.thread("waker", [=] {
    v->message = 1;
    v->n.wakeup();
  });
}

constexpr interleave::subject kSubjects[] = {
    {"Mutex", exclusion<mutex, 2, 2>, {.preemptions = 3, .weak = 1}},
    {"MutexOfThree", exclusion<mutex, 3, 1>, {.preemptions = 2, .weak = 1}},
    {"ChanLock", exclusion<detail::chan_lock, 2, 1>, {.preemptions = 3, .weak = 1}},
    {"ChanLockAgain", exclusion<detail::chan_lock, 2, 2>, {.preemptions = 2, .weak = 1}},
    {"ChanLockOfThree", exclusion<detail::chan_lock, 3, 1>, {.preemptions = 2, .weak = 1}},
    {"Note", note_hands_over, {.preemptions = 4, .weak = 2}},
};
INTERLEAVE_SUBJECTS(Lock, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"mutex.h", "word_.exchange(0, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"mutex.h", "if (!word_.compare_exchange_strong(free, 1, std::memory_order_acquire", weakening::no_acquire}, outcome::data_race},
    {{"mutex.cpp", "word_.exchange(2, std::memory_order_acquire)", weakening::relaxed}, outcome::data_race},
    {{"futex.h", "word_.store(1, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"futex.cpp", "while (word_.load(std::memory_order_acquire) == 0) futex_wait(&word_, 0);", weakening::relaxed}, outcome::data_race},
    {{"chan_lock.h", "word_.store(0, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"membarrier.cpp", "syscall(", weakening::dropped}, outcome::deadlock},
};
INTERLEAVE_MISTAKES(Lock, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
