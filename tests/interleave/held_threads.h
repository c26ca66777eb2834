// A model of the world's stop, for subjects that stand on its promises only (stop_test checks that the scheduler keeps them): threads of
// the scenario that are held between any two of their steps, but not in a critical section (runtime/os/critical.h, whose functions this
// defines).
//
// The checker cannot keep a thread from being chosen. So a thread that runs while the world stands makes the execution one that cannot
// happen: it goes on, and its requirements are waived.
#pragma once

namespace interleave {

// Called by the one thread that collects. stop waits until nobody else is in a critical section; every thread executes a full fence in
// both, as those that a signal holds and lets go do.
void stop_the_world();
void start_the_world();
bool world_stands() noexcept;
// Has a thread run that was held?
bool cannot_happen() noexcept;
// As require, if the execution can happen.
void require_if_possible(bool holds, const char* text);

// A register of a held thread, which the collector finds there. Neither use is a step of the program.
class held_register {
 public:
  void set(void* value) noexcept;
  void* get() const noexcept;

 private:
  void* value_ = nullptr;
};

}  // namespace interleave
