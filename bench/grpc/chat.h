// Ping-pong on bidirectional streams: every stream sends a message, waits for it to come back, and sends the next.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/grpc/plain_client.h"

namespace bench {

// Runs on the calling thread. Functions throw std::runtime_error with one line when the server ends a stream or sends something else back.
class chat {
 public:
  // Opens the streams of `path`. message: without gRPC's prefix.
  chat(const std::string& address, const std::string& path, const std::string& message, int connections, int streams);
  ~chat();
  chat(const chat&) = delete;
  chat& operator=(const chat&) = delete;

  // Round trips for so long. Returns how many a second.
  double run_for(std::chrono::milliseconds time);
  // Exactly so many; their times in microseconds are appended to *us, if given.
  void run(int64_t count, std::vector<int64_t>* us = nullptr);

 private:
  using clock = std::chrono::steady_clock;
  struct stream {
    size_t missing = 0;  // bytes of the answer that is under way
    clock::time_point sent;
  };
  struct connection {
    connection(const std::string& address, size_t n) : plain(address), streams(n) {}
    plain_connection plain;
    std::vector<stream> streams;  // number n has the id 2n + 1
  };

  template <class F>
  int64_t exchange(F&& more, std::vector<int64_t>* us);
  void send(connection& c, size_t number);

  std::string message_;
  std::vector<std::unique_ptr<connection>> connections_;
  int poller_ = -1;
};

}  // namespace bench
