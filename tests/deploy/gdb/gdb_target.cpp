// What gdb_test.py looks at: goroutines in known places, and a process that says when they are there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/sync.h>

namespace {

std::atomic<int> parked{0};

// Each frame does something after its call, so that no call becomes a jump.
[[gnu::noinline]] int waits_for_value(const warren::chan<int>& c) {
  ++parked;
  const int v = c.recv().value_or(0);
  asm volatile("" ::: "memory");
  return v + 1;
}
[[gnu::noinline]] int calls_the_waiter(const warren::chan<int>& c) {
  const int v = waits_for_value(c);
  asm volatile("" ::: "memory");
  return v + 1;
}
[[gnu::noinline]] void waits_for_group(warren::wait_group& wg) {
  ++parked;
  wg.wait();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void spawns_them(const warren::chan<int>& c, warren::wait_group& wg) {
  warren::go([=] { calls_the_waiter(c); });
  warren::go([&wg] { waits_for_group(wg); });
  asm volatile("" ::: "memory");
}
std::atomic<bool> end{false};
[[gnu::noinline]] void spins_for_ever() {
  while (!end.load(std::memory_order_relaxed)) {
  }
}

}  // namespace

// gdb_target wait | abort | deadlock
int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "wait";
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  return warren::run([&] {
    const auto c = warren::make_chan<int>();
    warren::wait_group wg;
    wg.add(1);
    spawns_them(c, wg);
    while (parked < 2) warren::yield();
    for (int i = 0; i < 100; ++i) warren::yield();  // until they are parked, not only about to be
    if (strcmp(what, "abort") == 0) abort();
    if (strcmp(what, "deadlock") == 0) wg.wait();
    if (strcmp(what, "spin") == 0) {
      puts("ready");
      fflush(stdout);
      spins_for_ever();
    }
    puts("ready");
    fflush(stdout);
    warren::blocking([] {
      char byte;
      while (read(STDIN_FILENO, &byte, 1) > 0) {
      }
    });
    _exit(0);
  });
}
