#include "runtime/stack/context.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "runtime/stack/switch_annotations.h"

// Bare contexts on malloc'ed stacks. Sanitizers need the annotations of switch_fiber; without them only these tests' uninstrumented parts
// would be understood, so the file's tests are left to the plain builds (CMakeLists.txt).

namespace warren::rt {
namespace {

#if defined(__x86_64__)
constexpr size_t kCalleeSaved = 6;
constexpr size_t kGeneral = 6;
#elif defined(__aarch64__)
constexpr size_t kCalleeSaved = 18;
constexpr size_t kGeneral = 10;
#endif
using register_file = std::array<uint64_t, kCalleeSaved>;

extern "C" void register_probe_switch(void** save_sp, void* load_sp, const uint64_t* in, uint64_t* out);
extern "C" void register_probe_save(const uint64_t* in, void* regs);

register_file pattern(uint64_t seed) {
  register_file r;
  for (size_t i = 0; i < r.size(); ++i) r[i] = seed * 0x9e3779b97f4a7c15u + i * 0x0101010101010101u;
  return r;
}

struct ping_pong {
  context main, other;
  std::vector<unsigned char> stack = std::vector<unsigned char>(64 * 1024);
  uint64_t rounds = 0;
  uint64_t wrong = 0;
  void* argument = nullptr;
  uintptr_t entry_sp = 0;
};

void bounce(void* p) {
  auto* s = static_cast<ping_pong*>(p);
  s->argument = p;
  s->entry_sp = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  for (;;) {
    const register_file in = pattern(1'000'000 + s->rounds);
    register_file out{};
    register_probe_switch(&s->other.sp, s->main.sp, in.data(), out.data());
    if (out != in) ++s->wrong;
  }
}

TEST(context, keeps_every_callee_saved_register_on_both_sides) {
  ping_pong s;
  s.other.sp = make_context(s.stack.data() + s.stack.size(), &bounce, &s);
  for (s.rounds = 0; s.rounds < 10'000; ++s.rounds) {
    const register_file in = pattern(s.rounds);
    register_file out{};
    register_probe_switch(&s.main.sp, s.other.sp, in.data(), out.data());
    ASSERT_EQ(out, in) << "round " << s.rounds;
  }
  EXPECT_EQ(s.wrong, 0u);
  EXPECT_EQ(s.argument, &s);
}

TEST(context, aligns_the_stack_for_the_entry_whatever_the_top) {
  for (size_t off = 0; off < 32; ++off) {
    ping_pong s;
    s.other.sp = make_context(s.stack.data() + s.stack.size() - off, &bounce, &s);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(s.other.sp) % 8, 0u);
    warren_context_switch(&s.main.sp, s.other.sp);
    EXPECT_EQ(s.entry_sp % 16, 0u);
  }
}

// A conservative scan of the suspended stack must find what only a register held.
TEST(context, suspended_registers_lie_on_the_stack_above_sp) {
  ping_pong s;
  s.other.sp = make_context(s.stack.data() + s.stack.size(), &bounce, &s);
  warren_context_switch(&s.main.sp, s.other.sp);  // suspended with pattern(1'000'000) in its registers
  const auto* low = static_cast<const uint64_t*>(s.other.sp);
  const auto* high = reinterpret_cast<const uint64_t*>(s.stack.data() + s.stack.size());
  ASSERT_GE(reinterpret_cast<const unsigned char*>(low), s.stack.data());
  const register_file held = pattern(1'000'000);
  const uint64_t* registers_end = low + kCalleeSaved + 2;  // before any frame of C++, which holds copies
  ASSERT_LT(registers_end, high);
  for (size_t i = 0; i < kGeneral; ++i) EXPECT_NE(std::find(low, registers_end, held[i]), registers_end) << "register " << i;
}

TEST(context, save_registers_stores_every_general_register) {
  const register_file in = pattern(7);
  uint64_t regs[kSavedRegisterWords];
  std::fill_n(regs, kSavedRegisterWords, 0xdeadu);
  register_probe_save(in.data(), regs);
  for (size_t i = 0; i < kGeneral; ++i) EXPECT_NE(std::find(regs, regs + kSavedRegisterWords, in[i]), regs + kSavedRegisterWords) << i;
  EXPECT_EQ(std::find(regs, regs + kSavedRegisterWords, 0xdeadu), regs + kSavedRegisterWords) << "every word must be written";
}

TEST(context, fresh_context_touches_little) {
  std::vector<unsigned char> stack(4096, 0xee);
  auto* sp = static_cast<unsigned char*>(make_context(stack.data() + stack.size(), &bounce, nullptr));
  EXPECT_LE(stack.data() + stack.size() - sp, 256);
  EXPECT_TRUE(std::all_of(stack.data(), sp, [](unsigned char c) { return c == 0xee; }));
}

#if defined(__x86_64__)
// CFI at every instruction of the switch: the processor traps after each (trap flag), and each time the stack is unwound to its end, which
// must be the trampoline on the context's stack and the program's first frame on the thread's.
struct unwinding {
  _Unwind_Reason_Code code = _URC_NO_REASON;
  uintptr_t outermost = 0;
};

unwinding unwind() {
  unwinding u;
  u.code = _Unwind_Backtrace(
      [](_Unwind_Context* context, void* p) {
        if (const uintptr_t ip = _Unwind_GetIP(context); ip != 0) static_cast<unwinding*>(p)->outermost = ip;
        return _URC_NO_REASON;
      },
      &u);
  return u;
}

// Unlike bounce it has CFI all the way (the probes have none).
void step_aside(void* p) {
  auto* s = static_cast<ping_pong*>(p);
  for (;;) warren_context_switch(&s->other.sp, s->main.sp);
}

const ping_pong* stepped;
uintptr_t thread_outermost;
int steps_in_switch, steps_on_context, bad_steps;
uintptr_t first_bad_pc;

void on_step(int, siginfo_t*, void* p) {
  const auto& regs = static_cast<ucontext_t*>(p)->uc_mcontext.gregs;
  const auto pc = static_cast<uintptr_t>(regs[REG_RIP]);
  const auto sp = static_cast<uintptr_t>(regs[REG_RSP]);
  const auto begin = reinterpret_cast<uintptr_t>(&warren_context_switch);
  const auto trampoline = reinterpret_cast<uintptr_t>(&warren_context_start);
  const bool in_trampoline = pc >= trampoline && pc < trampoline + 10;
  if (!in_trampoline && (pc < begin || pc >= begin + 0x22)) return;
  const bool on_context = sp - reinterpret_cast<uintptr_t>(stepped->stack.data()) <= stepped->stack.size();
  ++steps_in_switch;
  steps_on_context += on_context ? 1 : 0;
  const unwinding u = unwind();
  const bool right = on_context ? u.outermost - trampoline < 32 : u.outermost == thread_outermost;
  if (u.code == _URC_END_OF_STACK && right) return;
  if (bad_steps++ == 0) first_bad_pc = pc - begin;
}

TEST(context, unwinds_from_every_instruction_of_the_switch) {
  ping_pong s;
  stepped = &s;
  s.other.sp = make_context(s.stack.data() + s.stack.size(), &step_aside, &s);
  thread_outermost = unwind().outermost;
  struct sigaction action {
  }, before{};
  action.sa_sigaction = &on_step;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, &before);
  asm volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc");
  warren_context_switch(&s.main.sp, s.other.sp);
  warren_context_switch(&s.main.sp, s.other.sp);
  asm volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc");
  sigaction(SIGTRAP, &before, nullptr);
  EXPECT_GT(steps_in_switch, 4 * 15) << "four passages of the switch";
  EXPECT_GT(steps_on_context, 4 * 7);
  EXPECT_EQ(bad_steps, 0) << "first at offset " << first_bad_pc;
}
#endif

void returns(void*) {}

TEST(context_death, an_entry_that_returns_traps) {
  EXPECT_DEATH(
      {
        std::vector<unsigned char> stack(64 * 1024);
        context here;
        warren_context_switch(&here.sp, make_context(stack.data() + stack.size(), &returns, nullptr));
      },
      "");
}

}  // namespace
}  // namespace warren::rt
