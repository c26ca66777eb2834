// What a hundred thousand goroutines cost: bytes and kernel mappings each, parked and not yet started, with each kind of guard
// (WARREN_STACKGUARD, set by CTest).
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>

#include "runtime/sched/g.h"
#include "runtime/sched/park.h"
#include "runtime/sched/scheduler.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/stats.h"
#include "warren/sync.h"

namespace warren {
namespace {

constexpr int64_t kMany = 100'000;

struct footprint {
  int64_t bytes = 0;  // resident, and page tables
  int64_t mappings = 0;
};

footprint measure() {
  footprint f;
  char line[1024];
  if (FILE* status = fopen("/proc/self/status", "re")) {
    long kilobytes;
    while (fgets(line, sizeof line, status) != nullptr)
      if (sscanf(line, "VmRSS: %ld kB", &kilobytes) == 1 || sscanf(line, "VmPTE: %ld kB", &kilobytes) == 1) f.bytes += kilobytes * 1024;
    fclose(status);
  }
  if (FILE* maps = fopen("/proc/self/maps", "re")) {
    while (fgets(line, sizeof line, maps) != nullptr) f.mappings += strchr(line, '\n') != nullptr ? 1 : 0;
    fclose(maps);
  }
  return f;
}

int64_t max_map_count() {
  long n = 65530;
  if (FILE* file = fopen("/proc/sys/vm/max_map_count", "re")) {
    if (fscanf(file, "%ld", &n) != 1) n = 65530;
    fclose(file);
  }
  return n;
}

// What a page costs that was looked at and never written: nothing where the kernel maps its page of zeros, a page of one's own on some
// (emulated) kernels. The canary of a stack without a guard is looked at, so there it costs that much.
int64_t bytes_of_a_page_read() {
  constexpr int64_t kPages = 4096;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const memory = mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  madvise(memory, kPages * page, MADV_NOHUGEPAGE);
  const int64_t before = measure().bytes;
  for (size_t i = 0; i < kPages; ++i) EXPECT_EQ(static_cast<volatile char*>(memory)[i * page], 0);
  const int64_t cost = (measure().bytes - before) / kPages;
  munmap(memory, kPages * page);
  return cost < static_cast<int64_t>(page) / 2 ? 0 : static_cast<int64_t>(page);
}

TEST(StackMemory, AHundredThousandParked) {
  const int64_t read_page = bytes_of_a_page_read();
  testing::internal::CaptureStderr();
  run([&] {
    const footprint before = measure();
    const auto end = make_chan<unit>();
    wait_group wg;
    std::atomic<int64_t> begun{0};
    wg.add(kMany);
    for (int64_t i = 0; i < kMany; ++i) {
      go([&, end] {
        ++begun;
        end.recv();
        wg.done();
      });
    }
    while (begun < kMany) yield();
    const footprint after = measure();
    const scheduler_stats stats = read_scheduler_stats();
    end.close();
    wg.wait();

    EXPECT_LE((after.bytes - before.bytes) / kMany, 4400 + read_page * static_cast<int64_t>(stats.stacks_unguarded) / kMany)
        << "reading a page costs " << read_page;
    const rt::guard_mode mode = rt::scheduler::current()->pool().stacks().stats().mode;
    if (mode == rt::guard_mode::protection) {
      EXPECT_LE(after.mappings, max_map_count() / 2) << "the program needs mappings, too";
      EXPECT_EQ(stats.stacks_unguarded > 0, stats.stack_slots > static_cast<uint64_t>(max_map_count()) / 5);
    } else {
      EXPECT_LE(after.mappings - before.mappings, 256) << "threads that a busy machine makes necessary cost some each, stacks do not";
      EXPECT_EQ(stats.stacks_unguarded, mode == rt::guard_mode::canary ? stats.stack_slots : 0);
    }
    printf("%s: %.0f bytes each, %lld more mappings, %llu of %llu stacks without a guard\n", to_string(mode),
           static_cast<double>(after.bytes - before.bytes) / kMany, static_cast<long long>(after.mappings - before.mappings),
           static_cast<unsigned long long>(stats.stacks_unguarded), static_cast<unsigned long long>(stats.stack_slots));
  });
  const std::string said = testing::internal::GetCapturedStderr();
  const char* const mode = getenv("WARREN_STACKGUARD");
  size_t lines = 0;
  for (size_t at = 0; (at = said.find("no guard pages", at)) != std::string::npos; ++at) ++lines;
  const bool short_of_guards = mode != nullptr && strcmp(mode, "protection") == 0 && max_map_count() / 5 < kMany;
  EXPECT_EQ(lines, short_of_guards ? 1u : 0u) << said;
}

TEST(StackMemory, AHundredThousandNotStarted) {
  run([] {
    const footprint before = measure();
    const uint64_t stacks_before = read_scheduler_stats().stack_slots;
    std::atomic<int64_t> ran{0};
    rt::getg()->no_safepoint = true;
    for (int64_t i = 0; i < kMany; ++i) go([&] { ++ran; });
    const footprint after = measure();
    rt::getg()->no_safepoint = false;
    while (ran < kMany) yield();
    EXPECT_LE((after.bytes - before.bytes) / kMany, 400);
    // With several Ps some have run, which costs two for each guard by mprotect. They are counted at the end, since another P may have been
    // among making a batch of them, which counts once it is made.
    const uint64_t stacks_after = read_scheduler_stats().stack_slots;
    EXPECT_LE(after.mappings - before.mappings, 256 + 2 * static_cast<int64_t>(stacks_after - stacks_before));
  });
}

}  // namespace
}  // namespace warren
