// h2load as a gRPC client: unary calls in a closed loop.
#pragma once
#include <cstdint>
#include <string>

namespace bench {

struct scenario {
  int connections;
  int streams;  // calls in flight on each connection
  std::string name() const { return std::to_string(connections) + "x" + std::to_string(streams); }
};

struct latency {
  double p50_us;
  double p99_us;
};

// Calls helloworld.Greeter/SayHello with {name: "world"} at `address` from processor `cpu`.
// All throw std::runtime_error with one line when h2load fails, or when an answer was not the expected message: h2load itself counts
// every HTTP 200 as success, gRPC errors included, so the number of body bytes is compared.
class load {
 public:
  load(std::string address, int cpu);
  ~load();
  load(const load&) = delete;
  load& operator=(const load&) = delete;

  // Calls for that long. Returns calls per second.
  double warm_up(const scenario& s, int milliseconds);
  // Exactly that many calls.
  void calls(const scenario& s, int64_t count);
  // The same, with the time of each call written down (which slows the generator: not for throughput).
  latency timed_calls(const scenario& s, int64_t count);

 private:
  std::string run(const scenario& s, const std::string& how_much, const std::string& log);
  void run_counted(const scenario& s, int64_t count, const std::string& log);

  std::string address_;
  int cpu_;
  std::string directory_;  // of the request and the log
};

}  // namespace bench
