// The pacer in a closed loop: programs that exist on paper allocate and are marked at given rates; cycle after cycle the heap must end near
// its goal, and marking take its share.
#include "runtime/gc/pacer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace warren::rt {
namespace {

constexpr double kMB = 1 << 20;

struct program {
  double live = 100 * kMB;  // stays so
  double scannable = 0.8;   // of it
  double roots = 1 * kMB;
  double alloc_rate = 0.2e9;  // bytes per second of a processor that does nothing else
  double mark_rate = 1e9;     // bytes per second and processor
  int procs = 4;
  // Under a limit: the part of what lives, and of what it makes, that is memory behind objects; and when the dead give theirs back, after
  // the end of the cycle that finds them.
  double external = 0;
  double late = 0.005;
};
struct outcome {
  double end = 0;     // the heap when the marking was over, over the goal
  double assist = 0;  // part of the processors' time while it marked
  double runway = 0;  // trigger, as part of the way from the live heap to the goal
};

// One cycle, in steps of 10 µs.
outcome simulate(pacer& p, const program& w) {
  const auto goal = static_cast<double>(p.goal());
  outcome out;
  double heap = static_cast<double>(p.trigger());
  out.runway = (heap - w.live) / (goal - w.live);
  p.start_cycle(static_cast<uint64_t>(heap));
  const double work = w.live * w.scannable + w.roots;
  double done = 0, owed = 0, credit = 0, assist_time = 0, time = 0;
  constexpr double kStep = 10e-6;
  while (done < work) {
    const double ratio = p.ratio(static_cast<uint64_t>(heap), static_cast<uint64_t>(done));
    const double background = w.mark_rate * pacer::share(w.procs) * w.procs * kStep;
    done += background;
    credit += background;
    // The others allocate, and stop to assist when they owe more than there is credit for.
    double mutator = (1 - pacer::share(w.procs)) * w.procs * kStep;
    const double wish = mutator * w.alloc_rate;
    owed = wish * ratio;
    const double from_credit = std::min(credit, owed);
    credit -= from_credit;
    const double by_assist = owed - from_credit;
    // Time for both: assisting takes by_assist / mark_rate, and allocating shrinks with what is left.
    const double scale = mutator / (mutator + by_assist / w.mark_rate);
    heap += wish * scale;
    done += by_assist * scale;
    assist_time += by_assist * scale / w.mark_rate;
    time += kStep;
    if (time > 100) break;
  }
  out.end = heap / goal;
  out.assist = assist_time / (time * w.procs);
  const double made = heap - static_cast<double>(p.trigger());
  p.end_cycle({.marked = static_cast<uint64_t>(w.live),
               .live_end = static_cast<uint64_t>(heap),
               .heap_work = static_cast<uint64_t>(w.live * w.scannable),
               .root_work = static_cast<uint64_t>(w.roots),
               .duration = static_cast<int64_t>(time * 1e9),
               .assist = static_cast<int64_t>(assist_time * 1e9),
               .idle = 0,
               .procs = w.procs});
  (void)made;
  return out;
}

TEST(Pacer, ASteadyProgramEndsAtItsGoalWithFewAssists) {
  for (const double rate : {0.02e9, 0.2e9, 0.6e9}) {
    for (const int procs : {1, 2, 4}) {
      const program w{.alloc_rate = rate, .procs = procs};
      pacer p(100, true);
      outcome last;
      for (int i = 0; i < 20; ++i) last = simulate(p, w);
      EXPECT_LE(last.end, 1.05) << rate;
      EXPECT_GE(last.end, 0.70) << rate;
      // A program that allocates faster than a runway of 19/64 of the way allows must help.
      EXPECT_LE(last.assist, rate < 0.5e9 || procs == 1 ? 0.12 : 0.45) << rate << ' ' << procs;
    }
  }
}

TEST(Pacer, AWorkerTakesItsShareButBeginsAhead) {
  constexpr double kQuarter = 0.25;
  for (const int64_t worked : {int64_t{0}, int64_t{1000}, pacer::kAhead}) EXPECT_LE(pacer::rest(worked, worked, kQuarter), 0) << worked;
  EXPECT_GT(pacer::rest(2 * pacer::kAhead, 2 * pacer::kAhead, kQuarter), 0);
  // In pieces of 100 µs, and it rests whenever it is told to.
  int64_t worked = 0, elapsed = 0;
  while (elapsed < 10'000'000'000) {
    worked += 100'000, elapsed += 100'000;
    elapsed += std::max<int64_t>(0, pacer::rest(worked, elapsed, kQuarter));
    ASSERT_LE(static_cast<double>(worked), kQuarter * static_cast<double>(elapsed) + pacer::kAhead + 100'000);
  }
  EXPECT_NEAR(static_cast<double>(worked) / static_cast<double>(elapsed), kQuarter, 0.001);
}

TEST(Pacer, WhoAllocatesFasterStartsEarlier) {
  program slow, fast;
  slow.alloc_rate = 0.02e9;
  fast.alloc_rate = 0.6e9;
  pacer a(100, true), b(100, true);
  outcome oa, ob;
  for (int i = 0; i < 10; ++i) oa = simulate(a, slow), ob = simulate(b, fast);
  EXPECT_GT(oa.runway, ob.runway);
  EXPECT_GE(ob.runway, 45.0 / 64 - 0.02) << "not before 45/64 of the way";
  EXPECT_LE(oa.runway, 1.0);
}

TEST(Pacer, AStepInTheAllocationRateCostsAssistsOnceAndStaysNearTheGoal) {
  program w;
  w.alloc_rate = 0.02e9;
  pacer p(100, true);
  for (int i = 0; i < 10; ++i) simulate(p, w);
  w.alloc_rate = 0.8e9;
  const outcome at_once = simulate(p, w);
  EXPECT_LE(at_once.end, 1.15);
  outcome later;
  for (int i = 0; i < 10; ++i) later = simulate(p, w);
  EXPECT_LE(later.end, 1.05);
  EXPECT_LE(later.assist, at_once.assist + 0.01);
}

TEST(Pacer, AHeapThatGrowsEndsBelowTheNextGoal) {
  program w;
  pacer p(100, true);
  for (int i = 0; i < 5; ++i) simulate(p, w);
  w.live = 190 * kMB;
  const outcome o = simulate(p, w);
  EXPECT_LE(o.end, 2.0);
}

TEST(Pacer, GoalCountsRootsAndHasALeast) {
  pacer p(100, true);
  EXPECT_EQ(p.goal(), uint64_t{4} << 20);
  p.start_cycle(0);
  p.end_cycle({.marked = 50 << 20, .live_end = 50 << 20, .heap_work = 40 << 20, .root_work = 10 << 20});
  EXPECT_NEAR(static_cast<double>(p.goal()), (50 + 60) * kMB, kMB);
  EXPECT_LT(p.trigger(), p.goal());
  p.set(100, false);
  EXPECT_EQ(p.trigger(), p.goal()) << "a world that stands needs no runway";
  p.set(-1, true);
  EXPECT_EQ(p.trigger(), ~uint64_t{0});
  p.set(50, true);
  EXPECT_NEAR(static_cast<double>(p.goal()), (50 + 30) * kMB, kMB);
}

TEST(Pacer, RatioPaysForTheRestOverTheRestOfTheWay) {
  pacer p(100, true);
  p.start_cycle(0);
  p.end_cycle({.marked = 100 << 20, .live_end = 100 << 20, .heap_work = 100 << 20, .root_work = 0});
  p.start_cycle(160 << 20);
  EXPECT_NEAR(p.ratio(160 << 20, 0), 100.0 / 40, 0.1);
  EXPECT_NEAR(p.ratio(180 << 20, 50 << 20), 50.0 / 20, 0.1);
  EXPECT_GT(p.ratio(199 << 20, 0), 50);
  EXPECT_GT(p.ratio(300 << 20, 0), 1) << "beyond the goal it goes on paying";
  EXPECT_TRUE(std::isfinite(p.ratio(300 << 20, 1000 << 20)));
}

// ---- with a memory limit ----------------------------------------------------------------------------------------------------------------
// A program under a limit, for `seconds` of its time: cycle after cycle, with the brake. The rest of its memory is 20 MB.
struct limited_outcome {
  double peak = 0;  // of all memory, over the limit
  double gc = 0;    // part of the processors' time: background and assists
  double made = 0;  // bytes allocated
  uint64_t cycles = 0;
  bool missed = false;
};
limited_outcome simulate_limit(pacer& p, program w, double limit, double seconds) {
  limited_outcome out;
  cpu_limiter brake;
  constexpr double kRest = 20 * kMB;
  constexpr double kStep = 50e-6;
  double heap = w.live;                 // both kinds
  double external = heap * w.external;  // of that
  double dead = 0, dead_until = 0;      // external memory that is about to go
  double time = 0, gc_time = 0;
  const auto now = [&] {
    return pacer::memory{.limit = static_cast<uint64_t>(limit),
                         .used = static_cast<uint64_t>(heap + kRest),
                         .heap_free = 0,
                         .heap_allocated = static_cast<uint64_t>(heap - external),
                         .heap_spans = static_cast<uint64_t>(heap - external),
                         .external = static_cast<uint64_t>(external),
                         .ignore = brake.limiting()};
  };
  const auto make = [&](double bytes) {
    heap += bytes;
    external += bytes * w.external;
    out.made += bytes;
    out.peak = std::max(out.peak, (heap + kRest) / limit);
  };
  p.set_memory(now());
  while (time < seconds) {
    // Until the trigger.
    while (heap < static_cast<double>(p.trigger()) && time < seconds) {
      if (dead > 0 && time >= dead_until) {
        heap -= dead;
        external -= dead;
        dead = 0;
        p.set_external(std::min(p.external(), static_cast<uint64_t>(external)));
        p.set_memory(now());
      }
      make(w.procs * kStep * w.alloc_rate);
      time += kStep;
      brake.update(static_cast<int64_t>(kStep * 1e9 * w.procs), 0, w.procs);
    }
    const double began = time;
    p.start_cycle(static_cast<uint64_t>(heap), static_cast<uint64_t>(external));
    const double marked = w.live * (1 - w.external);
    const double work = marked * w.scannable + w.roots;
    double done = 0, credit = 0, assist_time = 0;
    while (done < work) {
      const double ratio = p.ratio(static_cast<uint64_t>(heap), static_cast<uint64_t>(done));
      const double background = w.mark_rate * pacer::share(w.procs) * w.procs * kStep;
      done += background;
      credit += background;
      const double mutator = (1 - pacer::share(w.procs)) * w.procs * kStep;
      const double wish = mutator * w.alloc_rate;
      const double owed = brake.limiting() ? 0 : wish * (1 - w.external) * ratio;
      const double from_credit = std::min(credit, owed);
      credit -= from_credit;
      const double by_assist = owed - from_credit;
      const double scale = mutator / (mutator + by_assist / w.mark_rate);
      make(wish * scale);
      done += by_assist * scale;
      const double assisted = by_assist * scale / w.mark_rate;
      assist_time += assisted;
      time += kStep;
      brake.update(static_cast<int64_t>(kStep * 1e9 * w.procs),
                   static_cast<int64_t>((pacer::share(w.procs) * w.procs * kStep + assisted) * 1e9), w.procs);
    }
    gc_time += (time - began) * pacer::share(w.procs) * w.procs + assist_time;
    ++out.cycles;
    p.end_cycle({.marked = static_cast<uint64_t>(marked),
                 .external = static_cast<uint64_t>(external),
                 .live_end = static_cast<uint64_t>(heap),
                 .heap_work = static_cast<uint64_t>(marked * w.scannable),
                 .root_work = static_cast<uint64_t>(w.roots),
                 .duration = static_cast<int64_t>((time - began) * 1e9),
                 .assist = static_cast<int64_t>(assist_time * 1e9),
                 .idle = 0,
                 .procs = w.procs},
                now());
    if (dead == 0) dead_until = time + w.late;
    dead = external - w.live * w.external;
    heap = w.live + dead;  // what is swept is used again before more is
    p.set_memory(now());
    out.missed = p.limit_missed();
  }
  out.gc = gc_time / (time * w.procs);
  return out;
}

constexpr uint64_t kMiB = 1 << 20;

TEST(PacerWithExternalMemory, ItCountsAsLiveUntilItIsGone) {
  pacer p(100, false);
  p.start_cycle(0);
  p.end_cycle({.marked = 10 * kMiB, .external = 90 * kMiB, .live_end = 100 * kMiB, .heap_work = 10 * kMiB});
  EXPECT_EQ(p.goal(), 200 * kMiB);
  p.set_external(40 * kMiB);  // destructors have run
  EXPECT_EQ(p.goal(), 100 * kMiB);
  p.set_external(0);
  EXPECT_EQ(p.goal(), 20 * kMiB);
  pacer ahead(100, true);
  ahead.start_cycle(0);
  ahead.end_cycle({.marked = 10 * kMiB, .external = 90 * kMiB, .live_end = 100 * kMiB, .heap_work = 10 * kMiB});
  EXPECT_GT(ahead.trigger(), 100 * kMiB) << "else one collection follows the other";
  EXPECT_LE(ahead.trigger(), ahead.goal());
}

TEST(PacerWithExternalMemory, ItIsNothingToMark) {
  pacer p(100, true);
  p.start_cycle(100 * kMiB, 90 * kMiB);
  p.end_cycle({.marked = 10 * kMiB, .external = 90 * kMiB, .live_end = 100 * kMiB, .heap_work = 10 * kMiB});
  p.start_cycle(150 * kMiB, 140 * kMiB);
  EXPECT_LT(p.ratio(150 * kMiB, 11 * kMiB), 0.01) << "ten megabytes there were, and eleven are marked";
}

TEST(PacerWithExternalMemory, CountsAgainstTheLimit) {
  pacer p(100, true);
  p.start_cycle(0);
  // 20 MiB of other things, 40 of objects, 30 behind them.
  pacer::memory m{
      .limit = 120 * kMiB, .used = 90 * kMiB, .heap_free = 0, .heap_allocated = 40 * kMiB, .heap_spans = 40 * kMiB, .external = 30 * kMiB};
  p.end_cycle({.marked = 40 * kMiB, .external = 30 * kMiB, .live_end = 70 * kMiB, .heap_work = 40 * kMiB}, m);
  EXPECT_TRUE(p.by_limit());
  EXPECT_EQ(p.goal(), 97 * kMiB) << "what the rest leaves, and its headroom, for both";
  m.external = 10 * kMiB;
  m.used = 70 * kMiB;
  p.set_external(10 * kMiB);
  p.set_memory(m);
  EXPECT_EQ(p.goal(), 97 * kMiB) << "the room is the same, there is more of it left";
}

TEST(PacerWithExternalMemory, BeyondTheLimitItBeginsACollectionForAPartOfItOnly) {
  pacer p(100, true);
  const pacer::memory m{
      .limit = 100 * kMiB, .used = 341 * kMiB, .heap_free = 0, .heap_allocated = 1 * kMiB, .heap_spans = 1 * kMiB, .external = 320 * kMiB};
  for (int cycle = 0; cycle < 2; ++cycle) {
    p.start_cycle(321 * kMiB, 320 * kMiB);
    p.end_cycle({.marked = 1 * kMiB, .external = 320 * kMiB, .live_end = 321 * kMiB, .heap_work = 1 * kMiB}, m);
    EXPECT_GE(p.trigger(), 321 * kMiB + 7 * kMiB);
    EXPECT_LE(p.goal(), 321 * kMiB + 11 * kMiB);
    EXPECT_EQ(p.limit_missed(), cycle == 1) << "it may all be about to go, the first time";
  }
  // The destructors run late, but they run: no limit was missed.
  p.set_external(20 * kMiB);
  EXPECT_FALSE(p.limit_missed());
}

// What comes or goes behind objects while they are marked says nothing of how many of them are new.
TEST(PacerWithExternalMemory, ThatComesWhileACycleMarksMakesNoObjectYounger) {
  pacer p(100, true);
  p.start_cycle(50 * kMiB, 0);
  p.end_cycle(
      {.marked = 50 * kMiB, .external = 40 * kMiB, .live_end = 90 * kMiB, .heap_work = 50 * kMiB},
      {.limit = 45 * kMiB, .used = 95 * kMiB, .heap_free = 0, .heap_allocated = 50 * kMiB, .heap_spans = 50 * kMiB, .external = 40 * kMiB});
  EXPECT_TRUE(p.limit_missed()) << "the objects alone, which lived before, are more";
}

TEST(PacerWithExternalMemory, ThatGoesWhileACycleMarksMakesNoObjectOlder) {
  pacer p(100, true);
  p.start_cycle(90 * kMiB, 40 * kMiB);
  p.end_cycle({.marked = 90 * kMiB, .external = 0, .live_end = 90 * kMiB, .heap_work = 50 * kMiB},
              {.limit = 75 * kMiB, .used = 95 * kMiB, .heap_free = 0, .heap_allocated = 90 * kMiB, .heap_spans = 90 * kMiB, .external = 0});
  EXPECT_TRUE(p.by_limit());
  EXPECT_FALSE(p.limit_missed()) << "40 MiB of the objects were made meanwhile, and may be dead";
}

TEST(PacerWithLimit, FarAboveChangesNothing) {
  program w;
  pacer with(100, true), without(100, true);
  simulate_limit(with, w, 1000 * kMB, 5);
  simulate_limit(without, w, 1e18, 5);
  EXPECT_FALSE(with.by_limit());
  EXPECT_EQ(with.goal(), without.goal());
}

TEST(PacerWithLimit, AboveLiveIsKeptWithFewAssists) {
  program w;  // 100 MB, and 20 beside them: by percentage 221 MB
  for (const double limit : {200 * kMB, 170 * kMB}) {
    pacer p(100, true);
    simulate_limit(p, w, limit, 2);
    const limited_outcome o = simulate_limit(p, w, limit, 10);
    EXPECT_TRUE(p.by_limit());
    EXPECT_LE(o.peak, 1.0) << limit / kMB;
    EXPECT_GE(o.peak, 0.9) << limit / kMB;
    EXPECT_LE(o.gc, 0.45) << limit / kMB;
    EXPECT_FALSE(o.missed);
  }
}

TEST(PacerWithLimit, ItHoldsWithoutAPercentage) {
  program w;
  pacer p(-1, true);
  EXPECT_EQ(p.goal(), pacer::kNever);
  const limited_outcome o = simulate_limit(p, w, 200 * kMB, 10);
  EXPECT_GT(o.cycles, 10u);
  EXPECT_LE(o.peak, 1.0);
  EXPECT_EQ(p.retain(), pacer::kNever) << "without a goal of its own the heap keeps what the limit allows";
}

// The heap may overrun the goal of the percentage when there turns out to be more to mark, but not the limit's.
TEST(PacerWithLimit, AboveThePercentagesGoalItIsWhereTheHeapIsToEnd) {
  pacer p(100, true);
  p.start_cycle(0);
  p.end_cycle({.marked = 25 * kMiB, .live_end = 25 * kMiB, .heap_work = 1 * kMiB},
              {.limit = 72 * kMiB, .used = 37 * kMiB, .heap_free = 0, .heap_allocated = 25 * kMiB, .heap_spans = 25 * kMiB});
  EXPECT_FALSE(p.by_limit());
  EXPECT_EQ(p.goal(), 50 * kMiB);
  const auto hard = static_cast<double>(p.hard_goal());
  EXPECT_NEAR(hard, 0.97 * 60 * kMB, kMB);
  p.start_cycle(45 * kMiB);
  EXPECT_NEAR(p.ratio(48 * kMiB, 2 * kMiB), (45 - 2) * kMB / (hard - 48 * kMB), 0.1) << "more to mark than in the last cycle";
  EXPECT_NEAR(p.ratio(54 * kMiB, 2 * kMiB), (45 - 2) * kMB / (hard - 54 * kMB), 0.5) << "beyond the goal";
  EXPECT_GT(p.ratio(59 * kMiB, 2 * kMiB), kMB) << "no way is left";
  p.set_memory({});
  EXPECT_EQ(p.hard_goal(), pacer::kNever);
}

TEST(PacerWithLimit, JustAboveLiveCostsHalfOfTheProcessorsAtMost) {
  program w;
  pacer p(100, true);
  const limited_outcome o = simulate_limit(p, w, 128 * kMB, 60);
  EXPECT_LE(o.gc, 0.53);
  EXPECT_FALSE(o.missed);
  EXPECT_GT(o.made, 0.4 * 60 * w.procs * w.alloc_rate) << "the other half is the program's";
}

TEST(PacerWithLimit, BelowLiveTheProgramGoesOnAtHalfItsSpeed) {
  for (const int procs : {1, 4}) {
    const program w{.procs = procs};
    pacer p(100, true);
    const limited_outcome o = simulate_limit(p, w, 60 * kMB, 60);
    EXPECT_TRUE(o.missed);
    EXPECT_LE(o.gc, 0.53) << procs;
    EXPECT_GT(o.made, 0.4 * 60 * w.procs * w.alloc_rate) << procs;
    EXPECT_LE(o.peak * 60, 120 + 100) << "and does not grow beyond what the percentage would have allowed";
  }
}

TEST(PacerWithLimit, MemoryBehindObjectsKeepsItAsHeapDoes) {
  const program w{.external = 0.8};
  pacer p(400, true);
  simulate_limit(p, w, 200 * kMB, 2);
  const limited_outcome o = simulate_limit(p, w, 200 * kMB, 10);
  EXPECT_TRUE(p.by_limit());
  EXPECT_LE(o.peak, 1.0);
  EXPECT_GE(o.peak, 0.8);
  EXPECT_LE(o.gc, 0.2) << "little of it is to be marked";
  EXPECT_FALSE(o.missed);
}

TEST(PacerWithLimit, BelowWhatLiveObjectsOwnCollectionsAreNotInVainForEver) {
  for (const double late : {0.0, 0.005, 0.1, 1e9}) {  // the last: destructors never run, and it all counts as alive
    const program w{.external = 0.98, .late = late};
    pacer p(100, true);
    const limited_outcome o = simulate_limit(p, w, 60 * kMB, 10);
    EXPECT_LE(static_cast<double>(o.cycles), o.made / (w.live / 32 * 45 / 64) + 2) << late;
    EXPECT_LE(o.gc, 0.2) << late;
    EXPECT_TRUE(o.missed) << late;
  }
}

TEST(PacerWithLimit, BelowLiveAStandingWorldIgnoresItWhileTheBrakeIsOn) {
  pacer p(100, false);
  p.start_cycle(100 << 20);
  pacer::memory m{.limit = 60 << 20, .used = 120 << 20, .heap_free = 0, .heap_allocated = 100 << 20, .heap_spans = 100 << 20};
  p.end_cycle({.marked = 100 << 20, .live_end = 100 << 20, .heap_work = 100 << 20}, m);
  EXPECT_TRUE(p.limit_missed());
  EXPECT_TRUE(p.by_limit());
  EXPECT_GT(p.goal(), uint64_t{102 << 20}) << "some way, however small the limit";
  EXPECT_LT(p.goal(), uint64_t{105 << 20});
  m.ignore = true;
  p.set_memory(m);
  EXPECT_FALSE(p.by_limit());
  EXPECT_EQ(p.goal(), uint64_t{200 << 20});
}

// What was made while the cycle marked may be dead as well: that it does not fit is no reason to complain.
TEST(PacerWithLimit, IsNotMissedByWhatMayBeDead) {
  const pacer::memory m{.limit = 60 << 20, .used = 70 << 20, .heap_free = 0, .heap_allocated = 65 << 20, .heap_spans = 65 << 20};
  pacer p(400, true);
  p.start_cycle(30 << 20);
  p.end_cycle({.marked = 60 << 20, .live_end = 65 << 20, .heap_work = 25 << 20}, m);
  EXPECT_TRUE(p.by_limit());
  EXPECT_FALSE(p.limit_missed());
  p.start_cycle(62 << 20);
  p.end_cycle({.marked = 60 << 20, .live_end = 65 << 20, .heap_work = 60 << 20}, m);
  EXPECT_TRUE(p.limit_missed());
}

TEST(PacerWithLimit, TheHeapsShareIsWhatTheRestLeaves) {
  pacer p(100, true);
  p.start_cycle(0);
  // 50 MB of objects, 10 MB of free pages (for the heap to use), 40 MB of others.
  p.end_cycle({.marked = 50 << 20, .live_end = 50 << 20, .heap_work = 50 << 20},
              {.limit = 120 << 20, .used = 100 << 20, .heap_free = 10 << 20, .heap_allocated = 50 << 20, .heap_spans = 52 << 20});
  EXPECT_NEAR(static_cast<double>(p.goal()), 0.97 * 80 * kMB, kMB);
  // More than the limit is in use: the excess must go first.
  p.set_memory({.limit = 120 << 20, .used = 130 << 20, .heap_free = 10 << 20, .heap_allocated = 80 << 20, .heap_spans = 82 << 20});
  EXPECT_NEAR(static_cast<double>(p.goal()), 0.97 * 70 * kMB, kMB);
  EXPECT_FALSE(p.limit_missed());
}

TEST(Pacer, RetainsATenthMoreThanTheGoalsProportion) {
  pacer p(100, true);
  const auto spans = [](uint64_t bytes) { return pacer::memory{.heap_spans = bytes}; };
  p.start_cycle(0);
  p.end_cycle({.marked = 50 << 20, .live_end = 50 << 20, .heap_work = 50 << 20}, spans(100 << 20));
  ASSERT_EQ(p.goal(), uint64_t{100 << 20});
  p.start_cycle(100 << 20);
  p.end_cycle({.marked = 50 << 20, .live_end = 100 << 20, .heap_work = 50 << 20}, spans(104 << 20));
  EXPECT_NEAR(static_cast<double>(p.retain()), 1.1 * 104 * kMB, kMB) << "steady";
  p.start_cycle(100 << 20);
  p.end_cycle({.marked = 10 << 20, .live_end = 100 << 20, .heap_work = 10 << 20}, spans(104 << 20));
  EXPECT_NEAR(static_cast<double>(p.retain()), 1.1 * 104 / 5 * kMB, kMB) << "a fifth is wanted from now on";
}

TEST(CpuLimiter, LimitsWhenMarkingTakesHalfForLong) {
  cpu_limiter l;
  for (int i = 0; i < 1000; ++i) l.update(10'000'000, 4'000'000, 2);
  EXPECT_FALSE(l.limiting()) << "40 % is not too much";
  for (int i = 0; i < 100; ++i) l.update(10'000'000, 10'000'000, 2);
  EXPECT_FALSE(l.limiting()) << "a second of one processor is a burst";
  for (int i = 0; i < 110; ++i) l.update(10'000'000, 10'000'000, 2);
  EXPECT_TRUE(l.limiting());
  EXPECT_EQ(l.times(), 1u);
  for (int i = 0; i < 11; ++i) l.update(10'000'000, 0, 2);  // what ran over, and one step more
  EXPECT_FALSE(l.limiting());
}

}  // namespace
}  // namespace warren::rt
