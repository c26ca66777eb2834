#include "runtime/stack/overflow.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <csetjmp>
#include <thread>

#include "tests/death_style.h"
#include "tests/runtime/stack/fiber_harness.h"

namespace warren::rt {
namespace {

using testing::host;
using testing::small_arena;
using testing::test_fiber;

class overflow_death : public ::testing::TestWithParam<guard_mode> {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

void describe(const void* slot, char* buf, size_t n) { snprintf(buf, n, "goroutine %d", slot != nullptr ? 17 : 0); }

[[gnu::noinline]] int recurse(int depth) {
  volatile char frame[200];
  frame[0] = static_cast<char>(depth);
  if (frame[0] != static_cast<char>(depth)) return 0;  // never, but the compiler does not know
  const int below = recurse(depth + 1);
  return below + frame[0];  // not a tail call
}

// Larger than the whole stack: what finds the guard is the probes of -fstack-clash-protection, nothing else touches the frame's middle.
[[gnu::noinline]] void one_big_frame() {
  char frame[kStackScale * 256 * 1024];
  asm volatile("" ::"r"(frame) : "memory");
}

void overflow(guard_mode mode, int cls, void (*how)()) {
  stack_arena arena(small_arena(mode));
  host h;
  alternate_stack alternate;
  alternate.setup();
  install_overflow_handler(&arena, &describe);
  test_fiber f(arena, cls, [how](test_fiber& self) {
    how();
    self.park();
  });
  f.resume(h);
}

TEST_P(overflow_death, recursion_is_named_with_its_limit_and_frames) {
  const std::string limit = std::to_string(stack_slot_size(0) / 1024) + " KiB limit; start it with a larger warren::stack_size";
  EXPECT_DEATH(overflow(GetParam(), 0, [] { recurse(0); }),
               "^fatal error: goroutine 17: stack overflow \\(" + limit + "\\)\n  #0 .*\n  #1 ");
}

TEST_P(overflow_death, larger_classes_name_their_own_limit) {
  const std::string limit = std::to_string(stack_slot_size(1) / 1024) + " KiB limit";
  EXPECT_DEATH(overflow(GetParam(), 1, [] { recurse(0); }), "fatal error: goroutine 17: stack overflow \\(" + limit);
}

TEST_P(overflow_death, works_on_any_thread_that_set_up_its_stack) {
  EXPECT_DEATH(std::thread([] { overflow(GetParam(), 0, [] { recurse(0); }); }).join(), "fatal error: goroutine 17: stack overflow");
}

#if !defined(__clang__) || defined(__x86_64__)
TEST_P(overflow_death, a_frame_larger_than_the_stack_does_not_jump_the_guard) {
  EXPECT_DEATH(overflow(GetParam(), 0, &one_big_frame), "fatal error: goroutine 17: stack overflow");
}
#endif

INSTANTIATE_TEST_SUITE_P(, overflow_death, ::testing::Values(guard_mode::automatic, guard_mode::protection),
                         [](const auto& info) { return to_string(info.param); });

class overflow_other_death : public ::testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

// Without guards the canary is looked at when the goroutine parks.
void overrun_canary() {
  stack_arena arena(small_arena(guard_mode::canary));
  host h;
  test_fiber f(arena, 0, [](test_fiber& self) {
    volatile std::byte* below = self.raw().low - 8;
    *below = std::byte{1};
    self.park();
  });
  f.resume(h);
}

TEST_F(overflow_other_death, canary_is_noticed_at_the_next_switch) {
  EXPECT_DEATH(overrun_canary(), "fatal error: stack overflow: .* overrun \\(found late");
}

void stray_pointer_into_guard() {
  stack_arena arena(small_arena());
  alternate_stack alternate;
  alternate.setup();
  install_overflow_handler(&arena, &describe);
  std::byte* slot;
  arena.allocate(0, &slot, 1);
  *reinterpret_cast<volatile char*>(slot + 16) = 1;
}

TEST_F(overflow_other_death, a_stray_pointer_is_not_called_an_overflow) {
  EXPECT_DEATH(stray_pointer_into_guard(), "fatal error: access to .*the guard below the stack of goroutine 17, from elsewhere");
}

void fault_elsewhere() {
  stack_arena arena(small_arena());
  signal(SIGSEGV, SIG_DFL);  // not a sanitizer's handler
  install_overflow_handler(&arena, &describe);
  void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(page) = 1;
}

TEST_F(overflow_other_death, other_faults_keep_their_default) { EXPECT_EXIT(fault_elsewhere(), ::testing::KilledBySignal(SIGSEGV), ""); }

void sent_signal() {
  stack_arena arena(small_arena());
  signal(SIGSEGV, SIG_DFL);
  install_overflow_handler(&arena, &describe);
  raise(SIGSEGV);
  _exit(3);
}

TEST_F(overflow_other_death, sent_signals_keep_their_default) { EXPECT_EXIT(sent_signal(), ::testing::KilledBySignal(SIGSEGV), ""); }

sigjmp_buf after_fault;
volatile void* fault_address;
void users_handler(int, siginfo_t* info, void*) {
  fault_address = info->si_addr;
  siglongjmp(after_fault, 1);
}

TEST(overflow_handler, passes_other_faults_to_the_previous_handler_and_leaves_it_in_place) {
  struct sigaction mine {
  }, before{}, after{};
  mine.sa_sigaction = &users_handler;
  mine.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &mine, &before);
  {
    stack_arena arena(small_arena());
    install_overflow_handler(&arena, &describe);
    install_overflow_handler(&arena, &describe);  // again, as a second run would: must not become its own predecessor
    void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(after_fault, 1) == 0) {
      *static_cast<volatile char*>(page) = 1;
      FAIL() << "no fault";
    }
    EXPECT_EQ(fault_address, page);
    remove_overflow_handler();
    munmap(page, 4096);
  }
  sigaction(SIGSEGV, &before, &after);
  EXPECT_EQ(after.sa_sigaction, &users_handler);
}

TEST(alternate_stack, is_per_thread_and_restores_what_was_there) {
  std::thread([] {
    stack_t before{}, during{}, after{};
    sigaltstack(nullptr, &before);
    {
      alternate_stack alternate;
      alternate.setup();
      sigaltstack(nullptr, &during);
      EXPECT_EQ(during.ss_flags & SS_DISABLE, 0);
      EXPECT_GE(during.ss_size, size_t{32} * 1024);
      alternate.teardown();
      alternate.teardown();  // harmless
    }
    sigaltstack(nullptr, &after);
    EXPECT_EQ(after.ss_sp, before.ss_sp);
    EXPECT_EQ(after.ss_flags, before.ss_flags);
  }).join();
}

}  // namespace
}  // namespace warren::rt
