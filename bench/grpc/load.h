// h2load as a gRPC client.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct latency {
  double p50_us;
  double p99_us;
};

// Of measured times, at least one, which are sorted.
latency of_times(std::vector<int64_t>& us);

// What is called, and how.
struct request {
  int connections = 1;
  int streams = 1;  // calls in flight on each connection
  std::string path{};
  std::string message{};    // without gRPC's prefix
  int64_t reply_bytes = 0;  // of all messages of an answer, prefixes included
  bool tls = false;
};

// Makes calls to the server at `address` from processor `cpu`.
// All throw std::runtime_error with one line when h2load fails, or when an answer was not the expected message: h2load itself counts
// every HTTP 200 as success, gRPC errors included, so the number of body bytes is compared.
class load {
 public:
  load(std::string address, int cpu, request r);
  ~load();
  load(const load&) = delete;
  load& operator=(const load&) = delete;

  // Calls in a closed loop for that long. Returns calls per second.
  double warm_up(int milliseconds);
  // Exactly that many calls, in a closed loop.
  void calls(int64_t count);
  // The same, with the time of each call written down (which slows the generator: not for throughput).
  latency timed_calls(int64_t count);
  // The same at a given rate, each call sent when it is due (unless `streams` of its connection are open).
  latency timed_calls_at(double calls_per_second, int64_t count);

 private:
  std::string run(const std::string& how_much, const std::string& log, double rate);
  void run_counted(int64_t count, const std::string& log, double rate);
  latency timed(int64_t count, double rate);

  std::string address_;
  int cpu_;
  request request_;
  std::string directory_;  // of the request and the log
};

}  // namespace bench
