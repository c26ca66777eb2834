// A reader that has no stack while it waits, over any stream.
#pragma once
#include <atomic>
#include <string>

#include "net_test.h"
#include "warren/stream.h"

namespace warren::net_test {

class stackless_reader {
 public:
  explicit stackless_reader(stream& from) : from_(from) {}
  ~stackless_reader() { wait_for_end(); }
  stackless_reader(const stackless_reader&) = delete;
  stackless_reader& operator=(const stackless_reader&) = delete;

  // The first goroutine; returns when it has ended, and so either waits without a stack or is over.
  void begin() {
    task first([this] { read_on(this); });
  }
  // Until the end of the stream, or an error of it.
  void wait_for_end() {
    while (!over_.load(std::memory_order_acquire)) yield();
  }
  void wait_for_bytes(size_t n) {
    while (bytes_.load(std::memory_order_acquire) < n) yield();
  }
  int goroutines() const { return goroutines_.load(std::memory_order_acquire); }

  // After the end.
  const std::string& text() const { return text_; }
  error_code error() const { return error_; }

 private:
  static void read_on(void* self) { static_cast<stackless_reader*>(self)->run(); }

  void run() {
    goroutines_.fetch_add(1, std::memory_order_acq_rel);
    char b[256];
    for (;;) {
      error_code ec;
      if (from_.go_when_readable(&read_on, this, ec)) return;
      if (!ec) {
        const size_t n = from_.try_read_some(asio::buffer(b), ec);
        if (ec == asio::error::would_block) continue;
        text_.append(b, n);
        bytes_.fetch_add(n, std::memory_order_acq_rel);
      }
      if (ec) {
        error_ = ec;
        over_.store(true, std::memory_order_release);
        return;
      }
    }
  }

  stream& from_;
  std::string text_;
  error_code error_;
  std::atomic<size_t> bytes_{0};
  std::atomic<int> goroutines_{0};
  std::atomic<bool> over_{false};
};

}  // namespace warren::net_test
