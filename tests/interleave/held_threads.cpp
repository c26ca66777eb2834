// Not instrumented: what is done here is no step of the program.
#include "held_threads.h"

#include "interleave.h"
#include "runtime/os/critical.h"

namespace interleave {

namespace {
struct state {
  int collector = 0;  // thread; 0: the world runs
  int critical = 0;   // sections that threads are in
  bool impossible = false;
} now_;

const bool watching = [] {
  before_each_execution([] { now_ = {}; });
  at_each_switch([](int thread) { now_.impossible |= now_.collector != 0 && thread != 0 && thread != now_.collector; });
  return true;
}();
}  // namespace

void stop_the_world() {
  wait_until([] { return now_.critical == 0; }, "nobody in a critical section");
  now_.collector = current_thread();
  membarrier();
}
void start_the_world() {
  membarrier();
  now_.collector = 0;
}
bool world_stands() noexcept { return now_.collector != 0; }
bool cannot_happen() noexcept { return now_.impossible; }
void require_if_possible(bool holds, const char* text) {
  if (!now_.impossible) require(holds, text);
}

void held_register::set(void* value) noexcept { value_ = value; }
void* held_register::get() const noexcept { return value_; }

}  // namespace interleave

namespace warren::rt {

uint32_t enter_critical() noexcept {
  ++interleave::now_.critical;
  return 0;
}
void leave_critical(uint32_t) noexcept { --interleave::now_.critical; }

}  // namespace warren::rt
