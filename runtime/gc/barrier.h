// The write barrier: what every store of a ptr passes. The argument is here; what is done, in runtime/write_barrier.cpp.
//
// Sequence (warren/ptr.h): read the old value; store the new; compiler barrier; test the flag; if it is on, shade old and new.
//
// Why store first, against Go's "shade, then store": Go's mutators change phase only at safepoints, ours can be stopped by a signal, or run
// without a P, between any two instructions. If the flag were tested first, a thread stopped between test and store would make an unshaded
// store into a running collection. With the store first, a thread that has read "off" has stored already, and whoever turned the flag on
// (world stopped, or membarrier) sees that store before it starts marking; a thread that has not read yet will shade.
// The price: between store and shading the old value is nowhere but in the thread's registers. So a marking may end only when every
// thread that is not at a safepoint has had its registers and stack scanned while it was held (gc/collector.h).
//
// What is shaded depends on the mode. hybrid: old and new. dijkstra: new. yuasa: old. Neither depends on colours: a test of the colour of
// the object stored into would need a fence between the store and the test.
//
// The three call sites (construct, assign, destroy) are all there are: every function of ptr goes through them (but the construction of a
// null ptr, which hides nothing and publishes nothing), and ptr has no other access to its word. tests/runtime/gc/barrier_test records the
// calls and compares them with every kind of store the language has. Words that may be pointers and are not ptrs (elements of channels,
// closures, objects of ambiguous types) are shaded as a range, after they were written.
//
// Destruction is a deletion (gc.md §2.4): the value that goes is shaded and the word cleared. With the flag off the word keeps its value:
// it can only keep garbage alive, and where the memory goes back to the heap or to a stack nobody reads it before it is zeroed or
// overwritten.
//
// A ptr that lies where the collector does not look is no less dangerous in a release build than in a debug one, so the barrier of a
// marking asks for the place of every store: two compares, since nearly all are on the same stack or in the heap.
//
// A thread without a P that is not merely preempted (a foreign one, or inside warren::blocking) is scanned by nobody: what it stores
// cannot be protected, so a call while marking ends the process.
#pragma once
#include "warren/detail/barrier.h"

namespace warren::rt {

enum class store_kind : uint8_t { construct, assign, destroy };

// Called at each store while detail::barrier_record is set: tests.
using store_listener = void(store_kind kind, const void* slot, const volatile void* old, const volatile void* now);
extern store_listener* record_store;

void set_barrier_flag(detail::barrier_flag bit, bool on) noexcept;

}  // namespace warren::rt
