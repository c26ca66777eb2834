// tls_credentials: a server's certificate, key and authorities as OpenSSL wants them, made from files and made anew when these change.
#pragma once
#include <asio/ssl/context.hpp>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <warren/grpc/tls.h>

#include "runtime/os/mutex.h"

namespace warren::grpc {

// Thread safety: all functions, by any goroutine.
class tls_credentials {
 public:
  // Reads the files; parks meanwhile (warren::blocking). Throws tls_error.
  explicit tls_credentials(const tls_options& options);

  // What the next handshake uses. A handshake that has begun, and the connection that comes of it, keep what they began with.
  std::shared_ptr<asio::ssl::context> current() const;

  // Reads the files anew. Throws tls_error: then what was in use stays in use. Parks.
  void reload();
  // The same if a file is not what it was at the last attempt. false: nothing has changed.
  bool reload_if_changed();

  uint64_t reloads() const noexcept { return reloads_.load(std::memory_order_relaxed); }
  uint64_t reload_failures() const noexcept { return failures_.load(std::memory_order_relaxed); }
  // When the server's certificate in use expires, in seconds since 1970.
  int64_t expires() const noexcept { return expires_.load(std::memory_order_relaxed); }

 private:
  // What tells one state of a file from the next. Links are followed: a secret that is swapped by renaming a link has changed.
  struct file_state {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified_ns = 0, changed_ns = 0;
    friend bool operator==(const file_state&, const file_state&) = default;
  };
  struct files_state {
    file_state certificate, key, client_ca;
    friend bool operator==(const files_state&, const files_state&) = default;
  };
  struct loaded;

  files_state look() const;
  loaded load() const;
  void take(loaded made);

  const tls_options options_;
  std::atomic<uint64_t> reloads_{0};
  std::atomic<uint64_t> failures_{0};
  std::atomic<int64_t> expires_{0};
  mutable rt::mutex mutex_;  // guards the following
  std::shared_ptr<asio::ssl::context> current_;
  files_state seen_;  // at the last attempt, good or bad
};

// What the connection's handshake has found out. ssl: an SSL*, after the handshake.
tls_info tls_info_of(void* ssl);
// The certificate's part, from the certificate that the client has shown, as another library hands it out; empty if it is none.
tls_info tls_info_of_pem(std::string_view certificate);

}  // namespace warren::grpc
