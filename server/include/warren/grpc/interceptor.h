// interceptor: what runs around every handler of a server: authentication, logging, limits of your own.
//
//   struct log_calls final : warren::grpc::interceptor {
//     warren::grpc::status intercept(warren::grpc::server_call& call, const next& proceed) override {
//       const auto begin = std::chrono::steady_clock::now();
//       warren::grpc::status ended = proceed(call);
//       log(call.context().method(), ended, std::chrono::steady_clock::now() - begin);
//       return ended;
//     }
//   };
//   log_calls log;
//   server.intercept(log);      // before start; the first is the outermost
//
// An interceptor sees calls of all four kinds alike. To see or change single messages it passes on a call of its own that stands before the
// one it got: see forwarding_call. To hand something to the handler it passes on a context of its own: see forwarding_context.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include <warren/grpc/call.h>
#include <warren/grpc/context.h>
#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

class interceptor {
 public:
  virtual ~interceptor() = default;

  // The rest of the chain, and the handler at its end.
  class next {
   public:
    // Runs it, on this goroutine, and returns the status the call would end with: the handler's, or what the transport found wrong with a
    // message. What throws on the way has become UNKNOWN. At most once per call. call: the one that intercept() got, or one that stands
    // before it and lives until this returns.
    status operator()(server_call& call) const;
    method_kind kind() const noexcept { return kind_; }

   private:
    friend class intercepted;
    next(std::span<interceptor* const> rest, trampoline run, service& self, method_kind kind) noexcept
        : rest_(rest), run_(run), self_(self), kind_(kind) {}
    std::span<interceptor* const> rest_;
    trampoline run_;
    service& self_;
    method_kind kind_;
  };

  // Called on the handler's goroutine, by many goroutines at once; may park. Returns the status the call ends with: proceed(call)'s, or
  // another, or one of its own without calling proceed (the handler does not run then). If the status is OK the reply is sent; a unary call
  // that ends with OK and without a reply becomes INTERNAL. What is thrown becomes UNKNOWN; its text is not sent.
  //
  // It runs after the transport's own checks: call.context().method() is a method that was added, in its one spelling. Of a call with one
  // request message, that message has come already.
  virtual status intercept(server_call& call, const next& proceed) = 0;
};

// Runs chain and handler: for transports.
class intercepted {
 public:
  static status run(std::span<interceptor* const> chain, trampoline handler, service& self, method_kind kind, server_call& call);
};

// A call that passes everything on to another one; derive from it and override what is to be seen or changed. Messages are the bytes that
// protobuf made, uncompressed.
class forwarding_call : public server_call {
 public:
  explicit forwarding_call(server_call& to) noexcept : to_(to) {}
  ~forwarding_call() override = default;
  server_context& context() noexcept override { return to_.context(); }
  bool next_message(std::span<const char>& bytes) override { return to_.next_message(bytes); }
  void end_message() noexcept override { to_.end_message(); }
  char* begin_message(size_t n) override { return to_.begin_message(n); }
  void end_reply() override { to_.end_reply(); }
  bool end_stream_message(write_options options) override { return to_.end_stream_message(options); }
  void fail(status why) override { to_.fail(std::move(why)); }
  status failure() const override { return to_.failure(); }
  detail::message_slot& request_slot() noexcept override { return to_.request_slot(); }

 protected:
  server_call& to_;
};

// The same for contexts. To give the handler a value, override as_context() with with_value(to_.as_context(), key, value): a handler that
// does not ask for it costs nothing.
class forwarding_context : public server_context {
 public:
  explicit forwarding_context(server_context& to) noexcept : to_(to) {}
  std::optional<clock::time_point> deadline() const noexcept override { return to_.deadline(); }
  bool cancelled() const noexcept override { return to_.cancelled(); }
  warren::context as_context() override { return to_.as_context(); }
  status_code cause() const noexcept override { return to_.cause(); }
  const detail::metadata_type& metadata() const noexcept override { return to_.metadata(); }
  bool add_initial_metadata(std::string_view key, std::string_view value) override { return to_.add_initial_metadata(key, value); }
  bool send_initial_metadata() override { return to_.send_initial_metadata(); }
  bool keep_part(const volatile void* part) override { return to_.keep_part(part); }
  bool add_trailing_metadata(std::string_view key, std::string_view value) override { return to_.add_trailing_metadata(key, value); }
  bool compress(encoding how) override { return to_.compress(how); }
  bool request_compressed() const noexcept override { return to_.request_compressed(); }
  std::string_view peer() const noexcept override { return to_.peer(); }
  std::string_view method() const noexcept override { return to_.method(); }
  std::string_view authority() const noexcept override { return to_.authority(); }
  const tls_info* tls() const noexcept override { return to_.tls(); }
  const peer_credentials* process() const noexcept override { return to_.process(); }

 protected:
  server_context& to_;
};

}  // namespace warren::grpc
