// client_call: one outgoing call as the stubs see it. client_interceptor: code that sees every call of a channel. call_credentials:
// metadata that says who is calling.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <warren/grpc/call.h>
#include <warren/grpc/client_context.h>
#include <warren/grpc/service.h>
#include <warren/grpc/status.h>

namespace warren::grpc {

struct method_info {
  std::string_view path;  // "/helloworld.Greeter/SayHello"; must live as long as the call
  method_kind kind = method_kind::unary;
};

// Used by generated stubs and by interceptors. One goroutine may write while another reads; each of the two on one at a time. Functions
// that return bool say false when the call is over; finish() then has the reason.
class client_call {
 public:
  // Sends the headers now. Otherwise they leave with the first message. Parks while there is no connection.
  virtual bool start() = 0;

  // Place for a message of n bytes; nullptr: it is over the send limit, and the call has failed. Each begin is followed by one end.
  virtual char* begin_message(size_t n) = 0;
  // The message is complete: it is on its way. last: no other will follow. Parks while more than the send buffer's bytes are unsent.
  virtual bool end_message(write_options options, bool last) = 0;
  virtual bool writes_done() = 0;  // no message will follow

  // The bytes of the next message, uncompressed; valid until the next call. Parks until there is one.
  virtual bool next_message(std::span<const char>& bytes) = 0;
  virtual bool message_compressed() const noexcept = 0;  // of the message read last

  // Parks until the server's headers came or the call is over; empty in the second case, or if the server sent none.
  virtual const metadata& initial_metadata() = 0;
  // Parks until the call is over: reads messages that are left and throws them away. The same answer each time.
  virtual status finish() = 0;
  virtual const metadata& trailing_metadata() = 0;  // after finish()

  // Ends the call with this status, which counts also if the server has ended it with OK: what it sent cannot be used. The reading or the
  // writing goroutine.
  virtual void fail(status why) = 0;
  // Ends the call with CANCELLED unless it is over; the server learns it. Any goroutine.
  virtual void cancel() = 0;

  // The last use: cancels the call if it is not over.
  virtual void release() noexcept = 0;

 protected:
  client_call() = default;
  ~client_call() = default;
  client_call(const client_call&) = delete;
  client_call& operator=(const client_call&) = delete;
};

struct release_call {
  void operator()(client_call* c) const noexcept { c->release(); }
};
using call_ptr = std::unique_ptr<client_call, release_call>;

// A call that has failed before it began: what an interceptor returns that refuses one.
call_ptr failed_call(status why);

// Passes everything on to another call: an interceptor derives from it and overrides what it wants to see.
class client_call_wrapper : public client_call {
 public:
  explicit client_call_wrapper(call_ptr inner) : inner_(std::move(inner)) {}
  virtual ~client_call_wrapper() = default;
  bool start() override { return inner_->start(); }
  char* begin_message(size_t n) override { return inner_->begin_message(n); }
  bool end_message(write_options options, bool last) override { return inner_->end_message(options, last); }
  bool writes_done() override { return inner_->writes_done(); }
  bool next_message(std::span<const char>& bytes) override { return inner_->next_message(bytes); }
  bool message_compressed() const noexcept override { return inner_->message_compressed(); }
  const metadata& initial_metadata() override { return inner_->initial_metadata(); }
  status finish() override { return inner_->finish(); }
  const metadata& trailing_metadata() override { return inner_->trailing_metadata(); }
  void fail(status why) override { inner_->fail(std::move(why)); }
  void cancel() override { inner_->cancel(); }
  void release() noexcept override { delete this; }

 protected:
  client_call& inner() const noexcept { return *inner_; }

 private:
  call_ptr inner_;
};

class client_interceptor {
 public:
  // What comes after this interceptor: the next one, and at last the channel itself.
  class next {
   public:
    virtual call_ptr operator()(client_context& ctx, const method_info& method) const = 0;

   protected:
    ~next() = default;
  };

  virtual ~client_interceptor() = default;
  // Called for every call, by the goroutine that makes it, before anything was sent. May add metadata or a deadline to ctx, call go_on (or
  // not: failed_call; or several times), and wrap what it gives. Runs on many goroutines at once.
  virtual call_ptr intercept(client_context& ctx, const method_info& method, const next& go_on) = 0;
};

// Says who is calling, anew for every call.
class call_credentials {
 public:
  virtual ~call_credentials() = default;
  // Adds pairs to out. service_url: "https://host/package.Service", the audience of signed tokens. Not OK: the call fails with that. May
  // park, within the call's own goroutine. Runs on many goroutines at once.
  virtual status add(const warren::context& ctx, std::string_view service_url, std::string_view path, metadata& out) = 0;
  // Secrets do not travel in plain text: on a channel without TLS a call with credentials fails with UNAUTHENTICATED, unless this says
  // true.
  virtual bool plain_text_allowed() const { return false; }
};

// "authorization: Bearer <token>".
std::shared_ptr<call_credentials> bearer_token(std::string_view token, bool plain_text_allowed = false);

}  // namespace warren::grpc
