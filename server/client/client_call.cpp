// Calls that are none, credentials, and the statuses that stubs give by themselves.
#include <warren/grpc/client.h>
#include <warren/grpc/client_call.h>

namespace warren::grpc {

namespace {

class call_that_failed final : public client_call {
 public:
  explicit call_that_failed(status s) : status_(std::move(s)) {}
  bool start() override { return false; }
  char* begin_message(size_t) override { return nullptr; }
  bool end_message(write_options, bool) override { return false; }
  bool writes_done() override { return false; }
  bool next_message(std::span<const char>&) override { return false; }
  bool message_compressed() const noexcept override { return false; }
  const metadata& initial_metadata() override { return none_; }
  status finish() override { return status_; }
  const metadata& trailing_metadata() override { return none_; }
  void fail(status) override {}
  void cancel() override {}
  void release() noexcept override { delete this; }

 private:
  const status status_;
  const metadata none_;
};

class bearer final : public call_credentials {
 public:
  bearer(std::string_view token, bool plain) : value_(std::string("Bearer ").append(token)), plain_(plain) {}
  status add(const warren::context&, std::string_view, std::string_view, metadata& out) override {
    if (out.add("authorization", value_)) return {};
    return unauthenticated("the bearer token has characters that no header may have; take it without the line's end");
  }
  bool plain_text_allowed() const override { return plain_; }

 private:
  const std::string value_;
  const bool plain_;
};

}  // namespace

call_ptr failed_call(status why) {
  if (why.ok()) why = internal("a call was refused with OK; refuse it with another status");
  return call_ptr(new call_that_failed(std::move(why)));
}

std::shared_ptr<call_credentials> bearer_token(std::string_view token, bool plain_text_allowed) {
  return std::make_shared<bearer>(token, plain_text_allowed);
}

namespace detail {

status reply_unparsable(size_t bytes) {
  return internal("the reply (" + std::to_string(bytes) + " bytes) is not a message of the method's type");
}

// gRPC's statuscodes.md: a call with a single reply that brings another number of them is UNIMPLEMENTED.
status no_reply() { return unimplemented("the server said OK and sent no reply; the method returns exactly one"); }
status second_reply() { return unimplemented("the server sent more than one reply; the method returns exactly one"); }

}  // namespace detail

}  // namespace warren::grpc
