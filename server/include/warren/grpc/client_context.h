// client_context: what one outgoing call carries besides its messages: until when, for whom, with which metadata.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <warren/context.h>
#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/sync.h>

namespace warren::grpc {

class call_credentials;

namespace detail {
struct client_context_access;
// What a context can ask of the call it was used for. Counted: see client_context_access.
class call_facts {
 public:
  virtual const metadata_type& received_initial() const = 0;
  virtual const metadata_type& received_trailing() const = 0;
  virtual std::string peer_of() const = 0;
  virtual int attempts_of() const = 0;
  virtual void cancel_call() = 0;
  virtual void ref() noexcept = 0;
  virtual void unref() noexcept = 0;

 protected:
  ~call_facts() = default;
};
}  // namespace detail

// For one call at a time; it may be used again after the call has finished, and keeps what was set. Must outlive the call.
//
//   client_context ctx;                        // for nobody in particular
//   client_context ctx(server_ctx);            // inside a handler: ends when the caller's call does, with its deadline
//   client_context ctx(some_context);          // any warren::context: its deadline, its cancellation
//   ctx.timeout(200ms);                        // and no longer than that
//   auto reply = stub.SayHello(ctx, request);
//
// cancel() may be called by any goroutine; the rest by the one that makes the call.
class client_context {
 public:
  using clock = std::chrono::steady_clock;

  client_context() = default;
  // Deadline and cancellation are inherited. A server_context converts to a warren::context.
  explicit client_context(const warren::context& parent) : parent_(parent), has_parent_(!(parent == background())) {}
  ~client_context();
  client_context(const client_context&) = delete;
  client_context& operator=(const client_context&) = delete;

  // The call ends with DEADLINE_EXCEEDED then, unless the parent's deadline or the service config's timeout is earlier. It
  // travels to the server as grpc-timeout.
  void deadline(clock::time_point when) noexcept { deadline_ = when; }
  void timeout(std::chrono::nanoseconds from_now) noexcept {
    const auto now = clock::now();
    deadline_ = from_now >= clock::time_point::max() - now ? clock::time_point::max() : now + from_now;
  }

  // A pair to send with the request. false: refused, see metadata::add.
  bool add_metadata(std::string_view key, std::string_view value) { return metadata_.add(key, value); }
  const detail::metadata_type& metadata() const noexcept { return metadata_; }

  // true: while no connection can be had the call waits (until its deadline) instead of failing with UNAVAILABLE. Unset: as the service
  // config says, else false.
  void wait_for_ready(bool on) noexcept { wait_for_ready_ = on; }
  // Messages sent are compressed so, but for those written with write_options{.compress = false}.
  void compress(encoding how) noexcept { encoding_ = how; }
  // Instead of the channel's.
  void credentials(std::shared_ptr<call_credentials> c) noexcept;

  // Ends the call with CANCELLED; the server learns it (RST_STREAM). Also a call that is made later with this context. Any goroutine.
  void cancel();

  // What the server sent; valid until the next call with this context. Initial metadata: once a message was read, or the call has finished.
  // Trailing metadata: once it has finished. Empty before.
  const detail::metadata_type& initial_metadata() const;
  const detail::metadata_type& trailing_metadata() const;
  // Who answered: "127.0.0.1:50051"; empty while there was no connection.
  std::string peer() const;
  // How often the call was sent: more than once if it was retried or hedged.
  int attempts() const;

 private:
  friend struct detail::client_context_access;

  root_context parent_;
  bool has_parent_ = false;
  bool cancelled_ = false;  // guarded by mutex_
  std::optional<bool> wait_for_ready_;
  encoding encoding_ = encoding::identity;
  clock::time_point deadline_ = clock::time_point::max();
  detail::metadata_type metadata_;
  std::shared_ptr<call_credentials> credentials_;
  mutable mutex mutex_;                 // guards cancelled_ and call_ against cancel()
  detail::call_facts* call_ = nullptr;  // counted
};

}  // namespace warren::grpc
