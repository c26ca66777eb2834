// The local run queue of a P, as it stands in runtime/sched/run_queue.cpp, with a ring of four.
#include "runtime/sched/run_queue.h"

#include <gtest/gtest.h>

#include "runtime/sched/g.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::limits;
using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

constexpr int kMost = 12;

// What is queued, and who got what. Entries are written by their submitter before put and by whoever took them afterwards: as a readied
// goroutine's fields are, so a hand-over without order is a data race.
struct world {
  struct entry : runnable {
    int written = 0;
    int taken = 0;
  };
  run_queue q, mine;
  entry e[kMost];
  runnable* global = nullptr;  // spilled; the owner's
  int put_count = 0;

  void put(int i, bool next) {
    e[i].written = 1;
    ++put_count;
    run_queue::spill over;
    if (q.put(&e[i], next, &over)) return;
    require(over.count == run_queue::kCapacity / 2 + 1, "half of the ring and the newcomer spill");
    over.tail->next = global;
    global = over.head;
  }
  static void took(runnable* r) {
    if (r == nullptr) return;
    auto* x = static_cast<entry*>(r);
    require(x->written == 1, "an entry came out that was not put in");
    require(++x->taken == 1, "an entry came out twice");
  }
  void get() {
    bool inherit;
    took(q.get(&inherit));
  }
  void steal(bool take_next) {
    uint32_t moved = 0;
    took(q.steal_into(mine, take_next, &moved));
    bool inherit;
    for (uint32_t i = 1; i < moved; ++i) {
      runnable* r = mine.get(&inherit);
      require(r != nullptr, "fewer arrived than were moved");
      took(r);
    }
    require(mine.empty(), "more arrived than were moved");
  }
  // Everything that was put comes out once.
  void finish() {
    bool inherit;
    while (runnable* r = q.get(&inherit)) took(r);
    for (runnable* r = global; r != nullptr; r = r->next) took(r);
    int taken = 0;
    for (const entry& x : e) taken += x.taken;
    require(taken == put_count, "an entry was lost");
    require(q.empty() && q.size() == 0, "empty() or size() disagrees");
  }
};

// The owner puts and gets while a thief steals.
void put_get_steal(scenario& s) {
  auto* w = s.make<world>();
  s.name(&w->q, "queue");
  s.name(w, "world");
  s.thread("owner", [=] {
    w->put(0, false);
    w->put(1, false);
    w->get();
    w->put(2, false);
    w->get();
  });
  s.thread("thief", [=] {
    w->steal(false);
    w->steal(false);
  });
  s.at_end([=] { w->finish(); });
}

// Indices go around the ring, which the owner fills to the brim while the thief reads it.
void wrap_around(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "world");
  for (int i = 0; i < 3; ++i) w->put(i, false);
  w->get();
  w->get();
  s.thread("owner", [=] {
    for (int i = 3; i < 8; ++i) w->put(i, false);
  });
  s.thread("thief", [=] { w->steal(false); });
  s.at_end([=] { w->finish(); });
}

void spill(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "world");
  for (int i = 0; i < 4; ++i) w->put(i, false);
  s.thread("owner", [=] {
    w->put(4, false);
    w->get();
    w->put(5, true);
    w->put(6, true);
  });
  s.thread("thief", [=] { w->steal(true); });
  s.at_end([=] { w->finish(); });
}

void runnext(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "world");
  s.thread("owner", [=] {
    w->put(0, true);
    w->put(1, true);
    w->get();
    w->get();
    w->put(2, true);
    w->get();
  });
  s.thread("thief", [=] {
    w->steal(true);
    w->steal(true);
  });
  s.at_end([=] { w->finish(); });
}

// The thief is already after what lies in runnext when that is displaced.
void displaced(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "world");
  w->put(0, true);
  s.thread("owner", [=] { w->put(1, true); });
  s.thread("thief", [=] { w->steal(true); });
  s.at_end([=] { w->finish(); });
}

void two_thieves(scenario& s) {
  auto* w = s.make<world>();
  auto* other = s.make<run_queue>();
  s.name(w, "world");
  s.thread("owner", [=] {
    w->put(0, false);
    w->put(1, false);
    w->put(2, true);
    w->get();
  });
  s.thread("thief 1", [=] { w->steal(true); });
  s.thread("thief 2", [=] {
    uint32_t moved = 0;
    world::took(w->q.steal_into(*other, true, &moved));
    bool inherit;
    while (runnable* r = other->get(&inherit)) world::took(r);
  });
  s.at_end([=] { w->finish(); });
}

// empty() must not say yes while an entry moves from runnext to the ring and its successor is taken: the idle protocol relies on it.
void never_seen_empty(scenario& s) {
  auto* w = s.make<world>();
  s.name(w, "world");
  w->put(0, true);
  s.thread("owner", [=] {
    w->put(1, true);
    w->get();
  });
  s.thread("idler", [=] { require(!w->q.empty(), "empty, though it never was"); });
  s.at_end([=] { w->finish(); });
}

constexpr limits kBounds{.preemptions = 3, .weak = 1};
constexpr interleave::subject kSubjects[] = {
    {"PutGetSteal", put_get_steal, kBounds}, {"WrapAround", wrap_around, kBounds},     {"Spill", spill, kBounds},
    {"Runnext", runnext, kBounds},           {"TwoThieves", two_thieves, {.weak = 1}}, {"NeverSeenEmpty", never_seen_empty, kBounds},
    {"Displaced", displaced, kBounds},
};
INTERLEAVE_SUBJECTS(RunQueue, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"run_queue.h", "tail_.store(tail + 1, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"run_queue.h", "next_.store(r, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"run_queue.cpp", "old = next_.exchange(r, std::memory_order_acq_rel)", weakening::no_release}, outcome::data_race},
    {{"run_queue.cpp", "tail = tail_.load(std::memory_order_acquire);  // pairs with the release in put", weakening::no_acquire},
     outcome::data_race},
    {{"run_queue.cpp", "if (next != nullptr && !next_.compare_exchange_strong", weakening::no_acquire}, outcome::data_race},
    {{"membarrier.cpp", "syscall(", weakening::dropped}, outcome::data_race},
    {{"run_queue.h", "if (thieves_.load(std::memory_order_acquire) == 0)", weakening::no_acquire}, outcome::data_race},
    // Found by the checker: acquire alone was not enough for empty().
    {{"run_queue.h", "next_.store(nullptr, std::memory_order_release)", weakening::relaxed}, outcome::assertion},
};
INTERLEAVE_MISTAKES(RunQueue, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt
