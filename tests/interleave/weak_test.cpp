// The upgrade of a weak pointer (warren/weak.h, runtime/gc/weak.h) against a collection that judges its target: what lock() returns was not
// found dead and is not freed, wherever the world stops in between.
//
// weak_table, its judgement and the mark bits are the shipped ones. What surrounds them is written again in steps: the collection with what
// it does at each stop, and the inlined part of lock(), so that the collector knows what a held thread has in its registers.
#include "runtime/gc/weak.h"

#include <gtest/gtest.h>

#include "held_threads.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::held_register;
using interleave::outcome;
using interleave::require_if_possible;
using interleave::scenario;
using interleave::start_the_world;
using interleave::stop_the_world;

enum class wrong {
  nothing,
  no_shading,           // of what lock() returns
  looks_once,           // the fast path does not load the cell again
  no_critical_section,  // around the slow path
  no_stop,              // between the search for finalized objects and the marking of what was found
};

// An object that only weak pointers lead to.
template <wrong kWrong>
struct program {
  mheap heap;
  void* const target = heap.object(1);
  detail::weak_cell cell;
  weak_table table;
  std::atomic<bool> marking{false}, found{false};

  struct thread {
    held_register at_work;  // not at a safepoint
    held_register registers, stack;
    held_register shaded;  // its barrier buffer
    held_register ran_on;  // it was not at a safepoint when its stack was scanned
    std::atomic<bool> got{false};
  };
  thread threads[2];

  program() { cell.target.store(target, std::memory_order_relaxed); }

  // As weak<T>::lock.
  void lock(thread& t) {
    t.at_work.set(&t);
    void* got = cell.target.load(std::memory_order_relaxed);
    t.registers.set(got);
    if (marking.load(std::memory_order_relaxed)) {
      got = lock_weak(t);
    } else if (kWrong != wrong::looks_once && cell.target.load(std::memory_order_relaxed) != got) {
      got = nullptr;
    }
    t.stack.set(got);
    t.registers.set(nullptr);
    t.at_work.set(nullptr);
    t.got.store(got != nullptr, std::memory_order_relaxed);
    if (got != nullptr) require_if_possible(!found.load(std::memory_order_relaxed), "an object is locked whose finalizer is queued");
  }
  // As lock_weak.
  void* lock_weak(thread& t) {
    t.registers.set(nullptr);
    const uint32_t outer = kWrong == wrong::no_critical_section ? 0 : enter_critical();
    void* const got = table.lock(&cell, heap);
    t.registers.set(got);
    if (kWrong != wrong::no_shading) t.shaded.set(got);
    if (kWrong != wrong::no_critical_section) leave_critical(outer);
    return got;
  }

  // World stopped. first: all stacks; then those of threads that have run since without a safepoint, or are held outside of one.
  void scan(bool first) {
    for (thread& t : threads) {
      if (first || t.at_work.get() != nullptr || t.ran_on.get() != nullptr) {
        heap.mark(t.registers.get());
        heap.mark(t.stack.get());
      }
      if (first) t.ran_on.set(t.at_work.get());
      heap.mark(t.shaded.get());
      t.shaded.set(nullptr);
    }
  }
  // As the collector does, with more than a few ends of objects.
  void collect(bool finalized) {
    stop_the_world();
    marking.store(true, std::memory_order_relaxed);
    scan(true);
    start_the_world();
    stop_the_world();
    scan(false);
    table.begin_judged([](void*, const void*) {}, nullptr);
    start_the_world();
    clear();
    if (is_dead(heap, reinterpret_cast<uintptr_t>(target))) found.store(true, std::memory_order_relaxed);
    if (kWrong == wrong::no_stop && finalized && found.load(std::memory_order_relaxed)) heap.mark(target);
    stop_the_world();
    scan(false);
    table.end_judged();
    start_the_world();
    if (finalized && found.load(std::memory_order_relaxed)) heap.mark(target);
    stop_the_world();
    scan(false);
    marking.store(false, std::memory_order_relaxed);
    start_the_world();
  }
  // As weak_table::clear_unreachable.
  void clear() {
    if (is_dead(heap, reinterpret_cast<uintptr_t>(target))) cell.target.store(nullptr, std::memory_order_relaxed);
  }

  void check() {
    const bool was_found = found.load();
    for (const thread& t : threads) {
      if (t.got.load()) {
        require_if_possible(!was_found, "an object is queued for its finalizer, or freed, and was locked");
        require_if_possible(!is_dead(heap, reinterpret_cast<uintptr_t>(target)), "a locked object is not marked");
      }
    }
    require_if_possible(was_found == (cell.target.load() == nullptr), "a weak pointer is null if and only if its object was found dead");
  }
};

template <wrong kWrong, bool kFinalized>
void one_locks(scenario& s) {
  auto* const p = s.make<program<kWrong>>();
  s.name(&p->cell, "cell");
  s.thread("locks", [=] { p->lock(p->threads[0]); });
  s.thread("collects", [=] { p->collect(kFinalized); });
  s.at_end([=] { p->check(); });
}

template <wrong kWrong>
void two_lock(scenario& s) {
  auto* const p = s.make<program<kWrong>>();
  s.name(&p->cell, "cell");
  s.thread("locks", [=] { p->lock(p->threads[0]); });
  s.thread("locks, too", [=] { p->lock(p->threads[1]); });
  s.thread("collects", [=] { p->collect(true); });
  s.at_end([=] { p->check(); });
}

constexpr interleave::subject kSubjects[] = {
    {"OneLocksAFinalizedObject", one_locks<wrong::nothing, true>, {.preemptions = 4, .weak = 2}},
    {"OneLocksAnObjectThatIsFreed", one_locks<wrong::nothing, false>, {.preemptions = 4, .weak = 2}},
    {"TwoLock", two_lock<wrong::nothing>, {.preemptions = 2, .weak = 1}},
};
INTERLEAVE_SUBJECTS(Weak, kSubjects)

#ifndef WARREN_MUTANT
template <wrong kWrong>
constexpr interleave::subject kWith[] = {
    {"OneLocksAFinalizedObject", one_locks<kWrong, true>, {.preemptions = 4, .weak = 2}},
    {"OneLocksAnObjectThatIsFreed", one_locks<kWrong, false>, {.preemptions = 4, .weak = 2}},
    {"TwoLock", two_lock<kWrong>, {.preemptions = 2, .weak = 1}},
};
// What the essay in runtime/gc/weak.h and the one in runtime/gc/finalizer.h say that is needed, is.
TEST(WeakMistakes, AreFound) {
  interleave::must_be_found(kWith<wrong::no_shading>, nullptr, outcome::assertion);
  interleave::must_be_found(kWith<wrong::looks_once>, nullptr, outcome::assertion);
  interleave::must_be_found(kWith<wrong::no_critical_section>, nullptr, outcome::assertion);
  interleave::must_be_found(kWith<wrong::no_stop>, nullptr, outcome::assertion);
}
#endif

}  // namespace
}  // namespace warren::rt
