// bench_sched: what goroutines, channels, timers and locks cost. Twin: bench/peers/go/src/warrenbench/sched/main.go, loop for loop.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/select.h>
#include <warren/sync.h>

#include "bench/bench_sched_memory.h"
#include "bench/support.h"
#include "runtime/os/clock.h"
#include "runtime/sched/timer.h"

namespace {

using benchmark::State;

// One goroutine at a time: start it, wait for it.
void spawn_join(State& state) {
  warren::wait_group wg;
  bench::timed(state, [&](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      wg.add(1);
      warren::go([&wg] { wg.done(); });
      wg.wait();
    }
  });
}

// Two goroutines that do nothing but yield; the count is of the first one's.
void yield(State& state) {
  std::atomic<bool> end{false};
  warren::wait_group wg;
  wg.add(1);
  warren::go([&] {
    while (!end.load()) warren::yield();
    wg.done();
  });
  warren::yield();
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) warren::yield();
  });
  end.store(true);
  wg.wait();
}

// A round trip between two goroutines over two unbuffered channels.
void pingpong(State& state) {
  const auto ping = warren::make_chan<int64_t>(), pong = warren::make_chan<int64_t>();
  warren::go([ping, pong] {
    for (const int64_t v : ping) pong.send(v);
    pong.close();
  });
  bench::timed(state, [&](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      ping.send(i);
      benchmark::DoNotOptimize(pong.recv());
    }
  });
  ping.close();
  pong.recv();
}

// A value from a producer to a consumer over a channel of 128.
void chan_buffered(State& state) {
  const auto c = warren::make_chan<int64_t>(128);
  const auto begin = warren::make_chan<warren::unit>();
  warren::go([c, begin, n = static_cast<int64_t>(state.max_iterations)] {
    begin.recv();
    for (int64_t i = 0; i < n; i++) c.send(i);
  });
  warren::yield();
  bench::timed(state, [&](int64_t n) {
    begin.close();
    for (int64_t i = 0; i < n; i++) benchmark::DoNotOptimize(c.recv());
  });
}

// A value received by a select over two unbuffered channels, which one producer serves in turn.
void select2(State& state) {
  const auto a = warren::make_chan<int64_t>(), b = warren::make_chan<int64_t>();
  const auto begin = warren::make_chan<warren::unit>();
  warren::go([a, b, begin, n = static_cast<int64_t>(state.max_iterations)] {
    begin.recv();
    for (int64_t i = 0; i < n; i++) {
      if ((i & 1) == 0) {
        a.send(i);
      } else {
        b.send(i);
      }
    }
  });
  warren::yield();
  int64_t sum = 0;
  bench::timed(state, [&](int64_t n) {
    begin.close();
    for (int64_t i = 0; i < n; i++) {
      warren::select(warren::recv(a, [&](std::optional<int64_t> v) { sum += *v; }),
                     warren::recv(b, [&](std::optional<int64_t> v) { sum -= *v; }));
    }
  });
  benchmark::DoNotOptimize(sum);
}

// Arms a timer for an hour from now and disarms it.
void timer_start_stop(State& state) {
  constexpr int64_t kHour = 3'600'000'000'000;
  warren::rt::timer timer;
  timer.fn = [](void*, uintptr_t) {};
  bench::timed(state, [&](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      timer.when = warren::rt::nanotime() + kHour;
      warren::rt::timer_start(&timer);
      warren::rt::timer_stop(&timer);
    }
  });
}

// Eight goroutines that take one mutex, add one and give it back; the count is of all of them together.
void mutex_contended(State& state) {
  constexpr int64_t kGoroutines = 8;
  const auto total = static_cast<int64_t>(state.max_iterations);
  warren::mutex mu;
  warren::wait_group wg;
  int64_t counter = 0;
  const auto begin = warren::make_chan<warren::unit>();
  for (int64_t g = 0; g < kGoroutines; g++) {
    const int64_t share = total / kGoroutines + (g < total % kGoroutines ? 1 : 0);
    wg.add(1);
    warren::go([&, begin, share] {
      begin.recv();
      for (int64_t i = 0; i < share; i++) {
        const std::lock_guard lock(mu);
        counter++;
      }
      wg.done();
    });
  }
  warren::yield();
  bench::timed(state, [&](int64_t) {
    begin.close();
    wg.wait();
  });
  if (counter != total) {
    std::fputs("mutex_contended: lost an increment\n", stderr);
    std::abort();
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::add("spawn_join", spawn_join);
  bench::add("yield", yield);
  bench::add("pingpong", pingpong);
  bench::add("chan_buffered", chan_buffered);
  bench::add("select2", select2);
  bench::add("timer_start_stop", timer_start_stop);
  bench::add("mutex_contended", mutex_contended);
  bench::add_memory_benchmarks();
  return bench::main(argc, argv);
}
