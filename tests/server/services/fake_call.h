// A call without a transport: calls a handler directly and keeps what it sends.
#pragma once
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <warren/chan.h>
#include <warren/grpc.h>
#include <warren/grpc/protobuf.h>
#include <warren/select.h>

namespace warren::grpc {

// On the stack of the goroutine that makes it, which must outlive the handler.
class fake_context final : public server_context {
 public:
  std::optional<clock::time_point> deadline() const noexcept override { return std::nullopt; }
  bool cancelled() const noexcept override { return static_cast<bool>(over_.ctx.err()); }
  warren::context as_context() override { return over_.ctx; }
  status_code cause() const noexcept override { return cancelled() ? status_code::cancelled : status_code::ok; }
  const detail::metadata_type& metadata() const noexcept override { return metadata_; }
  bool add_initial_metadata(std::string_view, std::string_view) override { return false; }
  bool send_initial_metadata() override { return false; }
  bool add_trailing_metadata(std::string_view, std::string_view) override { return false; }
  bool compress(encoding) override { return false; }
  bool request_compressed() const noexcept override { return false; }
  std::string_view peer() const noexcept override { return "test"; }
  std::string_view method() const noexcept override { return "/test/Test"; }
  std::string_view authority() const noexcept override { return "test"; }

  void cancel() { over_.cancel(); }

 private:
  cancellable<cancel_func> over_ = with_cancel(background());
  detail::metadata_type metadata_;
};

// Hands every message that is written to a channel, parsed. On the stack of a goroutine, as its context.
template <class Reply>
class fake_call final : public server_call {
 public:
  explicit fake_call(fake_context& context) : context_(context) {}
  server_context& context() noexcept override { return context_; }
  bool next_message(std::span<const char>&) override { return false; }
  char* begin_message(size_t n) override {
    bytes_.resize(n);
    return bytes_.data();
  }
  void end_reply() override {}
  bool end_stream_message(write_options) override {
    Reply reply;
    if (!reply.ParseFromString(bytes_)) return false;
    select(send(sent_, std::move(reply)), recv(context_.done()));
    return !context_.cancelled();
  }
  void fail(status) override {}
  status failure() const override { return {}; }

  // The next message the handler writes; parks until it does. The handler waits until it was taken or the call is over.
  Reply next() const { return *sent_.recv(); }

 private:
  fake_context& context_;
  std::string bytes_;
  chan<Reply> sent_ = make_chan<Reply>();
};

}  // namespace warren::grpc
