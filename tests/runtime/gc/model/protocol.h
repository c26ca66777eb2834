// The rules of the collector's protocol that the model can follow or break, and the size of the world in which it is explored.
//
// `rules` as they stand after `rules{}` are the protocol of ARCHITECTURE §6 made precise (README.md lists them). Every other value of a
// field is a mistake, or an alternative, and a test says which.
#pragma once
#include <cstdint>

namespace gcmodel {

// When stacks are scanned, which values the barrier shades, who runs meanwhile:
//   stw        all in one pause                               nothing         nobody
//   dijkstra   all at mark termination                        the new value   everybody
//   yuasa      all in the pause that begins the collection    the old value   everybody
//   hybrid     each once, while marking                       both            everybody
enum class mode : uint8_t { stw, dijkstra, yuasa, hybrid };
const char* to_string(mode m) noexcept;

struct rules {
  gcmodel::mode mode = gcmodel::mode::hybrid;

  // The order of the barrier's instructions. `exchange` reads the old value and stores the new one in one instruction.
  enum class order : uint8_t {
    store_test_shade,
    test_shade_store,
    test_store_shade,
    exchange_test_shade
  } barrier = order::store_test_shade;
  // Shade only if the object that is stored into is black (Dijkstra's "if marked"), as seen before or after the store.
  enum class condition : uint8_t { none, container_before_store, container_after_store } only_if_black = condition::none;
  bool shade_on_initialisation = true;
  bool shade_on_destruction = true;
  bool shade_arguments_of_go = true;
  bool go_shades_and_publishes_in_one_bracket = true;
  bool shade_hand_over = true;
  bool allocate_black = true;

  // Who stands still while the barrier is switched on (stop of the world number one). A goroutine without a P is not stopped by the stop of
  // the Ps; it must be held by signal, or be allowed to run on.
  enum class flip : uint8_t { everybody_stands, those_without_p_run, everybody_runs } begin = flip::those_without_p_run;
  bool membarrier_after_flag = true;
  bool registers_are_scanned = true;  // with a stack: what an interrupted barrier holds

  // The collector holds the roots' lock while it switches the barrier on and while it ends the collection; every operation on a root holds
  // it.
  bool collector_locks_roots = true;

  // Mark termination.
  bool second_flush = true;              // of the Ps' barrier buffers, with the world stopped
  bool looks_at_the_queue_again = true;  // with the world stopped: what goroutines without P have greyed meanwhile
  bool rescan_interrupted = true;        // stacks of goroutines without P, or held by signal, that have run since their scan
  enum class rescan : uint8_t { always, if_it_ran, never } rescan_flagged = rescan::always;
  // The slow path waits for a P: then at mark termination the goroutine is in a run queue, like one that waits anywhere else.
  bool slow_path_may_park = false;
  bool shade_tests_again = true;  // a shade that comes after the collection has ended does nothing
};

struct world_size {
  int objects = 3;             // 1…4 alive or needed at a time; their number over time has no bound
  int slots = 1;               // ptr fields of an object, 1…2
  int locals = 1;              // raw pointers (registers, T*) of a goroutine, 1…2
  bool cell = true;            // one root<T>, written through the same barrier
  bool stack_ptr = false;      // each goroutine has a ptr<T> on its stack
  bool captured = false;       // … and the other goroutine reads and writes it
  bool lifetimes = false;      // slots are destroyed and constructed again (optional, vector)
  bool go = false;             // goroutine 1 is spawned with one raw pointer, ends, is spawned again; else it is there from the start
  bool hands_over = false;     // a goroutine moves a raw pointer onto the stack of the other, which is parked until it is done (channels)
  bool loses_p = false;        // the signal takes Ps away at any instruction
  bool store_buffers = false;  // a store may become visible any time later (x86's store buffer; what membarrier is for)
  // One raw local of each goroutine is read and written by the other, without barrier, as a by-reference capture of T* does.
  enum class raw : uint8_t { none, flagged, not_flagged } raw_capture = raw::none;
  // Coarser, with more behaviours and fewer states: all barrier buffers are one set, from which words are flushed one at a time, whenever;
  // termination is attempted as soon as nothing is grey, without the turns of the Ps.
  bool one_buffer = false;
  bool foreign = false;         // goroutine 1 is a thread that nobody stops or scans, and clears the root cell, under the roots' lock
  bool racing_writers = false;  // two goroutines write one slot without synchronization
};

}  // namespace gcmodel
