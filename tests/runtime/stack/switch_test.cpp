#include "runtime/stack/switch.h"

#include <errno.h>
#include <execinfo.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/stack/fiber_harness.h"

namespace warren::rt {
namespace {

using testing::host;
using testing::small_arena;
using testing::test_fiber;

TEST(switch_fiber, runs_and_returns) {
  stack_arena arena(small_arena());
  host h;
  int steps = 0;
  test_fiber f(arena, 0, [&](test_fiber& self) {
    EXPECT_EQ(arena.slot_of(__builtin_frame_address(0)), self.slot());
    ++steps;
    self.park();
    ++steps;
  });
  f.resume(h);
  EXPECT_EQ(steps, 1);
  EXPECT_FALSE(f.ended());
  f.resume(h);
  EXPECT_EQ(steps, 2);
  EXPECT_TRUE(f.ended());
}

TEST(switch_fiber, each_class_has_its_depth) {
  stack_arena arena(small_arena());
  host h;
  for (int cls = 0; cls < kStackClasses; ++cls) {
    test_fiber f(arena, cls, [&](test_fiber& self) {
      const size_t room = static_cast<size_t>(static_cast<std::byte*>(__builtin_frame_address(0)) - self.raw().low);
      EXPECT_GT(room, stack_slot_size(cls) * 2 / 3);
      auto* deep = static_cast<volatile char*>(__builtin_alloca(room - room / 8));
      deep[0] = 1;
      self.park();
      EXPECT_EQ(deep[0], 1);
    });
    f.resume(h);
    f.resume(h);
    EXPECT_TRUE(f.ended());
  }
}

TEST(switch_fiber, errno_follows_the_fiber) {
  stack_arena arena(small_arena());
  host h;
  const auto body = [](int mine) {
    return [mine](test_fiber& self) {
      EXPECT_EQ(errno, 0) << "a new fiber begins with none";
      errno = mine;
      self.park();
      EXPECT_EQ(errno, mine);
      self.park();
      EXPECT_EQ(errno, mine);
    };
  };
  test_fiber a(arena, 0, body(ENOENT)), b(arena, 0, body(EAGAIN));
  errno = EPERM;
  for (int i = 0; i < 3; ++i) {
    a.resume(h);
    EXPECT_EQ(errno, EPERM);
    b.resume(h);
    EXPECT_EQ(errno, EPERM);
  }
  EXPECT_TRUE(a.ended());
  EXPECT_TRUE(b.ended());
}

// The address of errno is what a compiler may keep from before the park: noinline fetches it each time, as documented for users.
[[gnu::noinline]] int errno_now() { return errno; }
[[gnu::noinline]] void set_errno(int value) { errno = value; }

TEST(switch_fiber, errno_follows_to_another_thread) {
  stack_arena arena(small_arena());
  host h;
  test_fiber f(arena, 0, [](test_fiber& self) {
    set_errno(EBUSY);
    self.park();
    EXPECT_EQ(errno_now(), EBUSY);
    set_errno(EPIPE);
  });
  set_errno(0);
  f.resume(h);
  std::thread([&] {
    host other;
    set_errno(EDOM);
    f.resume(other);
    EXPECT_EQ(errno_now(), EDOM);
  }).join();
  EXPECT_EQ(errno_now(), 0);
  EXPECT_TRUE(f.ended());
}

[[gnu::noinline]] int throw_through(int frames) {
  const std::string unwound = "destroyed while unwinding, frame " + std::to_string(frames);  // has a destructor
  if (frames == 0) throw std::runtime_error("from the top");
  return throw_through(frames - 1) + static_cast<int>(unwound.size());
}

TEST(switch_fiber, exceptions_are_thrown_and_caught_inside) {
  stack_arena arena(small_arena());
  host h;
  std::string caught;
  test_fiber f(arena, 0, [&](test_fiber&) {
    try {
      throw_through(5);
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
  });
  f.resume(h);
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(caught, "from the top");
}

// What goes wrong without the exchange of the exception state: both catch blocks would hang in one list of the thread.
TEST(switch_fiber, parked_catch_blocks_interleave) {
  stack_arena arena(small_arena());
  host h;
  std::vector<std::string> log;
  const auto body = [&log](std::string name) {
    return [&log, name](test_fiber& self) {
      try {
        try {
          throw std::runtime_error(name);
        } catch (const std::exception&) {
          self.park();
          EXPECT_NE(std::current_exception(), nullptr);
          throw;  // the thread's chain must be this fiber's
        }
      } catch (const std::exception& again) {
        log.push_back(again.what());
        self.park();
      }
      EXPECT_EQ(std::current_exception(), nullptr);
    };
  };
  test_fiber a(arena, 0, body("a")), b(arena, 0, body("b"));
  a.resume(h);
  EXPECT_EQ(std::current_exception(), nullptr) << "the host handles nothing";
  b.resume(h);
  a.resume(h);  // first in, first out: the order that a stack of handlers cannot have
  b.resume(h);
  EXPECT_EQ(log, (std::vector<std::string>{"a", "b"}));
  b.resume(h);
  a.resume(h);
  EXPECT_TRUE(a.ended());
  EXPECT_TRUE(b.ended());
  EXPECT_EQ(std::current_exception(), nullptr);
}

TEST(switch_fiber, uncaught_count_follows) {
  stack_arena arena(small_arena());
  host h;
  struct parks_in_destructor {
    test_fiber& self;
    ~parks_in_destructor() {
      EXPECT_EQ(std::uncaught_exceptions(), 1);
      self.park();
      EXPECT_EQ(std::uncaught_exceptions(), 1);
    }
  };
  test_fiber f(arena, 0, [](test_fiber& self) {
    try {
      const parks_in_destructor d{self};
      throw 1;
    } catch (int) {
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
  f.resume(h);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  f.resume(h);
  EXPECT_TRUE(f.ended());
}

// Not std::this_thread::get_id(): pthread_self() is declared const, and the compiler keeps its value across the park.
[[gnu::noinline]] long thread_now() { return syscall(SYS_gettid); }

TEST(switch_fiber, parked_in_catch_resumed_on_another_thread_and_rethrown) {
  stack_arena arena(small_arena());
  host h;
  std::string inner, outer;
  long before = 0, after = 0;
  test_fiber f(arena, 0, [&](test_fiber& self) {
    try {
      try {
        throw_through(3);
      } catch (const std::runtime_error&) {
        before = thread_now();
        try {
          throw std::logic_error("nested");  // two in the chain
        } catch (const std::logic_error& e) {
          self.park();
          after = thread_now();
          inner = e.what();
        }
        throw;
      }
    } catch (const std::runtime_error& e) {
      outer = e.what();
    }
  });
  f.resume(h);
  EXPECT_EQ(std::current_exception(), nullptr);
  std::thread([&] {
    host other;
    try {
      throw std::runtime_error("the other thread's own");  // its chain is not empty either
    } catch (const std::runtime_error& e) {
      f.resume(other);
      EXPECT_STREQ(e.what(), "the other thread's own");
      try {
        std::rethrow_exception(std::current_exception());
      } catch (const std::runtime_error& mine) {
        EXPECT_STREQ(mine.what(), "the other thread's own");
      }
    }
  }).join();
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(inner, "nested");
  EXPECT_EQ(outer, "from the top");
  EXPECT_NE(before, after);
}

TEST(switch_fiber, many_fibers_park_in_catch_on_alternating_threads) {
  stack_arena arena(small_arena());
  constexpr int kFibers = 20, kRounds = 20;
  int right = 0;  // one thread at a time runs fibers: joined before the next begins
  std::vector<std::unique_ptr<test_fiber>> fibers;
  for (int i = 0; i < kFibers; ++i) {
    fibers.push_back(std::make_unique<test_fiber>(arena, 0, [&right, i](test_fiber& self) {
      for (int round = 0; round < kRounds; ++round) {
        try {
          try {
            throw i * 1000 + round;
          } catch (int) {
            self.park();
            throw;
          }
        } catch (int value) {
          right += value == i * 1000 + round ? 1 : 0;
        }
      }
    }));
  }
  for (int round = 0; round <= kRounds; ++round) {
    std::thread([&] {
      host h;
      for (size_t i = 0; i < fibers.size(); ++i) fibers[(i * 7 + static_cast<size_t>(round)) % fibers.size()]->resume(h);
    }).join();
  }
  for (const auto& f : fibers) EXPECT_TRUE(f->ended());
  EXPECT_EQ(right, kFibers * kRounds);
}

TEST(switch_fiber, a_stack_is_used_again_and_again) {
  stack_arena arena(small_arena());
  host h;
  for (int i = 0; i < 1000; ++i) {
    int sum = 0;
    test_fiber f(arena, 0, [&](test_fiber& self) {
      volatile char frame[5000];  // ASan poisons around it; the stack dies parked half of the time
      frame[4999] = 1;
      sum += frame[4999];
      self.park();
      sum += frame[4999];
    });
    f.resume(h);
    if (i % 2 == 0) f.resume(h);
    EXPECT_EQ(sum, i % 2 == 0 ? 2 : 1);
  }
  EXPECT_LE(arena.stats().slots_made[0], 16u);
}

[[gnu::noinline]] int backtrace_below(int frames, void** out, int n) {
  if (frames == 0) return backtrace(out, n);
  const int got = backtrace_below(frames - 1, out, n);
  asm volatile("" ::: "memory");  // no tail call
  return got;
}

TEST(switch_fiber, backtrace_ends_at_the_bottom) {
  stack_arena arena(small_arena());
  host h;
  void* addresses[200];
  int shallow = 0, deep = 0;
  test_fiber f(arena, 0, [&](test_fiber&) {
    shallow = backtrace_below(0, addresses, 200);
    deep = backtrace_below(30, addresses, 200);
  });
  f.resume(h);
  EXPECT_GE(shallow, 3);
  EXPECT_LE(shallow, 25) << "walked past the bottom";
  EXPECT_EQ(deep, shallow + 30);
}

TEST(switch_fiber, unwinder_reports_the_end_of_the_stack) {
  stack_arena arena(small_arena());
  host h;
  _Unwind_Reason_Code code = _URC_NO_REASON;
  uintptr_t last = 0;
  test_fiber f(arena, 0, [&](test_fiber&) {
    code = _Unwind_Backtrace(
        [](_Unwind_Context* context, void* p) {
          const uintptr_t ip = _Unwind_GetIP(context);
          if (ip != 0) *static_cast<uintptr_t*>(p) = ip;
          return _URC_NO_REASON;
        },
        &last);
  });
  f.resume(h);
  EXPECT_EQ(code, _URC_END_OF_STACK);
  const auto start = reinterpret_cast<uintptr_t>(&warren_context_start);
  EXPECT_GE(last, start);
  EXPECT_LT(last, start + 64) << "the outermost frame is the trampoline";
}

TEST(switch_fiber, frame_pointers_end_at_the_bottom) {
  stack_arena arena(small_arena());
  host h;
  int frames = 0;
  bool inside = true;
  test_fiber f(arena, 0, [&](test_fiber& self) {
    auto* fp = static_cast<void**>(__builtin_frame_address(0));
    for (; fp != nullptr && frames < 100; fp = static_cast<void**>(*fp), ++frames) {
      inside = inside && reinterpret_cast<std::byte*>(fp) >= self.raw().low && reinterpret_cast<std::byte*>(fp) < self.raw().high;
    }
  });
  f.resume(h);
  EXPECT_TRUE(inside);
  EXPECT_GE(frames, 2);
  EXPECT_LT(frames, 100);
}

TEST(switch_fiber, adopted_thread_knows_its_stack) {
  const host h;
  auto* here = static_cast<std::byte*>(__builtin_frame_address(0));
  EXPECT_GE(here, h.here.low);
  EXPECT_LT(here, h.here.high);
}

TEST(switch_fiber_death, an_exception_that_leaves_the_entry_terminates) {
  EXPECT_DEATH(
      {
        stack_arena arena(small_arena());
        host h;
        test_fiber f(arena, 0, [](test_fiber&) { throw_through(3); });
        f.resume(h);
      },
      "from the top");
}

TEST(switch_fiber_death, an_entry_that_returns_is_fatal) {
  EXPECT_DEATH(
      {
        stack_arena arena(small_arena());
        host h;
        std::byte* slot;
        arena.allocate(0, &slot, 1);
        fiber f;
        prepare_fiber(
            f, arena, slot, control_block(slot, 0, 64), [](void*) {}, nullptr);
        switch_fiber(h.ts, h.here, f);
      },
      "fatal error: the entry function of a fiber returned");
}

}  // namespace
}  // namespace warren::rt
