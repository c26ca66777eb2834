// What the environment may say, and the one line it gets when it says something else. Each case is a process of its own, as the heap reads
// it once.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <new>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>

#include "runtime/gc/grey_page.h"
#include "runtime/memory.h"
#include "tests/death_style.h"

namespace {

using namespace warren;

struct node {
  ptr<node> next;
};

// Runs f on a goroutine of a child process with NAME=value, and ends it with 0 if nothing failed.
void child(const char* name, const char* value, void (*f)()) {
  setenv(name, value, 1);
  warren::run(f);
  _exit(::testing::Test::HasFailure() ? 1 : 0);
}
#define EXPECT_FINE(name, value, body) EXPECT_EXIT(child(name, value, [] body), ::testing::ExitedWithCode(0), "")
#define EXPECT_REFUSED(name, value, words) EXPECT_DEATH(child(name, value, [] { (void)make<node>(); }), words)

// Fewer and larger nodes where each costs a microsecond.
#ifdef __SANITIZE_THREAD__
constexpr size_t kFillerBytes = 128;
#else
constexpr size_t kFillerBytes = 16;
#endif
struct filler {
  ptr<filler> next;
  std::array<char, kFillerBytes - sizeof(void*)> bytes;
};
static_assert(sizeof(filler) == kFillerBytes);

// Fills the heap from a goroutine of its own: nothing of the list stays on a stack when it has ended.
void fill_and_go_on() {
  std::atomic<bool> done{false};
  go([&done] {
    ptr<filler> keep;
    size_t n = 0;
    EXPECT_THROW(
        for (;; ++n) {
          ptr<filler> p = make<filler>();
          p->next = keep;
          keep = p;
        },
        std::bad_alloc);
    EXPECT_GT(n, 64'000'000 / kFillerBytes);
    EXPECT_THROW((void)make_array<char>(size_t{1} << 30), std::bad_alloc);
    EXPECT_THROW((void)make_array<node>(~size_t{0} / 2), std::bad_array_new_length);
    done = true;
  });
  while (!done.load()) yield();
  gc();
  for (int i = 0; i < 1'000'000; ++i) (void)make<node>();
}

class EnvironmentDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { tests::choose_death_style(); }
};

TEST_F(EnvironmentDeathTest, Gcmode) {
  EXPECT_FINE("WARREN_GCMODE", "stw", {
    gc();
    EXPECT_EQ(read_mem_stats().gc.by_mode[0], 1u);
  });
  EXPECT_FINE("WARREN_GCMODE", "dijkstra", {
    gc();
    EXPECT_EQ(read_mem_stats().gc.by_mode[1], 1u);
  });
  EXPECT_FINE("WARREN_GCMODE", "yuasa", {
    gc();
    EXPECT_EQ(read_mem_stats().gc.by_mode[2], 1u);
  });
  EXPECT_FINE("WARREN_GCMODE", "hybrid", {
    gc();
    EXPECT_EQ(read_mem_stats().gc.by_mode[3], 1u);
  });
  EXPECT_FINE("WARREN_GCMODE", "", {
    gc();
    EXPECT_EQ(read_mem_stats().gc.by_mode[3], 1u);
  });
  EXPECT_REFUSED("WARREN_GCMODE", "fast", "fatal error: WARREN_GCMODE=fast: want hybrid, dijkstra, yuasa or stw");
}

TEST_F(EnvironmentDeathTest, Gcmark) {
  for (const char* mark : {"objects", "pages", ""})
    EXPECT_FINE("WARREN_GCMARK", mark, {
      const ptr<node> kept = make<node>();
      gc();
      EXPECT_GE(read_mem_stats().gc.last.objects_marked, 1u);
    });
  EXPECT_REFUSED("WARREN_GCMARK", "spans", "fatal error: WARREN_GCMARK=spans: want objects or pages");
}

TEST_F(EnvironmentDeathTest, Gckernel) {
  for (const char* kernel : {"portable", ""})
    EXPECT_FINE("WARREN_GCKERNEL", kernel, {
      const ptr<node> kept = make<node>();
      gc();
      EXPECT_GE(read_mem_stats().gc.last.objects_marked, 1u);
    });
  EXPECT_REFUSED("WARREN_GCKERNEL", "sse", "fatal error: WARREN_GCKERNEL=sse: want portable or avx512");
  if (rt::has_kernel(rt::page_kernel::avx512)) {
    EXPECT_FINE("WARREN_GCKERNEL", "avx512", { EXPECT_TRUE(rt::memory().heap.scan_by_page()) << "the default with that kernel"; });
    EXPECT_FINE("WARREN_GCKERNEL", "portable", { EXPECT_FALSE(rt::memory().heap.scan_by_page()) << "the default without"; });
  } else {
    EXPECT_REFUSED("WARREN_GCKERNEL", "avx512", "fatal error: WARREN_GCKERNEL=avx512: this processor does not have .*: set portable");
  }
}

TEST_F(EnvironmentDeathTest, Gogc) {
  EXPECT_FINE("GOGC", "50", { EXPECT_EQ(read_mem_stats().gc.percent, 50); });
  EXPECT_FINE("WARREN_GOGC", "off", {
    EXPECT_EQ(read_mem_stats().gc.percent, -1);
    for (int i = 0; i < 500'000; ++i) (void)make<node>();
    EXPECT_EQ(read_mem_stats().gc.cycles, 0u);
    EXPECT_EQ(set_gc_percent(100), -1);
    while (read_mem_stats().gc.cycles == 0) (void)make<node>();  // it marks meanwhile, and may have to wait for a processor
  });
  EXPECT_REFUSED("GOGC", "fast", "fatal error: GOGC=fast: want a percentage");
}

TEST_F(EnvironmentDeathTest, Reserve) {
  EXPECT_FINE("WARREN_HEAP_RESERVE", "64M", { EXPECT_EQ(read_mem_stats().heap.reserved_bytes, 64u << 20); });
  EXPECT_REFUSED("WARREN_HEAP_RESERVE", "lots", "fatal error: WARREN_HEAP_RESERVE=lots: want a size from 64M to 4T");
  EXPECT_REFUSED("WARREN_HEAP_RESERVE", "1K", "fatal error: WARREN_HEAP_RESERVE=1K: want a size from 64M to 4T");
}

TEST_F(EnvironmentDeathTest, ExhaustionThrowsBadAllocAndTheProgramGoesOn) {
  EXPECT_EXIT(child("WARREN_HEAP_RESERVE", "64M", &fill_and_go_on), ::testing::ExitedWithCode(0), "");
}

TEST_F(EnvironmentDeathTest, Stress) {
  EXPECT_FINE("WARREN_GCSTRESS", "10", {
    const uint64_t before = read_mem_stats().gc.cycles;
    for (int i = 0; i < 1000; ++i) (void)make<node>();
    EXPECT_GE(read_mem_stats().gc.cycles, before + 99);
  });
  EXPECT_REFUSED("WARREN_GCSTRESS", "often", "fatal error: WARREN_GCSTRESS=often: want a number");
}

TEST_F(EnvironmentDeathTest, CheckmarkAndPoison) {
  EXPECT_FINE("WARREN_GCCHECKMARK", "1", {
    ptr<node> p = make<node>();
    p->next = make<node>();
    gc();
  });
  EXPECT_REFUSED("WARREN_GCCHECKMARK", "yes", "fatal error: WARREN_GCCHECKMARK=yes: want a number from 0 to 1");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
size_t reserve_within(rlim_t address_space) {
  rlimit limit;
  limit.rlim_cur = limit.rlim_max = address_space;
  setrlimit(RLIMIT_AS, &limit);
  return rt::memory().heap.space().bytes();
}
void check_halving() {
  const size_t got = reserve_within(rlim_t{200} << 30);
  _exit(got >= size_t{32} << 30 && got < size_t{200} << 30 ? 0 : 1);
}
TEST_F(EnvironmentDeathTest, ALimitedAddressSpaceHalvesTheReservation) {
  if (tests::emulated()) GTEST_SKIP() << "emulators do not pass RLIMIT_AS on";
  EXPECT_EXIT(check_halving(), ::testing::ExitedWithCode(0), "");
  EXPECT_DEATH(reserve_within(rlim_t{1} << 30),
               "fatal error: cannot reserve 1024 MiB of address space for the heap .*set WARREN_HEAP_RESERVE lower");
}
#endif

}  // namespace
