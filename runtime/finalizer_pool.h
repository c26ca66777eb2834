// The goroutines that run what a collection has queued: destructors of finalized objects, and cleanups.
//
// They are started by the goroutine that ran the collection, at most kMostRunners at a time, and end when nothing is left. What they run is
// the user's, so:
//   it throws       reported in one line, with its type; the next one runs
//   it makes        allocation is what any goroutine may do; what it makes may be finalized in its turn
//   it waits        others run meanwhile, until all runners wait; then everything else that is ready waits for one of them. Nothing is
//                   lost, objects accumulate. Each collection looks at the runners and reports, once, who has been at one thing for longer
//                   than kPatience
// Go has one goroutine for finalizers, and a program whose finalizer blocks leaks everything from there on in silence.
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

inline constexpr int kMostRunners = 8;
// Started by one collection: one that waits at once should not hold the others up until the next.
inline constexpr int kRunnersPerStart = 2;

inline constexpr int64_t kPatience = int64_t{10} * 1'000'000'000;
extern std::atomic<int64_t> finalizer_patience_for_testing;  // kPatience, in nanoseconds

}  // namespace warren::rt
