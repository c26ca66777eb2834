// The protocol holds in every reachable state of a small world; each way to break it is found. README.md says what the worlds are.
//
// WARREN_GC_MODEL=large explores larger worlds too (minutes and gigabytes).
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "search.h"

namespace gcmodel {
namespace {

search_result run(const rules& r, const world_size& w, const search_options& o) {
  const clock_t began = clock();
  const search_result s = search(machine(r, w), o);
  const double seconds = static_cast<double>(clock() - began) / CLOCKS_PER_SEC;
  printf("%s: %llu states, %llu steps, %u deep, %.1f s of CPU\n", to_string(r.mode), static_cast<unsigned long long>(s.states),
         static_cast<unsigned long long>(s.steps), s.depth, seconds);
  return s;
}

// Every state of this world: no reachable object is freed, and the mode's invariants hold.
void holds(const rules& r, const world_size& w) {
  const search_result s = run(r, w, {.check = claims_of(r.mode), .most_states = 200'000'000});
  EXPECT_EQ(s.what, search_result::outcome::holds) << s.violation << '\n' << s.trace;
}

// A shortest way to the loss of an object.
void is_found(const rules& r, const world_size& w) {
  const search_result s = run(r, w, {});
  ASSERT_EQ(s.what, search_result::outcome::violated) << "the mistake makes no difference in this world";
  EXPECT_EQ(s.violation, "a reachable object is freed");
  EXPECT_NE(s.trace.find("still reachable: "), std::string::npos);
  printf("%s", s.trace.c_str());
}

bool large() {
  const char* const size = getenv("WARREN_GC_MODEL");
  return size != nullptr && strcmp(size, "large") == 0;
}
#define ONLY_LARGE() \
  if (!large()) GTEST_SKIP() << "takes minutes: WARREN_GC_MODEL=large"

// The worlds with one barrier buffer and a flip that stops nobody have all behaviours of those with a buffer for each P and a flip that
// stops some (protocol.h), but for who needs a P.
rules modes(mode m) {
  rules r{.mode = m};
  r.begin = m == mode::yuasa ? rules::flip::everybody_stands : rules::flip::everybody_runs;
  return r;
}

// ---- the protocol holds -----------------------------------------------------------------------------------------------------------------
TEST(GcModel, Stw) { holds(modes(mode::stw), {.objects = 2, .lifetimes = true, .loses_p = true, .store_buffers = true}); }
TEST(GcModel, Dijkstra) { holds(modes(mode::dijkstra), {.objects = 2, .one_buffer = true}); }
TEST(GcModel, DijkstraThreeObjects) { holds(modes(mode::dijkstra), {.objects = 3, .one_buffer = true}); }
TEST(GcModel, Yuasa) { holds(modes(mode::yuasa), {.objects = 2, .one_buffer = true}); }
TEST(GcModel, Hybrid) { holds(modes(mode::hybrid), {.objects = 2, .one_buffer = true}); }
TEST(GcModel, HybridWithABufferForEachP) { holds({}, {.objects = 2}); }
TEST(GcModel, HybridWithExchangeUnderRacingWriters) {
  rules r = modes(mode::hybrid);
  r.barrier = rules::order::exchange_test_shade;
  holds(r, {.objects = 2, .one_buffer = true, .racing_writers = true});
}
// A value that goes from stack to stack over a channel: whichever of the two was scanned first, wherever the sender is stopped.
TEST(GcModel, HybridHandOvers) { holds(modes(mode::hybrid), {.objects = 2, .hands_over = true, .one_buffer = true}); }
TEST(GcModel, RootsOfForeignThreads) {
  for (const mode m : {mode::dijkstra, mode::yuasa, mode::hybrid}) holds(modes(m), {.objects = 2, .one_buffer = true, .foreign = true});
}

// ---- mistakes are found -----------------------------------------------------------------------------------------------------------------
TEST(GcModelMistake, BarrierConditionalOnColourTestedBeforeTheStore) {
  is_found({.only_if_black = rules::condition::container_before_store}, {.objects = 2, .one_buffer = true});
}
// Tested after the store it takes a processor that lets the test overtake the store.
TEST(GcModelMistake, BarrierConditionalOnColourTestedAfterTheStore) {
  is_found({.only_if_black = rules::condition::container_after_store}, {.objects = 2, .store_buffers = true, .one_buffer = true});
}
TEST(GcModelMistake, NoBarrierOnInitialisation) {
  is_found({.shade_on_initialisation = false}, {.objects = 2, .lifetimes = true, .one_buffer = true});
}
TEST(GcModelMistake, NoBarrierOnDestruction) {
  is_found({.shade_on_destruction = false}, {.objects = 2, .lifetimes = true, .one_buffer = true});
}
TEST(GcModelMistake, StoreToAnotherStackWithoutTheFlag) {
  is_found({}, {.objects = 2, .raw_capture = world_size::raw::not_flagged, .one_buffer = true});
}
// A flagged stack is written by others while its goroutine does not run.
TEST(GcModelMistake, FlaggedStackScannedAgainOnlyIfItRan) {
  is_found({.rescan_flagged = rules::rescan::if_it_ran}, {.objects = 2, .raw_capture = world_size::raw::flagged, .one_buffer = true});
}
TEST(GcModelMistake, TerminationWithoutTheSecondFlush) { is_found({.second_flush = false}, {.objects = 2}); }
TEST(GcModelMistake, TerminationWithoutLookingAtTheQueueAgain) { is_found({.looks_at_the_queue_again = false}, {.objects = 2}); }
TEST(GcModelMistake, SignalStopMidBarrierWithoutTheRescan) { is_found({.rescan_interrupted = false}, {.objects = 2, .one_buffer = true}); }
TEST(GcModelMistake, StackScannedWithoutItsRegisters) { is_found({.registers_are_scanned = false}, {.objects = 2, .one_buffer = true}); }
TEST(GcModelMistake, SlowPathWaitsForAP) { is_found({.slow_path_may_park = true}, {.objects = 2, .loses_p = true, .one_buffer = true}); }
TEST(GcModelMistake, ShadesAfterTheCollectionHasEnded) { is_found({.shade_tests_again = false}, {.objects = 2, .one_buffer = true}); }
TEST(GcModelMistake, FlagTestedThenShadedThenStored) {
  is_found({.barrier = rules::order::test_shade_store}, {.objects = 2, .one_buffer = true});
}
TEST(GcModelMistake, FlagTestedThenStoredThenShaded) {
  is_found({.barrier = rules::order::test_store_shade}, {.objects = 2, .one_buffer = true});
}
TEST(GcModelMistake, BarrierOnWithoutTheMembarrier) {
  is_found({.membarrier_after_flag = false}, {.objects = 2, .loses_p = true, .store_buffers = true, .one_buffer = true});
}
TEST(GcModelMistake, ArgumentsOfGoNotShaded) { is_found({.shade_arguments_of_go = false}, {.objects = 2, .go = true, .one_buffer = true}); }
TEST(GcModelMistake, GoTestsTheFlagBeforeItsBracket) {
  is_found({.go_shades_and_publishes_in_one_bracket = false}, {.objects = 2, .go = true, .one_buffer = true});
}
TEST(GcModelMistake, HandOverNotShaded) { is_found({.shade_hand_over = false}, {.objects = 2, .hands_over = true, .one_buffer = true}); }
TEST(GcModelMistake, AllocationWhite) { is_found({.allocate_black = false}, {.objects = 2, .one_buffer = true}); }
TEST(GcModelMistake, YuasaDoesNotHoldThoseWithoutP) {
  is_found({.mode = mode::yuasa, .begin = rules::flip::those_without_p_run}, {.objects = 2, .loses_p = true, .one_buffer = true});
}
TEST(GcModelMistake, CollectionEndsWithoutTheRootsLock) {
  is_found({.collector_locks_roots = false}, {.objects = 2, .one_buffer = true, .foreign = true});
}
// Not a mistake of the protocol but the reason why a program must not race on a ptr, and why atomic_ptr exchanges.
TEST(GcModelMistake, ProgramRacesOnAPtr) { is_found({}, {.objects = 2, .one_buffer = true, .racing_writers = true}); }

// ---- larger worlds (their sizes: README.md)
// ----------------------------------------------------------------------------
TEST(GcModelLarge, HybridGoroutinesAreBornAndEnd) {
  ONLY_LARGE();
  holds(modes(mode::hybrid), {.objects = 2, .go = true, .one_buffer = true});
}
TEST(GcModelLarge, HybridFlaggedStacksWrittenByOthers) {
  ONLY_LARGE();
  holds(modes(mode::hybrid), {.objects = 2, .raw_capture = world_size::raw::flagged, .one_buffer = true});
}
TEST(GcModelLarge, HybridStoreBuffers) {
  ONLY_LARGE();
  holds(modes(mode::hybrid), {.objects = 2, .store_buffers = true, .one_buffer = true});
}
TEST(GcModelLarge, HybridLifetimes) {
  ONLY_LARGE();
  holds(modes(mode::hybrid), {.objects = 2, .lifetimes = true, .one_buffer = true});
}
TEST(GcModelLarge, HybridPtrsOnStacksWrittenByOthers) {
  ONLY_LARGE();
  holds(modes(mode::hybrid), {.objects = 2, .cell = false, .stack_ptr = true, .captured = true, .lifetimes = true, .one_buffer = true});
}
TEST(GcModelLarge, DijkstraFourObjects) {
  ONLY_LARGE();
  holds(modes(mode::dijkstra), {.objects = 4, .one_buffer = true});
}
TEST(GcModelLarge, YuasaThreeObjects) {
  ONLY_LARGE();
  holds(modes(mode::yuasa), {.objects = 3, .one_buffer = true});
}
TEST(GcModelLarge, DijkstraPsAreLostAndStoresDelayed) {
  ONLY_LARGE();
  holds({.mode = mode::dijkstra}, {.objects = 2, .loses_p = true, .store_buffers = true});
}
TEST(GcModelLarge, HybridHandOversPsAreLost) {
  ONLY_LARGE();
  holds({}, {.objects = 2, .hands_over = true, .loses_p = true});
}
TEST(GcModelLarge, HybridPsAreLost) {
  ONLY_LARGE();
  holds({}, {.objects = 2, .loses_p = true});
}

}  // namespace
}  // namespace gcmodel
