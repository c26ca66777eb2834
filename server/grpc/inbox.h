// inbox: a stream of requests on its way from the connection to the handler.
//
// Two sides. The owner of the connection puts bytes in as they come and opens the caller's window for what was taken; the reader, the
// handler's goroutine, cuts messages out of them and parks when it has not enough. The cutter is the reader's; what came since the reader
// looked last lies under the lock, and is moved into the cutter whole.
//
// A reader that parks says how many bytes it needs, and is readied once they are there, not for each frame. Who readies it is the owner:
// the reader is parked then, so what is its own may be touched, and the owner puts the bytes before it. It need not take the lock again.
//
// What was cut is credit, and nobody opens a window for it before the reader has reported it, by quarters of the window; a reader waits for
// a quarter at most, too. The sum of what keeps the caller's window from being fully open while a reader waits is then below three quarters
// of it: a quarter unreported, and a half that nghttp2 holds back to save frames. So the caller can always send what the reader waits for.
//
// After abort() the reader gets nothing more. It is said under the lock that the reader parks by: a reader that has looked before is parked
// and readied, one that looks later sees it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "server/grpc/limits.h"
#include "server/grpc/wire.h"
#include "server/http2/byte_buffer.h"

namespace warren::grpc {

class inbox {
 public:
  // --- owner's ---
  // How many messages end within the bytes, which come next.
  size_t follow(std::string_view bytes) noexcept { return follower_.feed(bytes); }
  void put(std::string_view bytes);
  // The caller has sent its last.
  void end();
  // The call is over, and nobody shall wait for what it still had to come.
  void abort();
  // Bytes reported since the last time.
  size_t take_reported();

  // --- reader's ---
  enum class news : uint8_t {
    more,
    over,     // nothing more will come
    cut_off,  // likewise, and the last message has only begun
  };
  // Of what it has: see message_cutter.
  message_cutter::outcome next(std::span<const char>& message) { return cutter_.next(message); }
  const message_cutter& cut() const noexcept { return cutter_; }
  // After need_more: parks until there is enough to go on, or a quarter of the window.
  news wait(size_t quarter);
  // Has it taken so much that it should report()?
  bool due(size_t quarter) const noexcept { return cutter_.credit() >= quarter; }
  // What it has taken may come anew.
  void report();

  // Nobody uses it. limit: of a message.
  void reset(size_t limit) noexcept {
    follower_.reset();
    cutter_.reset(limit, kKeptBytes);
    fed_ = ended_ = false;
    aborted_.store(false, std::memory_order_relaxed);
    bytes_.reset(kKeptBytes);
    needs_ = reported_ = 0;
  }

 private:
  message_follower follower_;  // owner's
  message_cutter cutter_;      // reader's; the owner's for a moment, while the reader is parked
  bool fed_ = false;           // likewise: what the reader waited for is in cutter_ already

  std::atomic<bool> aborted_{false};  // set under mutex_; who was fed reads it without
  rt::mutex mutex_;                   // guards the following
  byte_buffer bytes_;                 // came, and not yet taken by the reader
  bool ended_ = false;                // the caller has sent its last
  size_t needs_ = 0;                  // so many bytes make the reader go on
  rt::g* reader_ = nullptr;           // parked
  size_t reported_ = 0;               // taken by the reader, and the window not yet opened for it
};

}  // namespace warren::grpc
