// Holding the stack of a goroutine that does not run (runtime/sched/stack_claim.h), against the schedule loop that wants to run it.
#include "runtime/sched/stack_claim.h"

#include <gtest/gtest.h>

#include "runtime/sched/park.h"
#include "scheduler_world.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;
using interleave::world;

// What the claimant may look at: where the goroutine's stack pointer was saved, and the frames above it.
struct frames {
  int* local = nullptr;  // in the goroutine's frame
  int looked = 0;

  void look(g* gp) {
    g* gs[1] = {gp};
    if (claim_stacks(gs, 1) != 1) return;
    ++looked;
    require(gp->stack_state.ctx.sp != nullptr, "a saved stack pointer");
    if (local != nullptr) {
      const int before = *local;
      interleave::step();
      require(*local == before, "the goroutine ran while its stack was claimed");
    }
    release_stacks(gs, 1);
  }
};

// A parked goroutine is readied and runs while somebody claims its stack.
void claimed_as_it_is_readied(scenario& s) {
  auto* w = s.make<world>(1);
  auto* f = s.make<frames>();
  int* const local = s.make<int>(0);  // stands for a variable of its frame: written whenever it runs
  f->local = local;
  g* gp = w->goroutine([=] {
    ++*local;
    w->finish();
  });
  w->thread("runs", 0);
  w->start(s);
  s.thread("readies", [=] { goready(gp); });
  s.thread("claims", [=] { f->look(gp); });
}

// A running goroutine parks, is readied at once, and runs again, while somebody claims its stack: of whichever wait.
void claimed_as_it_parks(scenario& s) {
  auto* w = s.make<world>(1);
  auto* f = s.make<frames>();
  int* const local = s.make<int>(0);
  f->local = local;
  g* gp = w->goroutine([=] {
    interleave::step();
    ++*local;
    gopark(
        [](g* parked, void*) {
          goready(parked);
          return true;
        },
        nullptr, wait_reason::other);
    ++*local;
    w->finish();
  });
  w->queue(0, gp);
  w->thread("runs", 0);
  w->start(s);
  s.thread("claims", [=] { f->look(gp); });
}

// A goroutine ends, its stack is freed, and the next one runs there, while somebody who saw the first one claims it. given_back: the memory
// was, meanwhile, so that the words of the g are 0.
void freed_as_it_is_claimed(scenario& s, bool given_back) {
  auto* w = s.make<world>(1);
  auto* f = s.make<frames>();
  int* const local = s.make<int>(0);
  f->local = local;
  g* gp = w->goroutine([=] {
    ++*local;
    w->finish();
  });
  gp->status.store(g_status::running, std::memory_order_relaxed);
  w->thread("runs", 0);
  w->start(s);
  s.thread("frees", [=] {
    gp->status.store(g_status::dead, std::memory_order_release);
    // If somebody claims it, it stays in the pool, and is used again from there.
    if (claim_freed(gp)) {
      if (given_back) gp->stack_claimed.store(0, std::memory_order_relaxed);
      release_freed(gp);
    }
    gp->status.store(g_status::waiting, std::memory_order_release);
    goready(gp);
  });
  s.thread("claims", [=] { f->look(gp); });
}
void given_back_as_it_is_claimed(scenario& s) { freed_as_it_is_claimed(s, true); }
void used_again_as_it_is_claimed(scenario& s) { freed_as_it_is_claimed(s, false); }

constexpr interleave::subject kSubjects[] = {
    {"ClaimedAsItIsReadied", claimed_as_it_is_readied, {.preemptions = 2, .weak = 1}},
    {"ClaimedAsItParks", claimed_as_it_parks, {.preemptions = 3, .weak = 1}},
    {"GivenBackAsItIsClaimed", given_back_as_it_is_claimed, {.preemptions = 2, .weak = 1}},
    {"UsedAgainAsItIsClaimed", used_again_as_it_is_claimed, {.preemptions = 2, .weak = 1}},
};
INTERLEAVE_SUBJECTS(StackClaim, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"membarrier.cpp", "syscall(", weakening::dropped}, outcome::data_race},
    // What the goroutine did before it parked, and what the claimant did before it let go.
    {{"park.cpp", "gp->status.store(g_status::waiting, std::memory_order_release);", weakening::relaxed}, outcome::data_race},
    // Found by the checker: `runnable` over `waiting`.
    {{"proc.cpp", "// as `waiting` before it: stack_claim.h", weakening::relaxed}, outcome::data_race},
    {{"stack_claim.cpp", "gs[i]->status.load(std::memory_order_acquire)", weakening::no_acquire}, outcome::data_race},
    {{"stack_claim.cpp", "for (size_t i = 0; i < n; ++i) gs[i]->stack_claimed.store(0, std::memory_order_release);", weakening::relaxed},
     outcome::data_race},
};
INTERLEAVE_MISTAKES(StackClaim, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
