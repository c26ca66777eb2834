// Fibers on plain threads, without the scheduler: what the tests of this folder drive by hand.
#pragma once
#include <cstddef>
#include <functional>
#include <utility>

#include "runtime/stack/switch.h"

namespace warren::rt::testing {

// The calling thread as a place to resume fibers from.
struct host {
  thread_state ts;
  fiber here;
  host() {
    thread_state_init(ts);
    adopt_thread(here);
  }
};

// A fiber that runs a function on a slot of the arena. resume() runs it until it parks or ends; park() is for the function.
class test_fiber {
 public:
  test_fiber(stack_arena& arena, int cls, std::function<void(test_fiber&)> body) : arena_(arena), cls_(cls), body_(std::move(body)) {
    if (arena_.allocate(cls_, &slot_, 1) != 1) std::abort();
    prepare_fiber(fiber_, arena_, slot_, control_block(slot_, cls_, 64), &run, this);
  }
  ~test_fiber() { arena_.release(cls_, &slot_, 1); }
  test_fiber(const test_fiber&) = delete;
  test_fiber& operator=(const test_fiber&) = delete;

  void resume(host& h) {
    host_ = &h;
    switch_fiber(h.ts, h.here, fiber_);
  }
  // Out of line, so that the caller keeps nothing that belongs to the thread across it.
  [[gnu::noinline]] void park() { switch_fiber(host_->ts, fiber_, host_->here); }

  bool ended() const { return ended_; }
  std::byte* slot() const { return slot_; }
  fiber& raw() { return fiber_; }
  host& resumed_by() { return *host_; }

 private:
  static void run(void* p) {
    auto* self = static_cast<test_fiber*>(p);
    self->body_(*self);
    self->ended_ = true;
    switch_fiber(self->host_->ts, self->fiber_, self->host_->here, true);
  }

  stack_arena& arena_;
  int cls_;
  std::function<void(test_fiber&)> body_;
  std::byte* slot_ = nullptr;
  fiber fiber_;
  host* host_ = nullptr;
  bool ended_ = false;
};

inline stack_arena::options small_arena(guard_mode mode = guard_mode::automatic) {
  stack_arena::options o;
  o.region_bytes[0] = 128 * stack_slot_size(0);
  o.region_bytes[1] = 32 * stack_slot_size(1);
  o.region_bytes[2] = 8 * stack_slot_size(2);
  o.forced = mode;
  return o;
}

}  // namespace warren::rt::testing
