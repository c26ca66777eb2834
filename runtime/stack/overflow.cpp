// Stack overflow as a named crash.
//
// The handler runs on the M's alternate stack, in a thread that may have been anywhere: inside malloc, holding the loader's lock, in the
// middle of the scheduler. It may therefore use only what is async-signal-safe: write(2), arithmetic on the arena, reads of memory that it
// has bounded itself, and _dl_find_object, which glibc documents as such (frames are printed as file+offset, as addr2line wants them).
// backtrace_symbols_fd is not used: it takes the loader's lock, and an overflow inside dlopen would hang instead of crashing.
//
// Frames are walked by frame pointers, and only inside the slot: overflowing code may have left anything in rbp. Foreign code without frame
// pointers ends the walk early; the program counter is always printed.
//
// Whose overflow is it? The one whose guard was hit, usually also whose stack pointer is there. When the stack pointer is in another slot
// (or on a thread's stack), somebody followed a stray pointer: the message says so instead of blaming the size.
#include "runtime/stack/overflow.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>

#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS};
constexpr int kTopFrames = 16;

std::atomic<const stack_arena*> watched{nullptr};
std::atomic<describe_slot> describe_callback{nullptr};
struct sigaction previous_action[2];
bool installed = false;
char program_path[256] = "";  // the loader names the program itself "": read once, at installation

struct registers {
  uintptr_t pc, sp, fp;
};

registers registers_of(const ucontext_t* uc) noexcept {
#if defined(__x86_64__)
  const auto& r = uc->uc_mcontext.gregs;
  return {static_cast<uintptr_t>(r[REG_RIP]), static_cast<uintptr_t>(r[REG_RSP]), static_cast<uintptr_t>(r[REG_RBP])};
#elif defined(__aarch64__)
  const auto& m = uc->uc_mcontext;
  return {m.pc, m.sp, m.regs[29]};
#endif
}

void print_frame(int number, uintptr_t pc) noexcept {
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) == 0) {
    const char* file = found.dlfo_link_map->l_name;
    if (file == nullptr || file[0] == 0) file = program_path;
    print_error("  #%-2d %p %s(+0x%zx)\n", number, reinterpret_cast<void*>(pc), file,
                static_cast<size_t>(pc - found.dlfo_link_map->l_addr));
  } else {
    print_error("  #%-2d %p\n", number, reinterpret_cast<void*>(pc));
  }
}

// [low, high): the part of the stack that can be read without a fault.
void print_frames(const registers& r, uintptr_t low, uintptr_t high) noexcept {
  print_frame(0, r.pc);
  uintptr_t fp = r.fp;
  for (int i = 1; i < kTopFrames; ++i) {
    if (fp < low || fp > high - 2 * sizeof(uintptr_t) || fp % sizeof(uintptr_t) != 0) return;
    const auto* record = reinterpret_cast<const uintptr_t*>(fp);
    if (record[1] == 0) return;
    print_frame(i, record[1] - 1);  // inside the call, not behind it
    if (record[0] <= fp) return;    // callers lie higher; anything else is not a chain
    fp = record[0];
  }
  print_error("  (more frames)\n");
}

// Prints and aborts if the fault at addr is an overflow; returns otherwise.
void report_overflow(uintptr_t addr, const ucontext_t* uc) noexcept {
  const stack_arena* arena = watched.load(std::memory_order_acquire);
  if (arena == nullptr || !arena->contains(reinterpret_cast<void*>(addr))) return;
  std::byte* slot = arena->slot_of(reinterpret_cast<void*>(addr));
  const auto low = reinterpret_cast<uintptr_t>(slot);
  if (addr - low >= kStackGuard) return;

  const size_t size = stack_slot_size(arena->class_of(slot));
  char who[64] = "a goroutine";
  if (const describe_slot describe = describe_callback.load(std::memory_order_relaxed)) describe(slot, who, sizeof who);
  const registers r = registers_of(uc);
  // Pushing and calling fault below the stack pointer, so an overflow's stack pointer may still be one frame above or already below the
  // guard.
  if (r.sp - low < size) {
    print_error("fatal error: %s: stack overflow (%zu KiB limit; start it with a larger warren::stack_size)\n", who, size / 1024);
    print_frames(r, low + kStackGuard, low + size);
  } else {
    print_error(
        "fatal error: access to %p, the guard below the stack of %s, from elsewhere: a stray pointer or an overrun of the stack below\n",
        reinterpret_cast<void*>(addr), who);
    print_frame(0, r.pc);
  }
  // The handler of SIGABRT, if any, must not run on the dead stack's assumptions, and abort() is safe here: it takes only its own lock.
  abort();
}

void on_fault(int sig, siginfo_t* info, void* uc) {
  const int saved_errno = errno;
  // si_code <= 0: sent by kill or raise; si_addr is not an address then.
  if (info->si_code > 0) report_overflow(reinterpret_cast<uintptr_t>(info->si_addr), static_cast<const ucontext_t*>(uc));

  const struct sigaction& previous = previous_action[sig == SIGSEGV ? 0 : 1];
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    errno = saved_errno;
    previous.sa_sigaction(sig, info, uc);
    return;
  }
  if (previous.sa_handler == SIG_IGN && info->si_code <= 0) return;  // a real fault cannot be ignored: it would come again for ever
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    errno = saved_errno;
    previous.sa_handler(sig);
    return;
  }
  // The default action: put it back and let it happen. A real fault happens again on return; a sent signal is sent again, and is delivered
  // when this handler returns and unblocks it.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(sig, &by_default, nullptr);
  if (info->si_code <= 0) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
  errno = saved_errno;
}

}  // namespace

void install_overflow_handler(const stack_arena* arena, describe_slot describe) {
  describe_callback.store(describe, std::memory_order_relaxed);
  watched.store(arena, std::memory_order_release);
  if (installed) return;
  const ssize_t n = readlink("/proc/self/exe", program_path, sizeof program_path - 1);
  program_path[n > 0 ? n : 0] = 0;
  struct sigaction action {};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < 2; ++i) {
    if (sigaction(kSignals[i], &action, &previous_action[i]) != 0) fatal("sigaction(%d) failed: errno %d", kSignals[i], errno);
  }
  installed = true;
}

void remove_overflow_handler() {
  watched.store(nullptr, std::memory_order_release);
  if (!installed) return;
  bool all_ours = true;
  for (const int sig : kSignals) {
    struct sigaction current {};
    sigaction(sig, nullptr, &current);
    all_ours = all_ours && (current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == &on_fault;
  }
  if (!all_ours) return;  // somebody hangs behind us and may pass faults on: stay, as a relay
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &previous_action[i], nullptr);
  installed = false;
}

void alternate_stack::setup() {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  // What the kernel pushes (AVX-512 and AMX state: up to 11 KiB), and twice what the deepest handler uses.
  const size_t frame = getauxval(AT_MINSIGSTKSZ);
  const size_t usable = (frame + size_t{32} * 1024 * kStackScale + page - 1) / page * page;
  mapping_bytes_ = usable + page;
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED || mprotect(mapping_, page, PROT_NONE) != 0) {
    fatal("no memory for an alternate signal stack: %zu KiB refused (errno %d); raise the limit on memory or vm.max_map_count",
          mapping_bytes_ / 1024, errno);
  }
  stack_t stack{};
  stack.ss_sp = static_cast<std::byte*>(mapping_) + page;
  stack.ss_size = usable;
  if (sigaltstack(&stack, &previous_) != 0) fatal("sigaltstack refused %zu bytes: errno %d", usable, errno);
}

void alternate_stack::teardown() {
  if (mapping_ == nullptr) return;
  // A thread that had none gets none; ASan's own is put back.
  stack_t restored = previous_;
  if ((restored.ss_flags & SS_DISABLE) != 0) restored = stack_t{nullptr, SS_DISABLE, 0};
  sigaltstack(&restored, nullptr);
  munmap(mapping_, mapping_bytes_);
  mapping_ = nullptr;
}

}  // namespace warren::rt
