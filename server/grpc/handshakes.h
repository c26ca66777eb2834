// handshakes: the TLS handshakes of a server that are under way, and what became of the others.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include <warren/stream.h>
#include <warren/tls.h>

#include "runtime/os/mutex.h"
#include "server/grpc/tls_credentials.h"
#include "server/http2/event.h"

namespace warren::grpc {

class handshakes {
 public:
  handshakes(tls_credentials& credentials, const tls_options& options) : credentials_(credentials), options_(options) {}

  // Makes a TLS connection of a new one. Parks until the handshake is over. nullptr: it failed, was too slow, was the oldest of too many,
  // or the client did not choose h2; it has been told why as far as it can be, and everything is closed. info is filled on success.
  std::unique_ptr<warren::stream> run(std::unique_ptr<warren::stream> carrier, tls_info& info);

  // Ends those under way; run() returns nullptr at once from now on. Parks until none is left.
  void stop();

  uint32_t under_way() const noexcept;

  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> failed{0};     // not TLS, no common protocol or suite, a bad certificate or none, gone
  std::atomic<uint64_t> timed_out{0};  // longer than handshake_timeout
  std::atomic<uint64_t> evicted{0};    // the oldest of more than max_handshakes
  std::atomic<uint64_t> not_h2{0};     // ALPN did not choose h2

 private:
  struct entry {
    tls_conn* conn;
    entry* older = nullptr;
    entry* newer = nullptr;
    bool ended = false;  // told to end: counts no more
  };
  bool enter(entry& e);
  void leave(entry& e);
  void end(entry& e);
  void tell_not_h2(tls_conn& c);

  tls_credentials& credentials_;
  const tls_options& options_;
  mutable rt::mutex mutex_;  // guards the following
  entry* oldest_ = nullptr;
  entry* newest_ = nullptr;
  uint32_t count_ = 0;    // not told to end
  uint32_t present_ = 0;  // all
  bool stopping_ = false;
  http2::event none_left_;
};

}  // namespace warren::grpc
