// Finalizers: destructors of objects whose type says `using collected = warren::finalized;`.
//
// registered: made and constructed; the table does not keep it alive.
// found:      a collection found it unreachable. Nothing has been done about it yet, and nobody can take it.
// ready:      it and all it reaches are kept, or will be before the marking ends: its destructor may read them.
// done:       its destructor has run, or runs. Nothing keeps it: the next collection frees it.
// Destructors run unordered, each once, on goroutines that a collection starts when there is something to do (runtime/finalizer_pool.cpp).
//
// A program may have millions of finalized objects, so nothing here is proportional to their number while the world stands (in mode stw,
// and where collector.h says that all is done in the pause, it is). In a collection, in this order:
//   begin_marking      world stopped: the queue is a root
//   mark_some          the world runs, any participant: pieces of the queue are greyed, until none is left
//   find_unreachable   the world runs and everything reachable is marked: goes through the registered in pieces, and moves the unmarked
//                      behind the ready ones
//   publish            world stopped: moves a boundary. What was found is ready, and is to be greyed, as the queue was in the beginning
//   mark_some          the world runs: as before; and then comes the marking of what they reach
// All of a collection's dead are found before the first is greyed: what one points to may be another, and both are found in one collection.
//
// What the program may do meanwhile, and why it is right:
//   add        while objects are found: it is at the end of the table, and is looked at, or is not. Its object is held by the caller, so
//              it is marked, or was made after the marking began and is black: it would not be found. The same holds for what
//              find_unreachable has passed: the marks stand still, but for what stale words on stacks may still mark. An object that such a
//              word marks before it is looked at is found by the next collection; one that is marked afterwards is queued all the same,
//              since nobody gets there but by that word.
//   weak       pointers to what is found are cleared already, and lock() was refused all the time (weak.h). But a lock() may have read its
//              cell before that, and not asked for the mark yet. It does so in a critical section, so the stop in front of publish has it
//              behind: only after that stop are marks set that mean something else than `reachable`.
//   take       while objects are found: of those that were ready before, and these are marked. While the queue is greyed: of any. It greys
//              what it takes, under the lock, so that mark_some need not have come to it: from then on a stack holds it, that may have
//              been scanned. What the destructor loads from there is protected by what is grey, and what it overwrites is shaded, as with
//              any object.
//   the end    does not come before all of the queue is grey: a participant that finds nothing to mark has asked mark_some, and
//              mark_termination asks again.
//   a second   collection finds the queue of the first in whatever state, also with a destructor that never returns: its object is held
//              by a stack, the others wait and are a root.
//
// (bench_gc's finalized_objects, a million of them, on a busy machine: the median of the longest pauses was 7 to 26 ms when they were
// gone through in the pause, and is 9 to 19 µs.)
//
// Rejected: Go's way. There a finalizer is a record at its object's span. What the object reaches, itself left out, is marked as a root in
// every collection, and the sweep of the span finds that the object is unmarked, marks it, and queues it. No pause and no further round of
// marking are needed for it, and the work is spread over the sweep. But then what a dead object reaches counts as alive: weak pointers to
// it are not cleared and its cleanups not queued, a chain of n finalized objects takes n collections, a ring of them is never
// finalized, and all of it is marked in every collection although nearly all finalized objects live and will be marked anyway. Here the
// dead alone cost something, and a weak pointer to what only a destructor can see is null: tests/runtime/gc/ends_test.
// Rejected too: links among the records, to publish by one exchange. The boundary does the same, and a record is 24 bytes.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/gc/mark.h"
#include "runtime/os/critical.h"
#include "runtime/os/mapped_array.h"

namespace warren::rt {

struct finalizer {
  void* object = nullptr;
  void (*destroy)(void*) = nullptr;
  const char* type = "";  // contains the type's name, for reports
};

using finalizer_list = mapped_array<finalizer>;

class finalizer_set {
 public:
  // Throws std::bad_alloc.
  void add(finalizer f);
  // Takes one that is ready. false: there is none.
  bool take(finalizer* out) noexcept;

  // What take is to do with an object while a collection marks: the queue is a root, and a word that leaves a root is shaded. World
  // stopped.
  void set_shader(void (*shade)(void* arg, const void* object), void* arg) noexcept {
    shade_ = shade;
    shade_arg_ = arg;
  }

  // World stopped: from here on mark_some has all that is ready to do.
  void begin_marking() noexcept;
  // Greys up to `most` of what is to be greyed. False: nothing was. Any number of participants.
  bool mark_some(marker& m, size_t most) noexcept;
  bool to_mark() const noexcept { return to_mark_.load(std::memory_order_relaxed); }

  // After everything reachable was marked; the world may run (collector.h). Of the next `most` registered ones from *at on, how many were
  // found is added to *found. False: there are no more.
  bool find_unreachable(const mheap& h, size_t* at, size_t most, uint64_t* found) noexcept;
  // World stopped: what was found is ready, and to be greyed.
  void publish() noexcept;

  // World stopped.
  template <class F>
  void for_each_ready(F&& visit) {
    for (size_t i = 0; i < takeable_; ++i) visit(queue_.begin()[i].object);
  }

  size_t registered() const noexcept { return registered_count_.load(std::memory_order_relaxed); }
  size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  uint64_t run() const noexcept { return run_.load(std::memory_order_relaxed); }

 private:
  critical_mutex lock_;
  // Guarded by lock_. queue_ always has room for all of registered_: a collection must not fail to queue.
  finalizer_list registered_, queue_;
  size_t takeable_ = 0;       // so many in front are ready; the rest was found
  size_t unmarked_from_ = 0;  // mark_some has come here
  void (*shade_)(void* arg, const void* object) = nullptr;
  void* shade_arg_ = nullptr;
  std::atomic<bool> to_mark_{false};  // unmarked_from_ < takeable_, or nearly
  std::atomic<size_t> registered_count_{0}, waiting_{0};
  std::atomic<uint64_t> run_{0};
};

}  // namespace warren::rt
