// bench_abuse: how long a goroutine waits for its turn while others behave badly. Twin for none, loops, sleeps and idle:
// bench/peers/go/src/warrenbench/abuse/main.go.
//
// A prober is due every millisecond, by a timer. When it runs it sends to an echo goroutine and waits for the answer; the sample is the
// time from the moment it was due to the answer. Beside it, all the while:
//   none    nothing
//   loops   as many goroutines as there are Ps compute and call nothing
//   sleeps  8 goroutines call usleep(100 ms) and do not say that it blocks
//   locks   8 goroutines hold a std::mutex for a millisecond of computing, in turn: the others wait for it in the kernel
//   mallocs as many goroutines as there are Ps call malloc and free and nothing else (run it with WARREN_SLICE_US=100: they are preempted
//           inside malloc ten thousand times a second)
//   idle    not even the prober: the figure is what the process takes of one processor
// One JSON object a line. bench_abuse [--seconds S] [scenario…]
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/sync.h>

namespace {

using clock_type = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr nanoseconds kEvery = std::chrono::milliseconds(1);
constexpr int kBlockers = 8;

std::atomic<bool> stop{false};
std::atomic<uint64_t> work_done{0};  // so that no loop is optimized away, and to see that they ran

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void compute_until_stopped() {
  uint64_t x = 1;
  while (!stop.load(std::memory_order_relaxed)) x = x * 6364136223846793005u + 1;
  work_done += x | 1;
}

void sleep_undeclared() {
  while (!stop.load(std::memory_order_relaxed)) {
    usleep(100'000);
    work_done++;
  }
}

void hold_a_lock() {
  static std::mutex mu;
  while (!stop.load(std::memory_order_relaxed)) {
    const std::lock_guard hold(mu);
    const auto until = clock_type::now() + std::chrono::milliseconds(1);
    while (clock_type::now() < until) work_done.fetch_add(1, std::memory_order_relaxed);
  }
}

void allocate_and_free() {
  uint64_t n = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    void* p = std::malloc(16 + n++ % 1024);
    asm volatile("" : : "r"(p) : "memory");
    std::free(p);
  }
  work_done += n;
}

struct scenario {
  std::string_view name;
  void (*abuse)();
  bool one_for_each_p;
};
constexpr scenario kScenarios[] = {
    {"none", nullptr, false},       {"loops", &compute_until_stopped, true}, {"sleeps", &sleep_undeclared, false},
    {"locks", &hold_a_lock, false}, {"mallocs", &allocate_and_free, true},   {"idle", nullptr, false},
};

void probe(double seconds, std::vector<int64_t>& samples) {
  const auto there = warren::make_chan<int64_t>(), back = warren::make_chan<int64_t>();
  warren::go([there, back] {
    for (const int64_t v : there) back.send(v);
  });
  auto due = clock_type::now();
  const auto end = due + std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(seconds));
  while (due < end) {
    due += kEvery;
    warren::sleep(due - clock_type::now());
    there.send(1);
    back.recv();
    const auto now = clock_type::now();
    samples.push_back((now - due).count());
    if (now > due + kEvery) due = now;  // what was missed is one sample, not many
  }
  there.close();
}

void run(const scenario& s, double seconds) {
  stop = false;
  work_done = 0;
  if (s.name == "idle") {
    warren::sleep(std::chrono::seconds(1));  // what came before is over
    const double before = cpu_seconds();
    warren::sleep(std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(seconds)));
    std::printf("{\"scenario\":\"idle\",\"ps\":%d,\"seconds\":%g,\"cpu_percent\":%.3f}\n", warren::maxprocs(), seconds,
                (cpu_seconds() - before) / seconds * 100);
    std::fflush(stdout);
    return;
  }
  std::vector<int64_t> samples;
  samples.reserve(static_cast<size_t>(seconds * 1000) + 16);
  warren::wait_group wg;
  if (s.abuse != nullptr) {
    const int n = s.one_for_each_p ? warren::maxprocs() : kBlockers;
    for (int i = 0; i < n; i++) wg.go(s.abuse);
  }
  probe(seconds, samples);
  stop = true;
  wg.wait();
  if (s.abuse != nullptr && work_done == 0) {
    std::fprintf(stderr, "fatal: bench_abuse: nobody did anything in %.*s\n", static_cast<int>(s.name.size()), s.name.data());
    std::abort();
  }
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double q) {
    return static_cast<double>(samples[static_cast<size_t>(q * static_cast<double>(samples.size() - 1))]) / 1e3;
  };
  std::printf("{\"scenario\":\"%.*s\",\"ps\":%d,\"samples\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
              static_cast<int>(s.name.size()), s.name.data(), warren::maxprocs(), samples.size(), at(0.5), at(0.99), at(0.999), at(1));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  std::vector<const scenario*> wanted;
  for (int i = 1; i < argc; i++) {
    const std::string_view argument = argv[i];
    if (argument == "--seconds" && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
      continue;
    }
    const auto* found = std::find_if(std::begin(kScenarios), std::end(kScenarios), [&](const scenario& s) { return s.name == argument; });
    if (found == std::end(kScenarios)) {
      std::fprintf(stderr, "bench_abuse: unknown argument '%s'; [--seconds S] none|loops|sleeps|locks|mallocs|idle …\n", argv[i]);
      return 2;
    }
    wanted.push_back(found);
  }
  if (!(seconds > 0)) {
    std::fprintf(stderr, "bench_abuse: --seconds needs a number above 0\n");
    return 2;
  }
  if (wanted.empty())
    for (const scenario& s : kScenarios) wanted.push_back(&s);
  return warren::run([&] {
    for (const scenario* s : wanted) run(*s, seconds);
  });
}
