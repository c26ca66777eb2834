// bench_sched: what goroutines, channels, timers and locks cost. Twin: bench/peers/go/src/warrenbench/sched/main.go, loop for loop.
#include <array>
#include <atomic>
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
  if (counter != total) bench::wrong("mutex_contended: lost an increment");
}

// The three trees below are fork and join without end: every call is a goroutine, most of them parked while their children run.

// Sums the numbers [first, first + size) at a million leaves, ten children to a node, over one unbuffered channel each.
void skynet_node(const warren::chan<int64_t>& up, int64_t first, int64_t size) {
  if (size == 1) {
    up.send(first);
    return;
  }
  const auto children = warren::make_chan<int64_t>();
  for (int64_t i = 0; i < 10; i++)
    warren::go([children, child = first + i * (size / 10), size] { skynet_node(children, child, size / 10); });
  int64_t sum = 0;
  for (int64_t i = 0; i < 10; i++) sum += *children.recv();
  up.send(sum);
}

void skynet(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      const auto result = warren::make_chan<int64_t>();
      warren::go([result] { skynet_node(result, 0, 1'000'000); });
      if (*result.recv() != 499'999'500'000) bench::wrong("skynet: a wrong sum");
    }
  });
}

// Fibonacci's number 30, each of the 2.7 million calls a goroutine.
void fib(int64_t n, int64_t* result) {
  if (n < 2) {
    *result = n;
    return;
  }
  int64_t a = 0, b = 0;
  warren::wait_group wg;
  wg.add(2);
  warren::go([&, n] {
    fib(n - 1, &a);
    wg.done();
  });
  warren::go([&, n] {
    fib(n - 2, &b);
    wg.done();
  });
  wg.wait();
  *result = a + b;
}

void fib30(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      int64_t result = 0;
      fib(30, &result);
      if (result != 832'040) bench::wrong("fib30: a wrong number");
    }
  });
}

// Ten queens on a board of ten by ten: a goroutine for each square that the next row's queen may stand on, 35 000 of them.
constexpr int kQueens = 10;
struct placed_queens {
  int row = 0;
  std::array<int8_t, kQueens> column{};
  bool allows(int c) const {
    for (int r = 0; r < row; r++)
      if (column[r] == c || column[r] - c == row - r || c - column[r] == row - r) return false;
    return true;
  }
};

void queens(const placed_queens& board, int64_t* solutions) {
  if (board.row == kQueens) {
    *solutions = 1;
    return;
  }
  std::array<int64_t, kQueens> found{};
  warren::wait_group wg;
  for (int c = 0; c < kQueens; c++) {
    if (!board.allows(c)) continue;
    placed_queens next = board;
    next.column[next.row++] = static_cast<int8_t>(c);
    wg.add(1);
    warren::go([next, count = &found[c], &wg] {
      queens(next, count);
      wg.done();
    });
  }
  wg.wait();
  for (const int64_t f : found) *solutions += f;
}

void nqueens10(State& state) {
  bench::timed(state, [](int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      int64_t solutions = 0;
      queens(placed_queens{}, &solutions);
      if (solutions != 724) bench::wrong("nqueens10: a wrong number of solutions");
    }
  });
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
  bench::add("skynet", skynet);
  bench::add("fib30", fib30);
  bench::add("nqueens10", nqueens10);
  bench::add_memory_benchmarks();
  return bench::main(argc, argv);
}
