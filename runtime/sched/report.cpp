#include "runtime/sched/report.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "runtime/os/fatal.h"
#include "runtime/os/thread_probe.h"

namespace warren::rt {

namespace {

int level() {
  static const int chosen = [] {
    const char* text = getenv("WARREN_REPORT");
    if (text == nullptr || *text == '\0') return 1;
    if (strlen(text) != 1 || *text < '0' || *text > '2')
      fatal("WARREN_REPORT=%s: want 0 (nothing), 1 (once per cause) or 2 (every event)", text);
    return *text - '0';
  }();
  return chosen;
}

// "name+0x12" where the dynamic symbol table has a name (executables: link with -rdynamic), else "file(+0x1234)", which addr2line takes.
struct place {
  explicit place(const void* pc) {
    Dl_info info;
    if (pc == nullptr || dladdr(pc, &info) == 0) {
      snprintf(text, sizeof text, "%p", pc);
    } else if (info.dli_sname != nullptr) {
      int status = -1;
      char* name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
      snprintf(text, sizeof text, "%s+0x%zx", status == 0 ? name : info.dli_sname,
               static_cast<size_t>(static_cast<const char*>(pc) - static_cast<const char*>(info.dli_saddr)));
      free(name);
    } else {
      snprintf(text, sizeof text, "%s(+0x%zx)", info.dli_fname,
               static_cast<size_t>(static_cast<const char*>(pc) - static_cast<const char*>(info.dli_fbase)));
    }
  }
  char text[320];
};

void print_sample(const stack_sample& s) {
  for (uint32_t i = 0; i < s.count; ++i) print_error("  #%-2u %p %s\n", i, s.frames[i], place(s.frames[i]).text);
}

// Has this spawn site been reported before? A small open hash table: when it is full, everything counts as reported. Sysmon only.
bool first_of(const void* site) {
  constexpr size_t kSites = 256;
  static const void* seen[kSites];
  size_t at = (reinterpret_cast<uintptr_t>(site) >> 2) * 0x9E3779B97F4A7C15u >> 56;
  for (size_t i = 0; i < kSites; ++i, at = (at + 1) % kSites) {
    if (seen[at] == site) return false;
    if (seen[at] == nullptr) {
      seen[at] = site;
      return true;
    }
  }
  return false;
}

}  // namespace

void report_blocked(uint64_t goid, const void* spawn_pc, long call, int64_t age) {
  if (level() == 0 || (level() == 1 && !first_of(spawn_pc))) return;
  char buf[32];
  print_error(
      "warren: goroutine %llu blocks its thread for %lld ms so far in %s without warren::blocking; its P went to another thread. Wrap the "
      "call in warren::blocking. Spawned at %s\n",
      static_cast<unsigned long long>(goid), static_cast<long long>(age / 1'000'000), system_call_name(call, buf, sizeof buf),
      place(spawn_pc).text);
}

void report_hog(const stack_sample& s, int64_t age) {
  if (level() < 2) return;
  print_error("warren: goroutine %llu computes for %lld ms without a call of the runtime; it goes on without its P. Spawned at %s\n",
              static_cast<unsigned long long>(s.goid), static_cast<long long>(age / 1'000'000), place(s.spawn_pc).text);
  print_sample(s);
}

void report_too_many_hogs(const stack_sample& s, int64_t age, uint32_t limit) {
  if (level() == 0) return;
  print_error(
      "warren: goroutine %llu computes for %lld ms without a call of the runtime, and %u goroutines (WARREN_MAX_HOGS) run without a P "
      "already: it keeps its P and others wait. Call warren::yield in long loops. Spawned at %s\n",
      static_cast<unsigned long long>(s.goid), static_cast<long long>(age / 1'000'000), limit, place(s.spawn_pc).text);
  print_sample(s);
}

}  // namespace warren::rt
