// Who owes marking and waits (runtime/gc/assist_queue.h), against those who mark and against the end of the marking: no wake-up is lost, no
// credit is spent twice.
#include "runtime/gc/assist_queue.h"

#include <gtest/gtest.h>

#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

struct marking {
  assist_queue q;
  std::atomic<int64_t> forgiven_or_paid{0};

  marking() { q.open(); }

  struct goroutine : assist_queue::waiter {
    interleave::event woken;
  };
  // As assist_gc: the waiter is gone as soon as it goes on.
  void owes(int64_t debt) {
    auto* const g = new goroutine;
    g->debt = debt;
    g->wake = [](assist_queue::waiter* w) noexcept { static_cast<goroutine*>(w)->woken.signal(); };
    if (q.wait(g)) g->woken.wait("credit, or the end of the marking");
    require(g->debt == 0, "who goes on owes nothing");
    delete g;
    forgiven_or_paid.fetch_add(debt, std::memory_order_relaxed);
  }
  // As collector::work.
  void works(int64_t n) {
    q.add(n);
    q.wake_paid();
  }
  // As collector::finish, and what follows it.
  void ends() {
    q.close();
    q.wake_paid();
  }
};

// One comes to wait while another hands out just what it needs.
void one_comes_as_credit_does(scenario& s) {
  auto* const m = s.make<marking>();
  s.name(&m->q, "queue");
  s.thread("owes", [=] { m->owes(10); });
  s.thread("works", [=] { m->works(10); });
}

// Credit in two parts, from two workers, for two who wait.
void two_wait_for_two(scenario& s) {
  auto* const m = s.make<marking>();
  s.thread("owes", [=] { m->owes(10); });
  s.thread("owes more", [=] { m->owes(20); });
  s.thread("works", [=] { m->works(12); });
  s.thread("works, too", [=] { m->works(18); });
  s.at_end([=] { require(m->q.take(1) == 0, "all that was done is spent"); });
}

// The marking ends: who waits, and who comes too late to wait.
void one_comes_as_it_ends(scenario& s) {
  auto* const m = s.make<marking>();
  s.thread("owes", [=] { m->owes(10); });
  s.thread("works", [=] { m->works(4); });
  s.thread("ends it", [=] { m->ends(); });
}

// One that does not wait takes credit; what it takes the other one lacks, until the end.
void another_takes_credit(scenario& s) {
  auto* const m = s.make<marking>();
  auto* const taken = s.make<std::atomic<int64_t>>(0);
  s.thread("owes", [=] { m->owes(10); });
  s.thread("takes", [=] { taken->store(m->q.take(10)); });
  s.thread("works, and ends it", [=] {
    m->works(10);
    m->q.forgive();
    m->ends();
  });
  s.at_end([=] { require(taken->load() + m->q.take(100) <= 10, "more was spent than was done"); });
}

constexpr interleave::subject kSubjects[] = {
    {"OneComesAsCreditDoes", one_comes_as_credit_does, {.preemptions = 3, .weak = 2}},
    {"OneComesAsItEnds", one_comes_as_it_ends, {.preemptions = 2, .weak = 2}},
    {"AnotherTakesCredit", another_takes_credit, {.preemptions = 2, .weak = 2}},
    {"TwoWaitForTwo", two_wait_for_two, {.preemptions = 1, .weak = 1}},  // with 2: two million executions, all pass
};
INTERLEAVE_SUBJECTS(AssistQueue, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"assist_queue.cpp", "credit_.fetch_add(work, std::memory_order_seq_cst)", weakening::relaxed}, outcome::deadlock},
    {{"assist_queue.cpp", "if (waiting_.load(std::memory_order_seq_cst) == 0) return;", weakening::relaxed}, outcome::deadlock},
    {{"assist_queue.cpp", "waiting_.fetch_add(1, std::memory_order_seq_cst);", weakening::relaxed}, outcome::deadlock},
    {{"assist_queue.cpp", "int64_t there = credit_.load(std::memory_order_seq_cst);", weakening::relaxed}, outcome::deadlock},
    {{"assist_queue.cpp", "waiting_.fetch_sub(1, std::memory_order_release);", weakening::relaxed}, outcome::deadlock},
};
INTERLEAVE_MISTAKES(AssistQueue, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
