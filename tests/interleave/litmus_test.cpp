// The checker's own test: small programs whose possible outcomes are known, from the C++ standard or from the literature on memory models.
#include <gtest/gtest.h>

#include <atomic>

#include "interleave.h"

namespace {

using interleave::explore;
using interleave::limits;
using interleave::memory_model;
using interleave::outcome;
using interleave::require;
using interleave::scenario;
using std::memory_order;
using enum std::memory_order;

limits with(memory_model m) {
  limits l;
  l.memory = m;
  return l;
}

// Dekker's pattern: both loads may give 0 unless something full stands between.
template <class Middle>
auto store_buffering(memory_order store, memory_order load, Middle middle) {
  return [=](scenario& s) {
    struct state {
      std::atomic<int> x{0}, y{0};
      int a = -1, b = -1;
    };
    auto* v = s.make<state>();
    s.thread("left", [=] {
      v->x.store(1, store);
      middle();
      v->a = v->y.load(load);
    });
    s.thread("right", [=] {
      v->y.store(1, store);
      middle();
      v->b = v->x.load(load);
    });
    s.at_end([=] { require(v->a == 1 || v->b == 1, "both loads came before both stores"); });
  };
}
void nothing() {}
void full_fence() { std::atomic_thread_fence(seq_cst); }

TEST(Litmus, StoreBufferingIsSeenAndFencesForbidIt) {
  EXPECT_EQ(explore(store_buffering(relaxed, relaxed, nothing)).kind, outcome::assertion);
  EXPECT_EQ(explore(store_buffering(release, acquire, nothing)).kind, outcome::assertion);
  EXPECT_EQ(explore(store_buffering(release, acquire, nothing), with(memory_model::x86)).kind, outcome::assertion);
  EXPECT_EQ(explore(store_buffering(relaxed, relaxed, nothing), with(memory_model::sequential)).kind, outcome::passed);
  EXPECT_EQ(explore(store_buffering(relaxed, relaxed, full_fence)).kind, outcome::passed);
  EXPECT_EQ(explore(store_buffering(seq_cst, seq_cst, nothing)).kind, outcome::passed);
  EXPECT_EQ(explore(store_buffering(seq_cst, relaxed, nothing)).kind, outcome::assertion);
  EXPECT_EQ(explore(store_buffering(seq_cst, relaxed, nothing), with(memory_model::x86)).kind, outcome::passed);
}

// The asymmetric form: a compiler barrier here, membarrier there.
TEST(Litmus, MembarrierIsAFenceOnBothSides) {
  const auto dekker = [](bool barrier) {
    return [=](scenario& s) {
      struct state {
        std::atomic<int> x{0}, y{0};
        int a = -1, b = -1;
      };
      auto* v = s.make<state>();
      s.thread("fast", [=] {
        v->x.store(1, relaxed);
        v->a = v->y.load(relaxed);
      });
      s.thread("slow", [=] {
        v->y.store(1, relaxed);
        if (barrier) interleave::membarrier();
        v->b = v->x.load(relaxed);
      });
      s.at_end([=] { require(v->a == 1 || v->b == 1, "both loads came before both stores"); });
    };
  };
  EXPECT_EQ(explore(dekker(true)).kind, outcome::passed);
  EXPECT_EQ(explore(dekker(false)).kind, outcome::assertion);
  EXPECT_EQ(explore(dekker(false), with(memory_model::x86)).kind, outcome::assertion);
}

auto message_passing(memory_order store, memory_order load, bool fences) {
  return [=](scenario& s) {
    struct state {
      int data = 0;
      std::atomic<int> flag{0};
    };
    auto* v = s.make<state>();
    s.thread("writer", [=] {
      v->data = 42;
      if (fences) std::atomic_thread_fence(release);
      v->flag.store(1, store);
    });
    s.thread("reader", [=] {
      if (v->flag.load(load) == 0) return;
      if (fences) std::atomic_thread_fence(acquire);
      require(v->data == 42, "the message is not there");
    });
  };
}

TEST(Litmus, MessagePassingNeedsReleaseAndAcquire) {
  EXPECT_EQ(explore(message_passing(release, acquire, false)).kind, outcome::passed);
  EXPECT_EQ(explore(message_passing(relaxed, acquire, false)).kind, outcome::data_race);
  EXPECT_EQ(explore(message_passing(release, relaxed, false)).kind, outcome::data_race);
  EXPECT_EQ(explore(message_passing(relaxed, relaxed, true)).kind, outcome::passed);
  EXPECT_EQ(explore(message_passing(relaxed, relaxed, false), with(memory_model::x86)).kind, outcome::passed);
}

// A read-modify-write between release and acquire keeps the release sequence; a plain store by a third thread does not (C++20).
TEST(Litmus, ReleaseSequences) {
  const auto chain = [](bool rmw) {
    return [=](scenario& s) {
      struct state {
        int data = 0;
        std::atomic<int> flag{0};
      };
      auto* v = s.make<state>();
      s.thread("writer", [=] {
        v->data = 42;
        v->flag.store(1, release);
      });
      s.thread("between", [=] {
        if (v->flag.load(relaxed) != 1) return;
        if (rmw) {
          v->flag.fetch_add(1, relaxed);
        } else {
          v->flag.store(2, relaxed);
        }
      });
      s.thread("reader", [=] {
        if (v->flag.load(acquire) == 2) require(v->data == 42, "the message is not there");
      });
    };
  };
  EXPECT_EQ(explore(chain(true)).kind, outcome::passed);
  EXPECT_EQ(explore(chain(false)).kind, outcome::data_race);
}

// Two readers of one variable agree on the order of its values; of two variables they need not.
TEST(Litmus, CoherenceHoldsPerVariableOnly) {
  const auto one = [](scenario& s) {
    struct state {
      std::atomic<int> x{0};
    };
    auto* v = s.make<state>();
    s.thread("writer", [=] {
      v->x.store(1, relaxed);
      v->x.store(2, relaxed);
    });
    s.thread("reader", [=] {
      const int a = v->x.load(relaxed), b = v->x.load(relaxed);
      require(b >= a, "a later load returned an earlier value");
    });
  };
  EXPECT_EQ(explore(one).kind, outcome::passed);
  const auto iriw = [](memory_order order) {
    return [=](scenario& s) {
      struct state {
        std::atomic<int> x{0}, y{0};
        int r[4] = {};
      };
      auto* v = s.make<state>();
      s.thread("x", [=] { v->x.store(1, order == acquire ? release : order); });
      s.thread("y", [=] { v->y.store(1, order == acquire ? release : order); });
      s.thread("xy", [=] {
        v->r[0] = v->x.load(order);
        v->r[1] = v->y.load(order);
      });
      s.thread("yx", [=] {
        v->r[2] = v->y.load(order);
        v->r[3] = v->x.load(order);
      });
      s.at_end([=] { require(!(v->r[0] == 1 && v->r[1] == 0 && v->r[2] == 1 && v->r[3] == 0), "the readers disagree"); });
    };
  };
  EXPECT_EQ(explore(iriw(acquire)).kind, outcome::assertion);
  EXPECT_EQ(explore(iriw(seq_cst)).kind, outcome::passed);
}

TEST(Litmus, WritesToOneWordByTwoThreads) {
  const auto ends_of = [](bool at_once) {
    unsigned ends = 0;  // a bit for each final value
    const auto r = explore([=, &ends](scenario& s) {
      struct state {
        std::atomic<int> x{0};
      };
      auto* v = s.make<state>();
      for (const char* name : {"a", "b"})
        s.thread(name, [=] {
          if (at_once) {
            v->x.fetch_add(1, relaxed);
          } else {
            v->x.store(v->x.load(relaxed) + 1, relaxed);
          }
        });
      s.at_end([=, &ends] { ends |= 1u << v->x.load(relaxed); });
    });
    EXPECT_EQ(r.kind, outcome::passed) << r;
    return ends;
  };
  EXPECT_EQ(ends_of(false), 0b110u);
  EXPECT_EQ(ends_of(true), 0b100u);
}

// What the checker calls by which name.
TEST(Kinds, DeadlockLivelockUseAfterFree) {
  struct state {
    std::atomic<int> x{0};
  };
  const auto waits = explore([](scenario& s) { s.thread("a", [] { interleave::wait_until([] { return false; }, "nothing"); }); });
  EXPECT_EQ(waits.kind, outcome::deadlock) << waits;
  const auto spins = explore([](scenario& s) {
    auto* v = s.make<state>();
    s.thread("a", [=] {
      while (v->x.load(relaxed) == 0) {
      }
    });
  });
  EXPECT_EQ(spins.kind, outcome::livelock) << spins;
  const auto spins_with_end = explore([](scenario& s) {
    auto* v = s.make<state>();
    s.thread("a", [=] {
      while (v->x.load(relaxed) == 0) {
      }
    });
    s.thread("b", [=] { v->x.store(1, relaxed); });
  });
  EXPECT_EQ(spins_with_end.kind, outcome::passed) << spins_with_end;
  const auto freed = explore([](scenario& s) {
    auto* v = s.make<state>();
    s.thread("a", [=] { delete v; });
    s.thread("b", [=] { v->x.store(1, relaxed); });
  });
  EXPECT_TRUE(freed.kind == outcome::use_after_free || freed.kind == outcome::data_race) << freed;
}

// Spin locks: a correct one, one without order, one that is taken by two steps.
TEST(Kinds, ALockIsCheckedByWhatItProtects) {
  const auto lock = [](memory_order take, memory_order give, bool two_steps) {
    return [=](scenario& s) {
      struct state {
        std::atomic<bool> held{false};
        int guarded = 0;
      };
      auto* v = s.make<state>();
      for (const char* name : {"a", "b"})
        s.thread(name, [=] {
          if (two_steps) {
            while (v->held.load(take)) {
            }
            v->held.store(true, relaxed);
          } else {
            while (v->held.exchange(true, take)) interleave::yield();
          }
          ++v->guarded;
          v->held.store(false, give);
        });
      s.at_end([=] { require(v->guarded == 2, "an increment was lost"); });
    };
  };
  EXPECT_EQ(explore(lock(acquire, release, false)).kind, outcome::passed);
  EXPECT_EQ(explore(lock(relaxed, release, false)).kind, outcome::data_race);
  EXPECT_EQ(explore(lock(acquire, relaxed, false)).kind, outcome::data_race);
  EXPECT_EQ(explore(lock(acquire, release, true)).kind, outcome::data_race);
}

// The printed schedule repeats the failure, and nothing else.
TEST(Replay, AScheduleRepeatsItsFailure) {
  const auto program = store_buffering(release, acquire, nothing);
  const auto found = explore(program);
  ASSERT_EQ(found.kind, outcome::assertion);
  EXPECT_NE(found.trace.find("NOT THE NEWEST"), std::string::npos) << found;
  EXPECT_NE(found.trace.find("litmus_test.cpp"), std::string::npos) << found;
  limits l;
  l.replay = found.schedule.c_str();
  const auto again = explore(program, l);
  EXPECT_EQ(again.kind, found.kind);
  EXPECT_EQ(again.executions, 1u);
  EXPECT_EQ(again.trace, found.trace);
  l.replay = "0,0";
  EXPECT_EQ(explore(program, l).kind, outcome::passed);
}

// A mistake seeded by line of source, and one whose line is not there.
TEST(Mistakes, AreFoundByLine) {
  const auto program = message_passing(release, acquire, false);
  EXPECT_EQ(explore(program, {"litmus_test.cpp", "v->flag.store(1, store)", interleave::weakening::relaxed}).kind, outcome::data_race);
  EXPECT_EQ(explore(program, {"litmus_test.cpp", "v->flag.load(load)", interleave::weakening::no_acquire}).kind, outcome::data_race);
  EXPECT_EQ(explore(program, {"litmus_test.cpp", "there is no such line", interleave::weakening::relaxed}).kind, outcome::unfinished);
  const auto fenced = store_buffering(relaxed, relaxed, full_fence);
  EXPECT_EQ(explore(fenced, {"litmus_test.cpp", "atomic_thread_fence(seq_cst)", interleave::weakening::dropped}).kind, outcome::assertion);
}

// Globals are put back after each execution.
std::atomic<int> global{7};
TEST(Replay, GlobalsAreRestored) {
  const auto r = explore([](scenario& s) {
    require(global.load(relaxed) == 7, "an earlier execution shows");
    s.thread("a", [] { global.store(8, relaxed); });
    s.thread("b", [] { global.store(9, relaxed); });
  });
  EXPECT_EQ(r.kind, outcome::passed) << r;
  EXPECT_GT(r.executions, 2u);
  EXPECT_EQ(global.load(), 7);
}

}  // namespace
