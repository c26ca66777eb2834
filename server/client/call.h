// call: one RPC of a client. Above it client_call and client_context; below it one stream for each attempt.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <warren/context.h>
#include <warren/grpc/client_call.h>
#include <warren/grpc/client_context.h>
#include <warren/ptr.h>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"
#include "server/client/attempt_plan.h"
#include "server/client/connection.h"
#include "server/client/kept_output.h"
#include "server/client/response.h"
#include "server/client/service_config.h"
#include "server/client/stream.h"
#include "server/client/throttle.h"
#include "server/grpc/wire.h"
#include "server/http2/byte_buffer.h"

namespace warren::grpc::client {

class call;

// What a call needs of its channel.
class call_host {
 public:
  enum class picked : uint8_t { connection, wait, failed };
  // A connection for c, or why there is none (yet). wait: c.look_again() is called when that may have changed, until leave(c).
  virtual picked pick(call& c, bool wait_for_ready, std::shared_ptr<connection>& via, status& why) = 0;
  virtual void leave(call& c) noexcept = 0;

  struct settings {
    std::string scheme;
    std::string authority;
    std::string user_agent;
    size_t max_receive_message;
    size_t max_send_message;
    size_t send_buffer;
    size_t retry_buffer;
    uint32_t stream_window;
    bool retries;
  };
  struct counts {
    std::atomic<uint64_t> calls{0};
    std::atomic<uint64_t> attempts{0};
    std::atomic<uint64_t> transparent{0};
    std::atomic<uint64_t> retries{0};
    std::atomic<uint64_t> hedges{0};
    std::atomic<uint64_t> throttled{0};
  };
  settings call_settings;
  counts call_counts;
  throttle retry_throttle;

 protected:
  ~call_host() = default;
};

class call final : public client_call, public grpc::detail::call_facts {
 public:
  // Counted: the caller has one reference, which release() gives back.
  call(std::shared_ptr<call_host> host, const method_info& method, const method_config* config, const warren::context& parent,
       int64_t deadline_ns, bool wait_for_ready, encoding how, metadata sent);

  // --- client_call ---
  bool start() override;
  char* begin_message(size_t n) override;
  bool end_message(write_options options, bool last) override;
  bool writes_done() override;
  bool next_message(std::span<const char>& bytes) override;
  bool message_compressed() const noexcept override { return compressed_; }
  const metadata& initial_metadata() override;
  status finish() override;
  const metadata& trailing_metadata() override { return received_trailing(); }
  void fail(status why) override;
  void cancel() override;
  void release() noexcept override;

  // --- call_facts ---
  const metadata& received_initial() const override;
  const metadata& received_trailing() const override;
  std::string peer_of() const override;
  int attempts_of() const override;
  void cancel_call() override { cancel(); }
  void ref() noexcept override { references_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept override;

  // The channel has changed: a call that waits for a connection asks again. Any thread.
  void look_again() noexcept;

  // Of the channel's list of calls that wait; guarded by the channel's lock.
  call* waiting_next = nullptr;
  call* waiting_prev = nullptr;
  bool waiting = false;

 private:
  class attempt;
  class hold;
  struct sleeper;
  friend class hold;

  ~call();
  void watch(const warren::context& parent);
  static void timer_fired(void* arg, uintptr_t);

  bool over_now(hold& h);
  bool must_drive() const noexcept;
  void drive(hold& h);
  void park(hold& h, sleeper& s, int64_t until);
  attempt& fresh_attempt();
  void commit(hold& h, attempt& a);
  void conclude(hold& h, status s, bool local);
  void attempt_over(hold& h, attempt& a, ending how, status s);
  bool may_go_on(hold& h, attempt& a, const status& s);
  size_t unsent() const noexcept;
  void drop_sent();
  void send_again(hold& h);
  bool take_inbox();
  void report_consumed();
  bool uncompressed(std::span<const char>& bytes);
  size_t window_part() const noexcept;
  bool one_reply() const noexcept { return method_.kind == method_kind::unary || method_.kind == method_kind::client_streaming; }

  // Constant after construction.
  const std::shared_ptr<call_host> host_;
  const method_info method_;
  const int64_t deadline_ns_;  // 0: none
  const bool wait_for_ready_;
  const encoding encoding_;
  const metadata sent_metadata_;
  size_t max_send_;
  size_t max_receive_;

  std::atomic<int> references_{1};
  rt::timer timer_;
  bool timer_armed_ = false;
  root<context_hook> hook_;  // of the parent's end; holds a reference to this call

  // A goroutine that waits, and a word that it need not.
  struct sleeper {
    rt::g* gp = nullptr;
    bool notified = false;
  };

  mutable rt::mutex mutex_;  // guards the following
  sleeper reader_;
  sleeper writer_;
  sleeper driver_;
  size_t reader_needs_ = 0;  // so many bytes make the reader go on
  bool expired_ = false;     // the timer fired; whoever looks next makes a status of it
  bool finished_ = false;
  bool local_ = false;  // ended by this side: what came and was not read is dropped
  status status_;
  bool writes_done_ = false;
  kept_output out_;
  std::vector<attempt*> live_;
  attempt* committed_ = nullptr;
  attempt* answered_ = nullptr;  // whose metadata is the call's
  attempt_plan plan_;
  bool driving_ = false;   // a goroutine waits for the planned attempt's moment, or for a connection
  bool keep_ = true;       // the output fits into the retry buffer
  int promises_ = 0;       // attempts that have announced bytes in a frame header and not yet copied them
  std::string waits_for_;  // why there is no connection yet
  int sent_attempts_ = 0;
  std::unique_ptr<attempt> first_;
  std::vector<std::unique_ptr<attempt>> more_;

  // The writing goroutine's.
  byte_buffer staging_;
  byte_buffer packed_;

  // The reading goroutine's.
  message_cutter cutter_;
  byte_buffer inflated_;
  bool reading_ended_ = false;
  bool compressed_ = false;
};

}  // namespace warren::grpc::client
