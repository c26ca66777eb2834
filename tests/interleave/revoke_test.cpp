// Taking a P away from a running goroutine: the bracket of runtime/sched/in_rt.h against scheduler::revoke of preempt.cpp, as they are.
//
// The P's data is one plain variable: the owner writes it inside brackets, the revoker after it has won. Both at once, or without order, is
// a data race.
#include <gtest/gtest.h>
#include <string.h>

#include "goroutines.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "subject.h"

namespace warren::rt {

struct scheduler_test {
  static bool revoke(scheduler* s, p* pp, m* mp) { return s->revoke(pp, mp, 0, false); }
};

namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

struct world {
  scheduler* sched;
  m* mp;
  p* pp;
  int of_the_p = 0;
  int touched = 0;  // by the owner
  bool taken = false;

  // Without its constructor, which would make a whole runtime: revoke looks at the word that says whether the world is being stopped.
  world()
      : sched(static_cast<scheduler*>(::operator new(sizeof(scheduler), std::align_val_t(alignof(scheduler))))), mp(new m), pp(new p(0)) {
    memset(static_cast<void*>(sched), 0, sizeof(scheduler));
    mp->sched = sched;
    mp->current_p = pp;
    mp->in_rt.store(0, std::memory_order_relaxed);
    pp->mp.store(mp, std::memory_order_relaxed);
    pp->status.store(p_status::running, std::memory_order_relaxed);
  }

  void owner_enters() {
    bracket_without_wait bracket(mp);
    if (!bracket.has_p()) return;
    ++of_the_p;
    interleave::step();  // anything may happen within a bracket, a membarrier for instance
    ++of_the_p;
    ++touched;
  }
  void revoker() {
    if (!scheduler_test::revoke(sched, pp, mp)) return;
    taken = true;
    ++of_the_p;
  }
};

template <int kEntries>
void bracket_against_revoke(scenario& s) {
  auto* w = s.make<world>();
  s.name(&w->mp->in_rt, "m.in_rt");
  s.name(&w->mp->revoked, "m.revoked");
  s.name(&w->of_the_p, "P's data");
  s.thread("owner", [=] {
    for (int i = 0; i < kEntries; ++i) w->owner_enters();
  });
  s.thread("revoker", [=] { w->revoker(); });
  s.at_end([=] {
    const uint32_t r = w->mp->revoked.load(std::memory_order_relaxed);
    require(r == (w->taken ? p_taken : p_kept), "owner and revoker disagree about who has the P");
    require(w->taken || w->touched == kEntries, "the owner lost the P to nobody");
  });
}

constexpr interleave::subject kSubjects[] = {
    {"OneEntry", bracket_against_revoke<1>, {.preemptions = 4, .weak = 2}},
    {"ThreeEntries", bracket_against_revoke<3>, {.preemptions = 3, .weak = 2}},
};
INTERLEAVE_SUBJECTS(Revoke, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"membarrier.cpp", "syscall(", weakening::dropped}, outcome::data_race},
    {{"in_rt.h", "mp_->in_rt.store(outer_, std::memory_order_release)", weakening::no_release}, outcome::data_race},
    {{"preempt.cpp", "const bool ours = has_membarrier && mp->in_rt.load(std::memory_order_acquire)", weakening::no_acquire},
     outcome::data_race},
};
INTERLEAVE_MISTAKES(Revoke, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
