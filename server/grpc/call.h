// call: one RPC on the native transport. HTTP/2 stream below, server_call and server_context above.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <warren/grpc/call.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>

#include "runtime/os/mutex.h"
#include "runtime/sched/timer.h"
#include "server/grpc/admission.h"
#include "server/grpc/answer_fields.h"
#include "server/grpc/call_context.h"
#include "server/grpc/core.h"
#include "server/grpc/inbox.h"
#include "server/grpc/outbox.h"
#include "server/grpc/request_head.h"
#include "server/grpc/wire.h"
#include "server/http2/byte_buffer.h"
#include "server/http2/connection.h"
#include "server/http2/stream.h"

namespace warren::grpc {

// One object serves many calls, one after another, whatever connection they come on. Who may touch what follows from where the call is:
//   receiving     the owner of the connection, everything
//   running       from ready() until kRunEnded was handled: the runner has the fields marked "runner's"; the owner has its own and may
//                 answer over the runner's head (deadline, kill), with nothing of the runner's in the answer
//   after that    the owner, everything
// What both sides use meanwhile says itself how: inbox_, outbox_, context_; failure_ is guarded by mutex_.
class call final : public http2::stream, private http2::alarm, public server_call, public server_context {
 public:
  enum : uint32_t {   // events, beside node::kRunEnded
    kOutput = 1,      // a message of a stream was written
    kExpired = 2,     // the deadline's timer fired
    kConsumed = 4,    // messages of a stream of requests were taken: the window may open
    kHeadersNow = 8,  // the initial metadata is to leave now
  };

  explicit call(core& server);
  ~call();

  // --- http2::stream ---
  void on_header(std::string_view name, std::string_view value) override { head_.on_field(name, value); }
  void on_headers_over_limit() override { head_.on_fields_over_limit(); }
  void on_headers_end(http2::session& s) override;
  void on_data(http2::session& s, std::string_view bytes) override;
  void on_request_end(http2::session& s) override;
  void on_closed(uint32_t error_code) override;
  piece peek_body(http2::session& s, size_t most) override;
  void take_body(char* into, size_t n) override;
  const char* lend_body(size_t n) override;
  void on_events(http2::session& s, uint32_t bits) override;
  void run() noexcept override;
  void on_run_end(http2::session& s) override;
  bool borrows() const noexcept override { return borrowed_.data() != nullptr; }
  void keep_bytes() override;
  void on_kill(http2::session& s, std::string_view why) override;
  bool on_tick(http2::session& s, int64_t now, int64_t patience) override;
  void on_reuse() override;
  bool unused() const noexcept override { return !running_ && !armed_; }

  // --- server_call ---
  server_context& context() noexcept override { return *this; }
  bool next_message(std::span<const char>& bytes) override;
  void end_message() noexcept override;
  char* begin_message(size_t n) override;
  void end_reply() override;
  bool end_stream_message(write_options options) override;
  void fail(status why) override;
  status failure() const override;

  // --- server_context ---
  std::optional<clock::time_point> deadline() const noexcept override { return context_.deadline(); }
  bool cancelled() const noexcept override { return cause() != status_code::ok; }
  warren::context as_context() override { return context_.context(); }
  status_code cause() const noexcept override { return context_.cause(); }
  const detail::metadata_type& metadata() const noexcept override { return head_.metadata(); }
  bool add_initial_metadata(std::string_view key, std::string_view value) override;
  bool send_initial_metadata() override;
  bool add_trailing_metadata(std::string_view key, std::string_view value) override { return trailing_.add(key, value); }
  bool compress(encoding how) override;
  bool request_compressed() const noexcept override { return request_compressed_; }
  bool keep_part(const volatile void* part) override { return request_slot().keep(part); }
  std::string_view peer() const noexcept override { return connection_->peer().address; }
  const tls_info* tls() const noexcept override { return connection_->peer().tls.get(); }
  const peer_credentials* process() const noexcept override {
    const auto& p = connection_->peer().process;
    return p ? &*p : nullptr;
  }
  std::string_view method() const noexcept override { return head_.method() == nullptr ? std::string_view() : head_.method()->path; }
  std::string_view authority() const noexcept override { return head_.authority(); }

 private:
  class request_place_of_method;

  bool check_headers(http2::session& s);
  void begin_deadline(http2::session& s, int64_t timeout);
  void refuse(http2::session& s, const char* http_status, status_code code, std::string_view message);
  void answer_page(http2::session& s);
  void expire(http2::session& s);
  void answer_over_handler(http2::session& s, status_code code, std::string_view message);
  void answer(http2::session& s);
  void trailers_only(http2::session& s, const char* http_status = "200");
  std::span<const nghttp2_nv> headers() { return fields_.headers(head_.proto(), named_encoding_, initial_); }
  std::span<const nghttp2_nv> trailers() { return fields_.trailers(trailing()); }
  const detail::metadata_type& trailing() const noexcept { return over_handler_ ? kNoMetadata : trailing_; }
  const grpc::method& of() const noexcept { return *head_.method(); }  // REQUIRES: the path is known
  void drop_unsent();
  void cancel(status_code why) noexcept;
  void count_once(status_code code) noexcept;
  void disarm();
  void unbuffer() noexcept;
  void receive_page(http2::session& s, std::string_view bytes);
  void receive_single(http2::session& s, std::string_view bytes);
  bool borrow_single(http2::session& s, std::string_view bytes);
  void receive_stream(http2::session& s, std::string_view bytes);
  void begin_run(http2::session& s);
  void report_consumed();
  bool uncompressed(std::span<const char>& bytes);
  void finish_message(bool compress);
  void open_window(http2::session& s);
  size_t window_part() const noexcept;
  bool takes_stream() const noexcept {
    return head_.path_known() && (of().kind == method_kind::client_streaming || of().kind == method_kind::bidi_streaming);
  }
  bool sends_stream() const noexcept {
    return head_.path_known() && (of().kind == method_kind::server_streaming || of().kind == method_kind::bidi_streaming);
  }
  static void timer_fired(void* arg, uintptr_t);
  static const detail::metadata_type kNoMetadata;
  void ring() override { connection_->post(*this, kExpired); }

  core& core_;

  // --- the request. Owner's while receiving, then constant. ---
  request_head head_;
  int64_t begun_ns_ = 0;       // when the request's headers were complete
  int64_t arrived_ns_ = 0;     // when the request was complete
  message_reader request_;     // of methods that take one message
  std::string_view borrowed_;  // the message instead, where the connection has read it; the runner's while running
  bool borrowed_compressed_ = false;
  bool have_message_ = false;
  size_t buffered_ = 0;  // bytes of this call that count in connection_->buffered

  // --- owner's ---
  bool running_ = false;
  bool armed_ = false;         // timer_ may fire, or has and kExpired is on its way
  bool answered_ = false;      // the status has been decided
  bool closed_ = false;        // no stream to answer on
  bool started_ = false;       // counted as started
  bool counted_ = false;       // counted as handled
  bool over_handler_ = false;  // answered while the handler ran
  bool headers_sent_ = false;
  bool final_ = false;       // trailers follow what is in outbox_
  bool page_ = false;        // the answer is a page for humans, without trailers
  size_t page_request_ = 0;  // bytes that came with the request for it
  bool lent_ = false;        // the connection may still be writing from outbox_.buffer()
  answer_fields fields_;
  uint64_t sent_at_tick_ = 0;  // outbox_.sent() when it was last seen to change
  int64_t sent_since_ = 0;     // when that was; 0: not looked at yet
  admission admission_;
  rt::timer timer_;

  // --- runner's while running ---
  status status_;
  detail::metadata_type initial_;
  detail::metadata_type trailing_;
  byte_buffer staging_;        // the message being written; of a unary call: the reply
  bool initial_left_ = false;  // a message was written: the headers have left or are about to
  bool has_reply_ = false;
  encoding reply_encoding_ = encoding::identity;
  encoding named_encoding_ = encoding::identity;  // in the initial metadata
  byte_buffer packed_;                            // the compressed message
  uint64_t messages_sent_ = 0;

  // The reading side's, if another goroutine reads than writes.
  bool reading_ended_ = false;
  bool request_taken_ = false;  // the one request was handed out
  bool request_compressed_ = false;
  byte_buffer inflated_;
  size_t largest_request_ = 0;  // bytes of a message: what a kept message object may hold on to
  uint64_t messages_taken_ = 0;

  // --- both ---
  std::atomic<bool> failed_{false};  // failure_ is set
  call_context context_;
  inbox inbox_;              // of methods that take a stream
  outbox outbox_;            // the reply, or the stream of them
  mutable rt::mutex mutex_;  // guards the following
  status failure_;
};

}  // namespace warren::grpc
