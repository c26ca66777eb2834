// A call and its attempts.
//
// Usually a call is one stream. It is more when a server has not looked at it (it is sent again, transparently), when the service config
// has a retry policy, or a hedging policy, which sends a second before the first has answered (gRPC A6). All of them send the same bytes,
// so the output belongs to the call: one buffer of framed messages, in which each attempt has a position. It is kept whole until the call
// is COMMITTED to one attempt: because that one's headers came, because the output has outgrown the retry buffer, or because nothing will
// be sent again. From then on what the committed attempt has sent is dropped; the others are reset, and nothing they say counts.
//
// Who does what. Answers come from the owners of connections, which must not wait. They decide (under the call's lock): commit, finish,
// or plan another attempt for a moment. The waiting is done by the caller's goroutines, which wait anyway: whoever is about to park
// in read, write or finish first looks whether an attempt is planned and nobody drives it; then it DRIVES: waits for the moment, for a
// connection, and begins the stream. So a call needs no goroutine of its own. A caller who does not wait for anything does not
// move retries on either; the next thing it does will.
//
// Three places to sleep: the reader's, the writer's (a full send buffer), the driver's. A sleeper that is notified while nobody sleeps in
// it keeps the notice, so nothing is lost between looking and parking; who wakes looks at everything again.
//
// The end. The first to finish the call counts: a status from the server, the parent context, cancel, the deadline, a message that cannot
// be read. The deadline's timer fires on a scheduler's stack, where no connection can be owned: it sets expired_ and wakes the sleepers;
// the first that looks makes it the status and resets the streams. A caller who looks at nothing meanwhile tells the server late, which has
// the same deadline itself.
//
// Locks. mutex_ is held for moments and never while a connection is owned by the same goroutine through it: what is to be posted and whom
// to ready is noted in `hold` and done after unlocking. The owner of a connection takes mutex_ in its callbacks. The channel takes it in
// look_again(), under its own lock; so the channel is never asked under mutex_.
//
// Lifetime. Counted: the caller (until release), the context it was made with, the hook on its parent context, and each attempt that a
// connection knows or has queued (stream::pin). The timer is stopped by release().
//
// Rejected: a goroutine per call to wait for deadlines and retries (a stack and two switches more for each call, for the few that need it);
// a copy of the messages per attempt; retries in the stub templates (streams could not be retried, and every message type would bring
// its own copy of the code).
#include "server/client/call.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

#include "runtime/os/clock.h"
#include "server/client/backoff.h"
#include "server/client/limits.h"
#include "server/grpc/compression.h"
#include "server/grpc/header_block.h"
#include "server/grpc/timeout.h"

namespace warren::grpc::client {

namespace {

const metadata kNoMetadata;

}  // namespace

// One stream. The owner's callbacks; what the caller's goroutines see of it is guarded by the call's mutex_.
class call::attempt final : public stream {
 public:
  attempt(call& c, int n) : of_(c), number_(n) {}

  // --- stream ---
  std::span<const nghttp2_nv> request_headers() override;
  piece peek_body(size_t most) override;
  void take_body(char* into, size_t n) override;
  void on_header(std::string_view name, std::string_view value) override {
    if (!decided_) head.on_header(name, value);
  }
  void on_headers_over_limit() override { head.on_headers_over_limit(); }
  void on_headers_end(session& s, bool end_stream) override;
  void on_data(session& s, std::string_view bytes) override;
  void on_data_end(session& s) override;
  void on_closed(ending how, uint32_t error_code, std::string_view why) override;
  size_t take_consumed() override {
    std::lock_guard hold(of_.mutex_);
    return std::exchange(consumed, 0);
  }
  void pin() noexcept override { of_.ref(); }
  void unpin() noexcept override { of_.unref(); }

  response head;                    // the owner's until headers_in or over; then constant
  std::shared_ptr<connection> via;  // set before kStart

  // Guarded by the call's mutex_.
  uint64_t sent = 0;       // of the call's output
  size_t promised = 0;     // bytes that a DATA frame header has announced
  byte_buffer inbox;       // came and was not taken
  uint64_t received = 0;   // of the body
  bool refusable = false;  // of a single reply: its prefix cannot be accepted
  size_t consumed = 0;     // taken, and the window not yet opened for it
  bool headers_in = false;
  bool over = false;

 private:
  void decide(ending how, status s);

  call& of_;
  const int number_;
  bool decided_ = false;  // the owner's: nothing that comes matters any more
  header_block block_;
};

// The call's lock, and what is to be done after it was let go.
class call::hold {
 public:
  explicit hold(call& c) : c_(c) { lock(); }
  ~hold() {
    if (locked_) unlock();
  }
  hold(const hold&) = delete;
  hold& operator=(const hold&) = delete;

  void lock() noexcept {
    c_.mutex_.lock();
    locked_ = true;
  }
  void unlock() {
    locked_ = false;
    const int n = std::exchange(woken_, 0);
    rt::g* wake[3];
    std::copy(wake_, wake_ + n, wake);
    std::vector<post> posts = std::exchange(posts_, {});
    c_.mutex_.unlock();
    for (int i = 0; i < n; i++) rt::goready(wake[i]);
    for (const post& p : posts) p.via->post(*p.to, p.bits);
  }
  // Does what is to be done, and goes on with the lock.
  void settle() {
    if (woken_ == 0 && posts_.empty()) return;
    unlock();
    lock();
  }
  void wake(sleeper& s) noexcept {
    s.notified = true;
    if (s.gp != nullptr) wake_[woken_++] = std::exchange(s.gp, nullptr);
  }
  void wake_all() noexcept {
    wake(c_.reader_);
    wake(c_.writer_);
    wake(c_.driver_);
  }
  // The attempt stays: the call is kept by whoever holds this.
  void tell(attempt& a, uint32_t bits) {
    if (a.via != nullptr) posts_.push_back({a.via, &a, bits});
  }

 private:
  struct post {
    std::shared_ptr<connection> via;
    attempt* to;
    uint32_t bits;
  };
  call& c_;
  bool locked_ = false;
  int woken_ = 0;
  rt::g* wake_[3];
  std::vector<post> posts_;
};

// --- beginning and end of the object -----------------------------------------------------------------------------------------------------

call::call(std::shared_ptr<call_host> host, const method_info& method, const method_config* config, const warren::context& parent,
           int64_t deadline_ns, bool wait_for_ready, encoding how, metadata sent)
    : host_(std::move(host)),
      method_(method),
      deadline_ns_(deadline_ns),
      wait_for_ready_(wait_for_ready),
      encoding_(how),
      sent_metadata_(std::move(sent)),
      max_send_(host_->call_settings.max_send_message),
      max_receive_(host_->call_settings.max_receive_message),
      plan_(host_->retry_throttle) {
  if (config != nullptr) {
    if (host_->call_settings.retries) plan_.set_policy(config->retry, config->hedging);
    if (config->max_request) max_send_ = std::min<size_t>(max_send_, *config->max_request);
    if (config->max_response) max_receive_ = std::min<size_t>(max_receive_, *config->max_response);
  }
  cutter_.reset(max_receive_, 0);
  host_->call_counts.calls.fetch_add(1, std::memory_order_relaxed);
  timer_.fn = &call::timer_fired;
  timer_.arg = this;
  if (deadline_ns_ != 0) {
    if (deadline_ns_ <= rt::nanotime()) {
      expired_ = true;
    } else {
      timer_.when = deadline_ns_;
      timer_armed_ = true;
      rt::timer_start(&timer_);
    }
  }
  watch(parent);
}

call::~call() = default;

void call::unref() noexcept {
  // Release: our accesses come before the deletion; acquire: the deleter sees those of all others.
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void call::watch(const warren::context& parent) {
  if (parent == background()) return;
  const auto ended = [this, parent] {
    const bool late = parent.err() == context_errc::deadline_exceeded;
    hold h(*this);
    conclude(h, late ? deadline_exceeded("the deadline of the call's context passed") : cancelled("the call's context was cancelled"),
             true);
  };
  if (parent.err()) {
    ended();
    return;
  }
  ref();
  hook_ = root<context_hook>(make<context_hook>(after_func(parent, [this, ended] {
    ended();
    unref();
  })));
}

void call::release() noexcept {
  {
    hold h(*this);
    conclude(h, cancelled("the caller let go of the call"), true);
  }
  if (timer_armed_) rt::timer_stop_sync(&timer_);
  if (hook_) {
    if (hook_->stop()) unref();
    hook_ = nullptr;
  }
  unref();
}

// On a scheduler stack.
void call::timer_fired(void* arg, uintptr_t) {
  auto* c = static_cast<call*>(arg);
  rt::g* wake[3];
  int n = 0;
  {
    std::lock_guard lock(c->mutex_);
    c->expired_ = true;
    for (sleeper* s : {&c->reader_, &c->writer_, &c->driver_}) {
      s->notified = true;
      if (s->gp != nullptr) wake[n++] = std::exchange(s->gp, nullptr);
    }
  }
  for (int i = 0; i < n; i++) rt::goready(wake[i]);
}

// --- the state, under the lock -----------------------------------------------------------------------------------------------------------

// Is the call over? The deadline counts from the moment somebody looks.
bool call::over_now(hold& h) {
  if (expired_ && !finished_) {
    std::string why = "the deadline passed";
    if (!waits_for_.empty()) {
      why += " while the call waited for a connection: " + waits_for_;
    } else if (sent_attempts_ == 0) {
      why += " before the call was sent";
    }
    conclude(h, deadline_exceeded(std::move(why)), true);
  }
  return finished_;
}

void call::conclude(hold& h, status s, bool local) {
  if (finished_) return;
  finished_ = true;
  local_ = local;
  if (s.ok()) host_->retry_throttle.succeeded();
  status_ = std::move(s);
  plan_.drop();
  for (attempt* a : live_) h.tell(*a, stream::kReset);
  h.wake_all();
}

void call::commit(hold& h, attempt& a) {
  committed_ = answered_ = &a;
  plan_.drop();
  for (attempt* other : live_) {
    if (other != &a) h.tell(*other, stream::kReset);
  }
  drop_sent();
  h.wake(driver_);
}

size_t call::unsent() const noexcept {
  uint64_t sent = out_.begin();
  for (const attempt* a : live_) sent = std::max(sent, a->sent);
  if (committed_ != nullptr) sent = std::max(out_.begin(), committed_->sent);
  return out_.end() - sent;
}

// What the committed attempt has sent nobody needs any more, unless another one is in the middle of a frame.
void call::drop_sent() {
  if (committed_ == nullptr || promises_ > (committed_->promised != 0 ? 1 : 0)) return;
  out_.drop_to(committed_->sent);
}

void call::send_again(hold& h) {
  host_->call_counts.transparent.fetch_add(1, std::memory_order_relaxed);
  plan_.again();
  h.wake_all();
}

// An attempt has ended, with s if nobody knows better.
void call::attempt_over(hold& h, attempt& a, ending how, status s) {
  a.over = true;
  live_.erase(std::remove(live_.begin(), live_.end(), &a), live_.end());
  if (finished_ || expired_) {
    h.wake_all();
    return;
  }
  if (how == ending::reset && s.code() == status_code::cancelled && deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_) {
    s = deadline_exceeded("the deadline passed; the server was faster to say so");
  }
  if (how == ending::never_sent && out_.begin() == 0) {
    if (committed_ == &a) committed_ = answered_ = nullptr;
    if (committed_ == nullptr) send_again(h);
    return;
  }
  if (committed_ == &a) {
    conclude(h, std::move(s), false);
    return;
  }
  if (committed_ != nullptr) return;
  if (how == ending::refused && plan_.refused() && out_.begin() == 0) {
    send_again(h);
    return;
  }
  if (may_go_on(h, a, s)) return;
  committed_ = answered_ = &a;
  conclude(h, std::move(s), false);
}

// By policy. true: another attempt is planned or under way.
bool call::may_go_on(hold& h, attempt& a, const status& s) {
  if (s.ok()) return false;
  const attempt_plan::outcome o = plan_.failed(s.code(), a.head.pushback_ms(), keep_, rt::nanotime(), scatter(this));
  if (o.throttled) host_->call_counts.throttled.fetch_add(1, std::memory_order_relaxed);
  if (!o.tolerated) return false;
  if (!plan_.planned()) return !live_.empty();
  h.wake_all();
  return true;
}

// --- waiting -----------------------------------------------------------------------------------------------------------------------------

bool call::must_drive() const noexcept { return plan_.planned() && !driving_ && !finished_ && committed_ == nullptr; }

// Sleeps in s until it is notified, but not beyond until (0: no limit). Returns with the lock; may return for nothing.
void call::park(hold& h, sleeper& s, int64_t until) {
  struct alarm {
    call* of;
    sleeper* who;
  } context{this, &s};
  rt::timer t;
  if (until != 0) {
    // Armed without the lock: arming is a runtime entry. It may fire at once.
    h.unlock();
    t.fn = [](void* arg, uintptr_t) {
      auto* const a = static_cast<alarm*>(arg);
      rt::g* gp;
      {
        std::lock_guard lock(a->of->mutex_);
        a->who->notified = true;
        gp = std::exchange(a->who->gp, nullptr);
      }
      if (gp != nullptr) rt::goready(gp);
    };
    t.arg = &context;
    t.when = until;
    rt::timer_start(&t);
    h.lock();
  } else {
    h.settle();
  }
  if (!s.notified) {
    s.gp = rt::getg();
    rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::chan_receive);
    mutex_.lock();
  }
  s.notified = false;
  if (until != 0) {
    h.unlock();
    rt::timer_stop_sync(&t);
    h.lock();
  }
}

void call::look_again() noexcept {
  rt::g* gp;
  {
    std::lock_guard lock(mutex_);
    driver_.notified = true;
    gp = std::exchange(driver_.gp, nullptr);
  }
  if (gp != nullptr) rt::goready(gp);
}

// Brings the planned attempt on its way: one step. Whoever called looks at everything again. REQUIRES: must_drive().
void call::drive(hold& h) {
  driving_ = true;
  if (plan_.due() > rt::nanotime()) {
    park(h, driver_, plan_.due());
    driving_ = false;
    h.wake(reader_);
    h.wake(writer_);
    return;
  }
  const bool transparent = plan_.take();
  h.unlock();
  std::shared_ptr<connection> via;
  status why;
  call_host::picked p;
  bool waited = false;
  while ((p = host_->pick(*this, wait_for_ready_, via, why)) == call_host::picked::wait) {
    waited = true;
    h.lock();
    waits_for_ = why.message();
    if (!over_now(h) && committed_ == nullptr) park(h, driver_, 0);
    const bool stop = over_now(h) || committed_ != nullptr;
    h.unlock();
    if (stop) break;
  }
  if (waited) host_->leave(*this);
  h.lock();
  driving_ = false;
  h.wake(reader_);  // they found somebody driving
  h.wake(writer_);
  if (over_now(h) || committed_ != nullptr) return;
  if (p == call_host::picked::failed) {
    if (live_.empty()) conclude(h, std::move(why), true);
    return;
  }
  waits_for_.clear();
  switch (plan_.begun(transparent)) {
    case attempt_plan::kind::first:
    case attempt_plan::kind::transparent: break;
    case attempt_plan::kind::retry: host_->call_counts.retries.fetch_add(1, std::memory_order_relaxed); break;
    case attempt_plan::kind::hedge: host_->call_counts.hedges.fetch_add(1, std::memory_order_relaxed); break;
  }
  host_->call_counts.attempts.fetch_add(1, std::memory_order_relaxed);
  sent_attempts_++;
  attempt& a = fresh_attempt();
  a.via = std::move(via);
  live_.push_back(&a);
  if (!keep_) {
    commit(h, a);
  } else if (plan_.hedges()) {
    plan_.hedge(rt::nanotime());
  }
  h.tell(a, stream::kStart);
  h.settle();
}

call::attempt& call::fresh_attempt() {
  auto a = std::make_unique<attempt>(*this, plan_.previous());
  attempt& made = *a;
  if (first_ == nullptr) {
    first_ = std::move(a);
  } else {
    more_.push_back(std::move(a));
  }
  return made;
}

// --- writing -----------------------------------------------------------------------------------------------------------------------------

bool call::start() {
  hold h(*this);
  while (!over_now(h) && live_.empty() && must_drive()) drive(h);
  return !finished_;
}

char* call::begin_message(size_t n) {
  if (n > max_send_ || n > UINT32_MAX - kPrefixSize) {
    fail(resource_exhausted("the request message (" + std::to_string(n) + " bytes) is over the client's limit of " +
                            std::to_string(max_send_) + "; send less, or raise max_send_message"));
    return nullptr;
  }
  staging_.clear();
  char* const at = staging_.grow(kPrefixSize + n);
  write_prefix(at, static_cast<uint32_t>(n));
  return at + kPrefixSize;
}

bool call::end_message(write_options options, bool last) {
  byte_buffer* framed = &staging_;
  if (options.compress && encoding_ != encoding::identity) {
    packed_.clear();
    packed_.grow(kPrefixSize);
    deflate(encoding_, {staging_.data() + kPrefixSize, staging_.size() - kPrefixSize}, packed_);
    write_prefix(packed_.data(), static_cast<uint32_t>(packed_.size() - kPrefixSize), true);
    framed = &packed_;
  }
  hold h(*this);
  if (over_now(h) || writes_done_) return false;
  out_.add(*framed);
  writes_done_ = last;
  if (keep_ && out_.end() - out_.begin() > host_->call_settings.retry_buffer) {
    keep_ = false;
    if (committed_ == nullptr && !live_.empty()) {
      commit(h, **std::max_element(live_.begin(), live_.end(), [](attempt* a, attempt* b) { return a->sent < b->sent; }));
    }
  }
  for (attempt* a : live_) h.tell(*a, stream::kOutput);
  for (;;) {
    if (over_now(h)) return false;
    const bool enough = last || unsent() <= host_->call_settings.send_buffer;
    if (must_drive() && (live_.empty() || !enough)) {
      drive(h);
    } else if (enough) {
      return true;
    } else {
      park(h, writer_, 0);
    }
  }
}

bool call::writes_done() {
  hold h(*this);
  if (over_now(h)) return false;
  if (!std::exchange(writes_done_, true)) {
    for (attempt* a : live_) h.tell(*a, stream::kOutput);
  }
  return true;
}

std::span<const nghttp2_nv> call::attempt::request_headers() {
  const call_host::settings& set = of_.host_->call_settings;
  block_.begin();
  block_.add(":method", "POST");
  block_.add(":scheme", set.scheme);
  block_.add(":path", of_.method_.path);
  block_.add(":authority", set.authority);
  block_.add("te", "trailers");
  if (of_.deadline_ns_ != 0) block_.add_text("grpc-timeout", format_timeout(of_.deadline_ns_ - rt::nanotime()));
  block_.add("content-type", "application/grpc");
  block_.add("user-agent", set.user_agent);
  if (of_.encoding_ != encoding::identity) block_.add("grpc-encoding", to_string(of_.encoding_));
  block_.add("grpc-accept-encoding", kAcceptEncoding);
  if (number_ > 0) block_.add_text("grpc-previous-rpc-attempts", std::to_string(number_));
  block_.add(of_.sent_metadata_);
  return block_.fields();
}

stream::piece call::attempt::peek_body(size_t most) {
  std::lock_guard lock(of_.mutex_);
  if (of_.committed_ != nullptr && of_.committed_ != this) return {0, false};  // about to be reset
  const size_t left = of_.out_.end() - sent;
  if (promised == 0 && left != 0) of_.promises_++;
  promised = std::min(left, most);
  return {promised, of_.writes_done_ && promised == left};
}

void call::attempt::take_body(char* into, size_t n) {
  rt::g* writer = nullptr;
  {
    std::lock_guard lock(of_.mutex_);
    of_.out_.copy(sent, into, n);
    sent += n;
    promised -= n;
    if (promised == 0) of_.promises_--;
    of_.drop_sent();
    if (of_.unsent() <= of_.host_->call_settings.send_buffer / kWakeDivisor) {
      of_.writer_.notified = true;
      writer = std::exchange(of_.writer_.gp, nullptr);
    }
  }
  if (writer != nullptr) rt::goready(writer);
}

// --- the answer --------------------------------------------------------------------------------------------------------------------------

void call::attempt::decide(ending how, status s) {
  decided_ = true;
  hold h(of_);
  of_.attempt_over(h, *this, how, std::move(s));
}

void call::attempt::on_headers_end(session& s, bool end_stream) {
  if (decided_) return;
  switch (head.end_block(end_stream)) {
    case response::block::informational: return;
    case response::block::initial: {
      hold h(of_);
      if (of_.finished_ || (of_.committed_ != nullptr && of_.committed_ != this)) {
        decided_ = true;  // lost the race; it is being reset
        return;
      }
      headers_in = true;
      if (of_.committed_ == nullptr) of_.commit(h, *this);
      h.wake(of_.reader_);
      return;
    }
    case response::block::last: decide(ending::finished, head.final_status()); return;
    case response::block::not_grpc:
      decide(ending::finished, head.final_status());
      if (!end_stream) s.reset(*this, NGHTTP2_CANCEL);
      return;
  }
}

void call::attempt::on_data(session&, std::string_view bytes) {
  if (decided_) return;
  hold h(of_);
  if (of_.finished_ || of_.committed_ != this) return;
  const bool begins = received < kPrefixSize;
  received += bytes.size();
  inbox.append(bytes);
  if (begins && received >= kPrefixSize && of_.one_reply()) {
    // Who waits for a single reply sleeps until all of it is there, but not for one that will be refused.
    const auto byte = [this](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(inbox.data()[i])); };
    refusable = byte(0) > 1 || (byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4)) > of_.max_receive_;
  }
  if (refusable || inbox.size() >= of_.reader_needs_) h.wake(of_.reader_);
}

void call::attempt::on_data_end(session&) {
  if (decided_) return;
  head.end_without_trailers();
  decide(ending::finished, head.final_status());
}

void call::attempt::on_closed(ending how, uint32_t error_code, std::string_view why) {
  {
    std::lock_guard lock(of_.mutex_);
    if (std::exchange(promised, 0) != 0) of_.promises_--;
  }
  if (!decided_) {
    status s;
    switch (how) {
      case ending::never_sent: s = unavailable("the call was not sent: " + std::string(why)); break;
      case ending::refused: s = unavailable("the server refused the call without looking at it (REFUSED_STREAM or GOAWAY)"); break;
      case ending::lost: s = unavailable("the connection to " + via->peer() + " was lost: " + std::string(why)); break;
      case ending::closed: s = cancelled(std::string(why)); break;
      case ending::reset:
      case ending::finished:
        s = {code_of_reset(error_code), std::string("the stream was reset: ") + nghttp2_http2_strerror(error_code)};
        break;
    }
    decide(how, std::move(s));
  }
  block_.reset();
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

// As on the server's side: the window opens by quarters.
size_t call::window_part() const noexcept { return std::max<size_t>(1, host_->call_settings.stream_window / 4); }

bool call::next_message(std::span<const char>& bytes) {
  while (!reading_ended_) {
    switch (cutter_.next(bytes)) {
      case message_cutter::outcome::message:
        if (cutter_.credit() >= window_part()) report_consumed();
        compressed_ = cutter_.compressed();
        if (!uncompressed(bytes)) break;
        return true;
      case message_cutter::outcome::need_more:
        if (!take_inbox()) break;
        continue;
      case message_cutter::outcome::bad_flag:
        fail(internal("the first byte of a message is neither 0 nor 1; the answer is not gRPC framing"));
        break;
      case message_cutter::outcome::too_large:
        fail(resource_exhausted("the reply message (" + std::to_string(cutter_.length()) + " bytes) is over the client's limit of " +
                                std::to_string(max_receive_) + "; ask for less, or raise max_receive_message"));
        break;
    }
    reading_ended_ = true;
  }
  return false;
}

// Moves what has come into the cutter; parks until that is enough to go on. false: nothing more will come.
bool call::take_inbox() {
  if (cutter_.credit() >= window_part()) report_consumed();
  // Who waits for the one reply waits for the status too: no need to wake for the message.
  const size_t enough = one_reply() ? window_part() : std::min(cutter_.missing(), window_part());
  hold h(*this);
  for (;;) {
    over_now(h);
    attempt* const a = committed_;
    if (finished_ && (local_ || a == nullptr)) return false;
    if (a != nullptr && (finished_ || a->refusable || a->inbox.size() >= enough)) {
      if (!a->inbox.empty()) {
        cutter_.add(a->inbox);
        return true;
      }
      if (!cutter_.at_boundary() && status_.ok()) status_ = internal("the answer ends within a message");
      return false;
    }
    if (must_drive()) {
      drive(h);
    } else {
      reader_needs_ = enough;
      park(h, reader_, 0);
    }
  }
}

void call::report_consumed() {
  hold h(*this);
  const size_t n = cutter_.take_credit();
  if (committed_ == nullptr || committed_->over) return;
  committed_->consumed += n;
  h.tell(*committed_, stream::kConsumed);
}

// Inflates the message if it came compressed. false: it cannot be; the call has failed.
bool call::uncompressed(std::span<const char>& bytes) {
  if (!compressed_) return true;
  std::optional<encoding> how;
  std::string name;
  {
    std::lock_guard lock(mutex_);
    how = committed_->head.message_encoding();
    name = committed_->head.encoding_name();
  }
  if (!how) {
    fail(internal("a message is compressed as '" + name + "', which is not supported; supported: " + std::string(kAcceptEncoding)));
    return false;
  }
  if (*how == encoding::identity) {
    fail(internal("a message is marked compressed, but grpc-encoding is identity"));
    return false;
  }
  inflated_.clear();
  switch (inflate(*how, {bytes.data(), bytes.size()}, max_receive_, inflated_)) {
    case inflate_outcome::whole: bytes = {inflated_.data(), inflated_.size()}; return true;
    case inflate_outcome::too_large:
      fail(resource_exhausted("the reply message is over the client's limit of " + std::to_string(max_receive_) +
                              " bytes when it is inflated; ask for less, or raise max_receive_message"));
      return false;
    case inflate_outcome::malformed: fail(internal("a message is not in the format that grpc-encoding names, " + name)); return false;
  }
  return false;
}

const metadata& call::initial_metadata() {
  hold h(*this);
  while (!over_now(h) && (answered_ == nullptr || !answered_->headers_in)) {
    if (must_drive()) {
      drive(h);
    } else {
      reader_needs_ = SIZE_MAX;
      park(h, reader_, 0);
    }
  }
  return answered_ != nullptr && answered_->headers_in ? answered_->head.initial() : kNoMetadata;
}

status call::finish() {
  std::span<const char> unread;
  while (next_message(unread)) {
  }
  hold h(*this);
  while (!over_now(h)) {
    if (must_drive()) {
      drive(h);
    } else {
      reader_needs_ = SIZE_MAX;
      park(h, reader_, 0);
    }
  }
  return status_;
}

void call::fail(status why) {
  hold h(*this);
  if (finished_ && !local_ && status_.ok()) {
    // The server has finished, and what it sent cannot be used.
    status_ = std::move(why);
    local_ = true;
    return;
  }
  conclude(h, std::move(why), true);
}

// --- facts -------------------------------------------------------------------------------------------------------------------------------

const metadata& call::received_initial() const {
  std::lock_guard lock(mutex_);
  return answered_ != nullptr && answered_->headers_in ? answered_->head.initial() : kNoMetadata;
}

const metadata& call::received_trailing() const {
  std::lock_guard lock(mutex_);
  return answered_ != nullptr && answered_->over ? answered_->head.trailing() : kNoMetadata;
}

std::string call::peer_of() const {
  std::lock_guard lock(mutex_);
  if (answered_ != nullptr) return answered_->via->peer();
  return first_ != nullptr ? first_->via->peer() : std::string();
}

int call::attempts_of() const {
  std::lock_guard lock(mutex_);
  return sent_attempts_;
}

void call::cancel() {
  hold h(*this);
  conclude(h, cancelled("cancelled by the caller"), true);
}

}  // namespace warren::grpc::client
