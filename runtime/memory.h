// The parts of memory management wired together: one heap, its roots, one collector, for the whole process.
//
// The heap outlives warren::run: objects held by a root stay, what only goroutines of a finished run held is garbage for the next
// collection.
#pragma once
#include "runtime/gc/collector.h"
#include "runtime/gc/roots.h"
#include "runtime/heap/mheap.h"

namespace warren::rt {

struct memory_options {
  heap_options heap;
  collector_options collector;
  uint64_t stress = 0;     // collect at every Nth allocation; 0: no
  bool check_ptr = false;  // in release builds too
};
// From the environment (warren/gc.h lists it). Fatal, in one line, for a value that cannot be.
memory_options read_memory_options();

struct memory_manager {
  explicit memory_manager(const memory_options& o);

  memory_options options;
  mheap heap;
  root_set roots;
  collector gc;
};

// The process's, made at the first call (any thread). Never destroyed: roots of static objects go after everything else.
memory_manager& memory();
// nullptr before the first call of memory().
memory_manager* memory_if_any() noexcept;

// Allocation as the rest of the runtime uses it: count objects of type t in a row, zeroed, with `bytes` in all. On a goroutine, outside a
// bracket. Throws std::bad_alloc.
void* mallocgc(size_t bytes, const detail::type_descriptor& t, size_t count = 1);

// Tests: called, when set, while a large object is made, between two pieces of it (heap/allocate.h).
extern std::atomic<void (*)()> between_pieces_for_testing;

// ---- collections of the running program (gc_cycle.cpp) ----
// Wants a collection because of an allocation, and goes on. On a goroutine, outside a bracket.
void request_gc(gc_trigger why);
// Waits for one that begins after the call. The same.
gc_report run_gc(gc_trigger why);
// The driver of collections, between two pieces of its work: to a stop of the world, and to others when its time is over.
void collection_gives_way();
// A goroutine that allocates pays for what it has charged to the heap, while a collection marks. The same.
void assist_gc() noexcept;

// Starts goroutines that run the destructors and cleanups a collection has queued, if there are any (runtime/finalizer_pool.h). On a
// goroutine, outside a bracket.
void start_finalizers();
// The same at the beginning of a run, when no goroutine of an earlier one exists any more.
void restart_finalizers();

// At the start of a run, before user code.
void begin_run_of_gc() noexcept;

// Runs a collection that two minutes without one have made due. On a goroutine.
void start_background_gc();

}  // namespace warren::rt
