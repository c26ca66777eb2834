// server_context: what a handler knows of its call besides the message.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <warren/context.h>
#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>
#include <warren/grpc/tls.h>

namespace warren {
struct peer_credentials;  // <warren/unix.h>
}

namespace warren::grpc {

class server_call;

// Lives as long as the handler runs; a goroutine that outlives the handler must not keep it (take as_context() along instead).
// cancelled(), done(), as_context(), cause(), deadline(), method(), peer(), tls() and process() may be called by any goroutine, the rest by
// the handler's only.
class server_context {
 public:
  using clock = std::chrono::steady_clock;

  virtual ~server_context() = default;
  server_context(const server_context&) = delete;
  server_context& operator=(const server_context&) = delete;

  // When the caller stops waiting; nothing if it set no limit.
  virtual std::optional<clock::time_point> deadline() const noexcept = 0;

  // True once the call is over for the caller: it cancelled, its deadline passed, its connection is gone, or the server
  // shuts down for good. Whatever the handler does after that is for nothing. Never parks.
  virtual bool cancelled() const noexcept = 0;

  // The call as a context (warren/context.h): over when cancelled() becomes true, and at the latest when the handler returns; with the
  // call's deadline. Children of it carry both to whatever the handler starts: with_timeout(ctx, 200ms), sleep(ctx, 1s). It may be kept
  // longer than the handler runs. The first call makes it; calls that nobody asks cost nothing.
  virtual warren::context as_context() = 0;
  operator warren::context() { return as_context(); }
  // as_context().done(): warren::select(recv(ctx.done(), …), …).
  chan<unit> done() { return as_context().done(); }

  // Why it was cancelled: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, or RESOURCE_EXHAUSTED if its connection made the server hold more
  // than it may; OK while it was not.
  virtual status_code cause() const noexcept = 0;

  // What the caller sent. Reserved keys (grpc-…, content-type, te, pseudo headers) are not in it, except
  // grpc-previous-rpc-attempts and grpc-retry-pushback-ms.
  virtual const detail::metadata_type& metadata() const noexcept = 0;
  std::optional<std::string_view> find(std::string_view key) const noexcept { return metadata().find(key); }

  // Pairs to send before the first message. Return false if the pair is refused (see metadata::add) or the headers have left already.
  virtual bool add_initial_metadata(std::string_view key, std::string_view value) = 0;
  // Sends them now instead of with the first message. false: the headers have left already, or nobody would see them.
  virtual bool send_initial_metadata() = 0;
  // Pairs to send with the status.
  virtual bool add_trailing_metadata(std::string_view key, std::string_view value) = 0;

  // Compresses the messages written from now on. false, and nothing is compressed, if the caller does not say that it takes this
  // encoding, or the headers, which name it, have left already.
  virtual bool compress(encoding how) = 0;
  // Whether the message read last came compressed (of a unary call: the request).
  virtual bool request_compressed() const noexcept = 0;

  // "127.0.0.1:40000", "unix:"
  virtual std::string_view peer() const noexcept = 0;
  // What TLS says of the caller, the certificate it proved to be its own among it; nullptr if the connection is not encrypted.
  virtual const tls_info* tls() const noexcept { return nullptr; }
  // Of a unix socket: the caller's process and user, as the kernel says; else nullptr.
  virtual const peer_credentials* process() const noexcept { return nullptr; }
  // "/helloworld.Greeter/SayHello"
  virtual std::string_view method() const noexcept = 0;
  // What the caller called the server: :authority, else host.
  virtual std::string_view authority() const noexcept = 0;

 protected:
  server_context() = default;
};

}  // namespace warren::grpc
