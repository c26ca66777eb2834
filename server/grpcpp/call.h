// call: one RPC that gRPC C++'s server carries. Its reactor below, server_call and server_context above.
//
// The bridge. gRPC's callback API gives each call a reactor: operations are started from anywhere, and a thread of gRPC's tells when one is
// done. Here a goroutine runs the same trampoline as on the native transport; where the trampoline waits, the goroutine starts the
// operation and parks on an event (rt::event), and the reaction stores whether it went well and sets the event. A reaction does nothing
// else: it runs on a thread that may not block and is not the runtime's. What a reaction cannot do itself (start the goroutine, end a
// context) it leaves at the desk.
//
// Lifetime. References: the goroutine's, until the handler has returned and the status was given to gRPC; gRPC's, until OnDone; the desk's,
// while there is news. The object is malloc's, never collected. gRPC's own context (context_) is gone after OnDone, which may come while
// the handler still runs if it was answered over its head; so whatever is asked of that context is asked before the handler runs, and what
// is told to it is told under mutex_ while finished_ is not set.
//
// Finish. gRPC wants it exactly once, and calls OnDone twice if it is called twice (grpc #26947). Three may want to finish: the handler's
// return, the desk when max_call_time is over, the desk when the server's grace is over. Who sets finished_, under mutex_, does it;
// operations are started under the same lock, so none is started after Finish. The lock is held across calls into gRPC, which do not block;
// a reaction never takes it.
//
// Ends. After a cancellation gRPC completes what is outstanding with false, so a reader or writer needs no waking by us. After Finish over
// the handler's head it does that too: the trailers end the stream both ways. A write that waits for the peer's window would keep those
// trailers waiting: such a call is cancelled in gRPC's core with the same status, which reaches the caller where it still can.
//
// Why a deadline needs no timer: gRPC's core keeps the caller's deadline on this side too and cancels the call. OnCancel does not say why,
// so the time tells.
//
// Rejected. AsyncGenericService with threads on completion queues: about three times the calls per second in published figures, but each of
// its tags has a life of its own (AsyncNotifyWhenDone's never arrives if the call did not start, grpc #10136; requests must be kept
// outstanding, #29836), its threads are ours to start and to stop in the right order, and this transport is for what only gRPC has, not
// for speed. Handlers on gRPC's threads: they would block them.
#pragma once
#include <grpcpp/generic/async_generic_service.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <warren/grpc/call.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>
#include <warren/ptr.h>

#include "netpoll/event.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/timer.h"
#include "server/grpc/admission.h"
#include "server/grpc/method_table.h"
#include "server/grpcpp/calls.h"
#include "server/http2/byte_buffer.h"

namespace warren::grpcpp {

class call final : public ::grpc::ServerGenericBidiReactor, public grpc::server_call, public grpc::server_context {
 public:
  enum : uint32_t {  // news
    kBegun = 1,      // the call is there: its goroutine is to start
    kCancelled = 2,  // its caller has gone, or the deadline has passed
    kExpired = 4,    // max_call_time is over
    kKilled = 8,     // the server's grace is over
  };

  // On gRPC's thread.
  call(calls& of, ::grpc::GenericCallbackServerContext& context, const grpc::method& method);

  void ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  // false: the last reference has gone already.
  bool ref_if_alive() noexcept {
    uint32_t n = references_.load(std::memory_order_relaxed);
    while (n != 0 && !references_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
    }
    return n != 0;
  }
  void unref() noexcept;
  void act(uint32_t bits);  // the desk's goroutine

  // --- reactions: gRPC's threads ---
  void OnSendInitialMetadataDone(bool) override {}
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { unref(); }

  // --- server_call ---
  grpc::server_context& context() noexcept override { return *this; }
  bool next_message(std::span<const char>& bytes) override;
  char* begin_message(size_t n) override;
  void end_reply() override;
  bool end_stream_message(grpc::write_options options) override;
  void fail(grpc::status why) override;
  grpc::status failure() const override;

  // --- server_context ---
  std::optional<clock::time_point> deadline() const noexcept override;
  bool cancelled() const noexcept override { return cause() != grpc::status_code::ok; }
  warren::context as_context() override;
  grpc::status_code cause() const noexcept override;
  const grpc::metadata& metadata() const noexcept override { return metadata_; }
  bool add_initial_metadata(std::string_view key, std::string_view value) override;
  bool send_initial_metadata() override;
  bool add_trailing_metadata(std::string_view key, std::string_view value) override { return trailing_.add(key, value); }
  bool compress(grpc::encoding how) override;
  bool request_compressed() const noexcept override { return request_compressed_; }
  bool keep_part(const volatile void* part) override { return request_slot().keep(part); }
  std::string_view peer() const noexcept override { return peer_; }
  const grpc::tls_info* tls() const noexcept override;
  const peer_credentials* process() const noexcept override { return nullptr; }  // gRPC does not tell
  std::string_view method() const noexcept override { return method_.path; }
  std::string_view authority() const noexcept override { return authority_; }

 private:
  friend class desk;
  friend struct calls;
  using context_cell = cancellable<cancel_func>;
  enum class reading : uint8_t { message, none, late };

  ~call();
  void run() noexcept;
  grpc::status serve();
  grpc::status receive_single();
  grpc::status answer_of_handler();
  void end(grpc::status ended) noexcept;
  void ask_context();
  reading read(int64_t until);
  void learn_why();
  bool open_message(std::span<const char>& bytes);
  ::grpc::ByteBuffer take_staged();
  bool await_write();
  void send_headers_with_next();
  void answer_over_handler(grpc::status_code code, std::string_view why) noexcept;
  bool cancel(grpc::status_code why) noexcept;
  void end_context() noexcept;
  void count_once(grpc::status_code code) noexcept;
  grpc::method_shard& shard() const noexcept;
  bool takes_stream() const noexcept {
    return method_.kind == grpc::method_kind::client_streaming || method_.kind == grpc::method_kind::bidi_streaming;
  }
  bool sends_stream() const noexcept {
    return method_.kind == grpc::method_kind::server_streaming || method_.kind == grpc::method_kind::bidi_streaming;
  }
  static void time_is_over(void* self, uintptr_t);

  calls& of_;
  grpc::core& core_;
  const grpc::method& method_;
  std::atomic<uint32_t> references_{2};  // the goroutine's and gRPC's
  std::atomic<uint32_t> news{0};
  call* next_with_news = nullptr;  // the desk's
  call* before_ = nullptr;         // of_'s
  call* after_ = nullptr;

  // --- asked of gRPC before the handler runs, then constant ---
  grpc::metadata metadata_;
  std::string authority_;
  std::string peer_;
  std::shared_ptr<const ::grpc::AuthContext> identity_;  // with TLS only
  uint32_t accepts_ = 0;                                 // 1 << encoding, as the caller says
  const int64_t begun_ns_;
  int64_t deadline_ns_ = 0;  // 0: none
  int64_t arrived_ns_ = 0;   // when the request was complete
  bool limited_ = false;     // timer_ keeps max_call_time
  rt::timer timer_;

  // --- the reader's: the handler's goroutine, or one that reads while that writes ---
  ::grpc::ByteBuffer incoming_;
  rt::event read_done_;
  bool read_ok_ = false;
  bool reading_ended_ = false;
  bool request_taken_ = false;
  bool request_compressed_ = false;
  grpc::byte_buffer joined_;
  grpc::byte_buffer inflated_;
  uint64_t messages_taken_ = 0;

  // --- the writer's ---
  grpc_slice staged_ = grpc_empty_slice();
  ::grpc::ByteBuffer outgoing_;
  rt::event write_done_;
  bool write_ok_ = true;
  bool has_reply_ = false;
  bool headers_left_ = false;
  grpc::encoding reply_encoding_ = grpc::encoding::identity;
  grpc::metadata initial_;
  grpc::metadata trailing_;
  uint64_t messages_sent_ = 0;
  grpc::admission admission_;

  // --- all of them ---
  std::atomic<bool> failed_{false};  // failure_ is set
  std::atomic<grpc::status_code> cause_{grpc::status_code::ok};
  std::atomic<root<context_cell>*> ended_by_{nullptr};  // made by the first as_context()
  mutable std::atomic<const grpc::tls_info*> tls_{nullptr};
  std::atomic<bool> writing_{false};               // a StartWrite has not been answered: set under mutex_, cleared by the reaction
  mutable rt::mutex mutex_;                        // guards the following
  ::grpc::GenericCallbackServerContext* context_;  // gRPC's; valid while finished_ is not set
  bool finished_ = false;
  bool counted_ = false;
  grpc::status failure_;
};

}  // namespace warren::grpcpp
