#include "server/grpc/call.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "runtime/os/clock.h"
#include "server/grpc/compression.h"
#include "server/grpc/limits.h"
#include "server/grpc/refusals.h"

namespace warren::grpc {

namespace {

// What is wrong with a request's messages, whoever finds it: the owner in a single one, the handler's side in a stream.
constexpr std::string_view kBadFlag = "the first byte of a message is neither 0 nor 1; this is not gRPC framing";
constexpr std::string_view kCutOff = "the request ends within a message";
constexpr std::string_view kBufferedTooMuch = "this connection's requests wait for memory; send fewer or smaller ones at once";

constexpr std::string_view kPage =
    "This is a warren gRPC server. It answers gRPC calls: POST /Service/Method, content-type application/grpc.\n";

}  // namespace

const detail::metadata_type call::kNoMetadata;

call::call(core& server) : core_(server), head_(server.methods), request_(server.options.max_receive_message) {
  timer_.fn = &call::timer_fired;
  timer_.arg = this;
  inbox_.reset(server.options.max_receive_message);
}

// As on_reuse() has left it: its last connection may be gone.
call::~call() = default;

// Back to the state of a new call, with the memory a usual call needs.
void call::on_reuse() {
  unbuffer();
  const size_t left = outbox_.unsent() + (sends_stream() ? outbox_.offered() : 0);
  if (left != 0) connection_->unsent.fetch_sub(left, std::memory_order_relaxed);
  head_.reset();
  page_request_ = 0;
  arrived_ns_ = begun_ns_ = 0;
  request_.reset(core_.options.max_receive_message);
  connection_->give_buffer(request_.buffer());
  borrowed_ = {};
  have_message_ = false;
  answered_ = closed_ = started_ = counted_ = headers_sent_ = final_ = page_ = over_handler_ = false;
  if (std::exchange(lent_, false)) {
    connection_->retire(outbox_.buffer());
  } else {
    connection_->give_buffer(outbox_.buffer());
  }
  outbox_.reset();
  fields_.reset();
  sent_at_tick_ = 0;
  sent_since_ = 0;
  if (!status_.ok()) status_ = {};
  initial_.clear();
  trailing_.clear();
  connection_->give_buffer(staging_);
  has_reply_ = reading_ended_ = request_taken_ = request_compressed_ = false;
  reply_encoding_ = named_encoding_ = encoding::identity;
  messages_sent_ = messages_taken_ = 0;
  largest_request_ = 0;
  inbox_.reset(core_.options.max_receive_message);
  packed_.reset(kKeptBytes);
  inflated_.reset(kKeptBytes);
  if (!failure_.ok()) failure_ = {};
  failed_.store(false, std::memory_order_relaxed);
  context_.reset();
  initial_left_ = false;
}

// --- the request -------------------------------------------------------------------------------------------------------------------------

void call::on_headers_end(http2::session& s) {
  if (!check_headers(s)) return;
  started_ = true;
  begun_ns_ = connection_->now();
  of().shard(connection_->ordinal()).started.fetch_add(1, std::memory_order_relaxed);
  std::optional<int64_t> timeout = head_.timeout();
  if (const auto most = std::chrono::nanoseconds(core_.options.max_call_time).count(); most != 0 && (!timeout || *timeout > most)) {
    timeout = most;
  }
  if (timeout) begin_deadline(s, *timeout);
  if (!answered_ && takes_stream()) begin_run(s);  // what it reads may come later
}

bool call::check_headers(http2::session& s) {
  using enum request_head::finding;
  const request_head::finding found = head_.find();
  if (found == fine) return true;
  if (found == page) {
    page_ = true;  // the answer waits for the end of the request: see receive_page
    begun_ns_ = connection_->now();
    return false;
  }
  // The list of what we take goes along, so that the client can choose.
  if (found == bad_encoding) trailing_.add_unchecked("grpc-accept-encoding", kAcceptEncoding);
  (found == unknown_method ? core_.unknown_method : core_.rejected).fetch_add(1, std::memory_order_relaxed);
  const request_head::refusal why = head_.why(found);
  refuse(s, why.http_status, why.code, why.message);
  return false;
}

void call::begin_deadline(http2::session& s, int64_t timeout) {
  context_.begin(connection_->now(), timeout);
  if (context_.passed(rt::nanotime())) {
    expire(s);
    return;
  }
  if (context_.deadline_ns() == INT64_MAX) return;
  timer_.when = context_.deadline_ns();
  armed_ = true;
  rt::timer_start(&timer_);
}

void call::on_data(http2::session& s, std::string_view bytes) {
  if (answered_ || closed_) return;  // the stream's window stays shut; the connection's has been opened again
  if (page_) {
    receive_page(s, bytes);
  } else if (takes_stream()) {
    receive_stream(s, bytes);
  } else {
    receive_single(s, bytes);
  }
}

// A browser's request, or a prober's. What it sends means nothing, but the answer waits for its end: only then is it known that the request
// was well-formed (content-length, trailers), and an early answer would turn the peer's next frames into frames on a closed stream.
// Somebody who uploads without end gets the answer once the window is used up, which is never opened again.
void call::receive_page(http2::session& s, std::string_view bytes) {
  page_request_ += bytes.size();
  if (page_request_ >= connection_->stream_window() / 2) answer_page(s);
}

// The handler runs already, or is about to. The window opens as it takes messages: see report_consumed.
void call::receive_stream(http2::session& s, std::string_view bytes) {
  if (inbox_.follow(bytes) != 0) s.forgive_small_frame();
  buffered_ += bytes.size();
  connection_->buffered += bytes.size();
  if (connection_->buffered > core_.options.max_buffered_requests) {
    answer_over_handler(s, status_code::resource_exhausted, kBufferedTooMuch);
    return;
  }
  inbox_.put(bytes);
}

void call::receive_single(http2::session& s, std::string_view bytes) {
  s.consume(*this, bytes.size(), connection_->now());
  if (ends_request() && borrow_single(s, bytes)) return;
  connection_->take_buffer(request_.buffer());
  while (!bytes.empty()) {
    if (have_message_) {
      refuse(s, "200", status_code::unimplemented, kSecondRequest);
      return;
    }
    const size_t before = bytes.size();
    const message_reader::outcome o = request_.feed(bytes);
    switch (o) {
      case message_reader::outcome::bad_flag: refuse(s, "200", status_code::internal, kBadFlag); return;
      case message_reader::outcome::too_large:
        refuse(s, "200", status_code::resource_exhausted, request_too_large(request_.length(), core_.options.max_receive_message));
        return;
      case message_reader::outcome::complete:
        have_message_ = true;
        s.forgive_small_frame();
        break;
      case message_reader::outcome::need_more: break;
    }
    buffered_ += before - bytes.size();
    connection_->buffered += before - bytes.size();
    if (!request_.at_boundary() && request_.compressed() && head_.message_encoding() == encoding::identity) {
      refuse(s, "200", status_code::internal, kNotCompressed);
      return;
    }
    if (connection_->buffered > core_.options.max_buffered_requests) {
      refuse(s, "200", status_code::resource_exhausted, kBufferedTooMuch);
      return;
    }
  }
}

// The usual request: one message, in one frame, which ends it. false: it is not that, or something is wrong with it.
bool call::borrow_single(http2::session& s, std::string_view bytes) {
  if (have_message_ || !request_.at_boundary()) return false;
  const std::optional<framed_message> m = whole_message(bytes);
  if (!m || m->bytes.size() > core_.options.max_receive_message || (m->compressed && head_.message_encoding() == encoding::identity))
    return false;
  borrowed_ = m->bytes;
  borrowed_compressed_ = m->compressed;
  have_message_ = true;
  buffered_ += bytes.size();
  connection_->buffered += bytes.size();
  if (connection_->buffered > core_.options.max_buffered_requests) refuse(s, "200", status_code::resource_exhausted, kBufferedTooMuch);
  return true;
}

void call::keep_bytes() {
  if (borrowed_.data() == nullptr) return;
  request_.assign(borrowed_, borrowed_compressed_);
  borrowed_ = {};
}

void call::on_request_end(http2::session& s) {
  if (answered_ || closed_) return;
  if (page_) {
    answer_page(s);
    return;
  }
  if (takes_stream()) {
    inbox_.end();
    return;
  }
  if (!have_message_) {
    if (request_.at_boundary()) {
      refuse(s, "200", status_code::unimplemented, kNoRequest);
    } else {
      refuse(s, "200", status_code::internal, kCutOff);
    }
    return;
  }
  of().shard(connection_->ordinal()).received.fetch_add(1, std::memory_order_relaxed);
  begin_run(s);
}

void call::begin_run(http2::session& s) {
  arrived_ns_ = connection_->now();
  if (!admission_.enter(core_, of())) {
    refuse(s, "200", status_code::unavailable, admission_.refusal());
    return;
  }
  running_ = true;
  connection_->take_buffer(staging_);
  connection_->ready(*this);
}

void call::on_closed(uint32_t error_code) {
  closed_ = true;
  connection_->count_stream_end(error_code == NGHTTP2_NO_ERROR && answered_);
  if (answered_) return;
  answered_ = true;
  fields_.set_status(status_code::cancelled);
  count_once(status_code::cancelled);
  cancel(status_code::cancelled);
  if (!running_) {
    disarm();
    unbuffer();
  }
}

void call::unbuffer() noexcept {
  connection_->buffered -= buffered_;
  buffered_ = 0;
}

// --- the handler -------------------------------------------------------------------------------------------------------------------------

// What the call before of the method used for its request serves this one too, and the next: the memory that was touched last. What this
// call had itself it keeps meanwhile, for when it finds nothing there.
class call::request_place_of_method {
 public:
  explicit request_place_of_method(call& c) noexcept : call_(c), shared_(c.of().shard(c.connection_->ordinal()).place) {
    // acquire pairs with the release below: the last user's accesses come before ours.
    if (detail::request_place* const p = shared_.exchange(nullptr, std::memory_order_acquire)) {
      own_ = slot().exchange(std::unique_ptr<detail::request_place>(p));
    }
  }
  ~request_place_of_method() {
    if (call_.largest_request_ > kKeptBytes) slot().drop();
    std::unique_ptr<detail::request_place> used = slot().exchange(std::move(own_));
    if (used == nullptr) return;
    detail::request_place* nobodys = nullptr;
    if (shared_.compare_exchange_strong(nobodys, used.get(), std::memory_order_release)) {
      (void)used.release();  // the method's from here on
    } else {
      slot().exchange(std::move(used));
    }
  }
  request_place_of_method(const request_place_of_method&) = delete;
  request_place_of_method& operator=(const request_place_of_method&) = delete;

 private:
  detail::message_slot& slot() noexcept { return call_.own_request_slot(); }
  call& call_;
  std::atomic<detail::request_place*>& shared_;
  std::unique_ptr<detail::request_place> own_;
};

void call::run() noexcept {
  const status_code why = cause();
  if (why != status_code::ok) {
    // Nobody waits any more: the handler never runs.
    status_ = {why, std::string(why == status_code::deadline_exceeded ? kTooLateToRun : "")};
    return;
  }
  const request_place_of_method place(*this);
  if (!core_.interceptors.empty()) {
    keep_bytes();  // they may look at it for longer than we would
    status_ = intercepted::run(core_.interceptors, of().run, *of().self, of().kind, *this);
    return;
  }
  // What the end of a chain does, without one: this is on every call's way.
  try {
    status_ = of().run(*of().self, *this);
  } catch (...) {
    status_ = {status_code::unknown, std::string(kHandlerThrew)};
  }
  if (failed_.load(std::memory_order_acquire)) status_ = failure();
}

void call::fail(status why) {
  std::lock_guard hold(mutex_);
  if (failure_.ok()) failure_ = std::move(why);
  failed_.store(true, std::memory_order_release);
}

status call::failure() const {
  if (!failed_.load(std::memory_order_acquire)) return {};  // as nearly always: no lock, nothing copied
  std::lock_guard hold(mutex_);
  return failure_;
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

bool call::next_message(std::span<const char>& bytes) {
  if (!takes_stream()) {
    if (std::exchange(request_taken_, true)) return false;
    const std::string_view message = borrows() ? borrowed_ : request_.message();
    bytes = {message.data(), message.size()};
    request_compressed_ = borrows() ? borrowed_compressed_ : request_.compressed();
    return uncompressed(bytes);
  }
  while (!reading_ended_) {
    switch (inbox_.next(bytes)) {
      case message_cutter::outcome::message:
        messages_taken_++;
        if (inbox_.due(window_part())) report_consumed();
        request_compressed_ = inbox_.cut().compressed();
        if (!uncompressed(bytes)) break;
        return true;
      case message_cutter::outcome::need_more:
        if (inbox_.due(window_part())) report_consumed();
        switch (inbox_.wait(window_part())) {
          case inbox::news::more: continue;
          case inbox::news::over: break;
          case inbox::news::cut_off: fail(internal(std::string(kCutOff))); break;
        }
        break;
      case message_cutter::outcome::bad_flag: fail(internal(std::string(kBadFlag))); break;
      case message_cutter::outcome::too_large:
        fail(resource_exhausted(request_too_large(inbox_.cut().length(), core_.options.max_receive_message)));
        break;
    }
    reading_ended_ = true;
  }
  return false;
}

// What was large goes at once: the answer, which is as large perhaps, gets memory that is in the cache.
void call::end_message() noexcept {
  if (!takes_stream()) {
    // A stream's messages are not there, and another goroutine may read them than the runner, who asks borrows().
    borrowed_ = {};
    request_.buffer().reset(kKeptBytes);
  }
  inflated_.reset(kKeptBytes);
}

// A quarter of the window: see inbox.h.
size_t call::window_part() const noexcept { return std::max<size_t>(1, connection_->stream_window() / 4); }

void call::report_consumed() {
  inbox_.report();
  connection_->post(*this, kConsumed);
}

// Owner: the other end of report_consumed.
void call::open_window(http2::session& s) {
  const size_t n = inbox_.take_reported();
  s.consume(*this, n, connection_->now());
  buffered_ -= n;
  connection_->buffered -= n;
}

// Inflates the message if it came compressed. false: it cannot be; the call has failed.
bool call::uncompressed(std::span<const char>& bytes) {
  if (!request_compressed_) {
    largest_request_ = std::max(largest_request_, bytes.size());
    return true;
  }
  if (head_.message_encoding() == encoding::identity) {
    fail(internal(std::string(kNotCompressed)));
    return false;
  }
  inflated_.clear();
  const size_t limit = core_.options.max_receive_message;
  switch (inflate(head_.message_encoding(), {bytes.data(), bytes.size()}, limit, inflated_)) {
    case inflate_outcome::whole:
      bytes = {inflated_.data(), inflated_.size()};
      largest_request_ = std::max(largest_request_, bytes.size());
      return true;
    case inflate_outcome::too_large: fail(resource_exhausted(inflates_too_large(limit))); return false;
    case inflate_outcome::malformed: fail(internal(not_that_encoding(to_string(head_.message_encoding())))); return false;
  }
  return false;
}

// --- writing -----------------------------------------------------------------------------------------------------------------------------

char* call::begin_message(size_t n) {
  if (n > core_.options.max_send_message || n > UINT32_MAX) {
    fail(resource_exhausted(std::string(kReplyTooLarge)));
    return nullptr;
  }
  staging_.clear();
  char* const at = staging_.grow(kPrefixSize + n);
  write_prefix(at, static_cast<uint32_t>(n));
  return at + kPrefixSize;
}

// staging_ becomes what travels. A message that compressing would make longer stays as it is: its flag says so.
void call::finish_message(bool compress) {
  messages_sent_++;
  if (!compress || reply_encoding_ == encoding::identity) return;
  packed_.clear();
  packed_.grow(kPrefixSize);
  deflate(reply_encoding_, {staging_.data() + kPrefixSize, staging_.size() - kPrefixSize}, packed_);
  if (packed_.size() >= staging_.size()) return;
  write_prefix(packed_.data(), static_cast<uint32_t>(packed_.size() - kPrefixSize), true);
  staging_.swap(packed_);
}

void call::end_reply() {
  finish_message(true);
  has_reply_ = true;
}

bool call::end_stream_message(write_options options) {
  // A request was bad: the caller gets that status, and no answers to requests the handler never saw.
  if (failed_.load(std::memory_order_relaxed)) return false;
  finish_message(options.compress);
  initial_left_ = true;
  const size_t size = staging_.size();
  connection_->unsent.fetch_add(size, std::memory_order_relaxed);  // first, so that the owner never subtracts what is not there yet
  const std::optional<size_t> left = outbox_.add(staging_);
  if (!left) {
    connection_->unsent.fetch_sub(size, std::memory_order_relaxed);
    return false;
  }
  connection_->post(*this, kOutput);

  // A connection that holds too much leaves each of its writers one message: a bound that needs no queue of writers, since each one's own
  // bytes are what it waits for.
  const bool scarce = connection_->unsent.load(std::memory_order_relaxed) > core_.options.connection_send_buffer;
  const size_t allowed = scarce ? 0 : core_.options.send_buffer;
  if (*left > allowed) outbox_.wait_for_room(allowed);
  return !context_.ended();
}

// --- the context -------------------------------------------------------------------------------------------------------------------------

// Owner.
void call::cancel(status_code why) noexcept {
  context_.end(why, [this] {
    outbox_.abort();
    inbox_.abort();
  });
}

bool call::add_initial_metadata(std::string_view key, std::string_view value) { return !initial_left_ && initial_.add(key, value); }

bool call::send_initial_metadata() {
  if (initial_left_) return false;
  initial_left_ = true;
  if (context_.ended()) return false;
  connection_->post(*this, kHeadersNow);
  return true;
}

bool call::compress(encoding how) {
  if (how != encoding::identity && (initial_left_ || !head_.accepts(how))) return false;
  // The header names the encoding even if every message then says that it is not compressed; back to identity is therefore always possible.
  reply_encoding_ = how;
  if (how != encoding::identity) named_encoding_ = how;
  return true;
}

// --- the answer --------------------------------------------------------------------------------------------------------------------------

void call::on_events(http2::session& s, uint32_t bits) {
  if ((bits & kExpired) != 0) {
    rt::timer_stop_sync(&timer_);  // its function has posted us, but may not have returned
    armed_ = false;
    if (!answered_) expire(s);
  }
  if ((bits & kConsumed) != 0) open_window(s);
  if ((bits & (kOutput | kHeadersNow)) != 0 && !answered_) {
    if (headers_sent_) {
      s.resume(*this);
    } else {
      headers_sent_ = true;
      s.respond_with_body(*this, headers());
      if (sends_stream()) s.share_fairly(*this);
    }
  }
  if ((bits & kRunEnded) != 0) on_run_end(s);
}

void call::on_run_end(http2::session& s) {
  running_ = false;
  admission_.leave();
  disarm();
  connection_->count_messages(messages_taken_ + (request_taken_ ? 1 : 0), messages_sent_);
  if (messages_sent_ != 0) of().shard(connection_->ordinal()).sent.fetch_add(messages_sent_, std::memory_order_relaxed);
  if (messages_taken_ != 0) of().shard(connection_->ordinal()).received.fetch_add(messages_taken_, std::memory_order_relaxed);
  context_.cancel();      // as in Go, with the handler: a goroutine that took it along learns that
  if (answered_) return;  // over its head, or there is nobody to answer
  if (context_.passed(connection_->now())) {
    // The handler may have been woken by its context's deadline before the news of ours came: one answer in both cases.
    expire(s);
    return;
  }
  answered_ = true;
  if (!sends_stream() && status_.ok() && !has_reply_) status_ = internal(std::string(kNoReply));
  if (!status_.ok()) fields_.set_status(status_.code(), status_.message(), status_.details());
  count_once(status_.code());
  answer(s);
}

void call::answer(http2::session& s) {
  if (fields_.code() == status_code::ok && !sends_stream()) {
    outbox_.buffer().swap(staging_);
    // A peer that takes nothing keeps request and reply in memory until the stream ends: both count against what its connection may hold.
    buffered_ += outbox_.buffer().size();
    connection_->buffered += outbox_.buffer().size();
  }
  final_ = true;
  if (headers_sent_) {
    s.resume(*this);
  } else if (fields_.code() != status_code::ok) {
    trailers_only(s);
  } else if (!outbox_.buffer().empty()) {
    headers_sent_ = true;
    s.respond_with_body(*this, headers());
  } else {
    // A stream of no messages: headers are still due before the trailers.
    headers_sent_ = true;
    s.send_headers(*this, headers());
    s.trailers(*this, trailers());
  }
}

void call::refuse(http2::session& s, const char* http_status, status_code code, std::string_view message) {
  answered_ = true;
  fields_.set_status(code, message);
  disarm();
  count_once(code);
  unbuffer();
  borrowed_ = {};
  request_.buffer().reset(0);
  trailers_only(s, http_status);
}

void call::expire(http2::session& s) { answer_over_handler(s, status_code::deadline_exceeded, kDeadlinePassed); }

void call::on_kill(http2::session& s, std::string_view why) {
  if (answered_ || closed_) return;
  if (page_) {
    answer_page(s);
  } else {
    answer_over_handler(s, status_code::unavailable, why);
  }
}

// A request that does not come whole is memory held for nobody too; only that of a method which takes one message, since nothing runs yet
// that could be impatient for itself.
//
// An answer that its caller does not take (a window of zero, say) is memory held for nobody. While the handler runs that is its own affair:
// it has a deadline and a context.
bool call::on_tick(http2::session& s, int64_t now, int64_t patience) {
  if (closed_) return true;
  if (!answered_) {
    const int64_t allowed = std::chrono::nanoseconds(core_.options.request_timeout).count();
    const bool late = allowed != 0 && now - begun_ns_ >= allowed;
    if (late && page_) {
      answer_page(s);
    } else if (late && started_ && !running_) {
      core_.slow.fetch_add(1, std::memory_order_relaxed);
      refuse(s, "200", status_code::deadline_exceeded,
             "the request did not come whole within the server's request_timeout; send it faster");
    }
    return true;
  }
  if (sent_since_ == 0 || outbox_.sent() != sent_at_tick_) {
    sent_since_ = now;
    sent_at_tick_ = outbox_.sent();
    return true;
  }
  if (now - sent_since_ < patience) return true;
  s.reset(*this, NGHTTP2_CANCEL);
  return false;
}

// The handler may be running: nothing that is its own goes into the answer, and what it does from now on is for nothing.
void call::answer_over_handler(http2::session& s, status_code code, std::string_view message) {
  answered_ = over_handler_ = true;
  fields_.set_status(code, message);
  disarm();
  count_once(code);
  cancel(code);
  if (closed_) return;
  if (!headers_sent_) {
    trailers_only(s);
    return;
  }
  drop_unsent();
  final_ = true;
  s.resume(*this);
}

void call::answer_page(http2::session& s) {
  answered_ = final_ = headers_sent_ = true;
  static const nghttp2_nv headers[] = {field(":status", "200"), field("content-type", "text/plain; charset=utf-8")};
  if (head_.asks_for_head()) {
    s.respond(*this, headers);
    return;
  }
  outbox_.buffer().append(kPage);
  s.respond_with_body(*this, headers);
}

void call::trailers_only(http2::session& s, const char* http_status) {
  if (!over_handler_ && !initial_.empty()) {
    headers_sent_ = true;
    s.send_headers(*this, headers());
    s.trailers(*this, trailers());
    return;
  }
  headers_sent_ = true;
  s.respond(*this, fields_.trailers_only(head_.proto(), http_status, trailing()));
}

call::piece call::peek_body(http2::session& s, size_t most) {
  const bool dry = sends_stream() ? outbox_.offer_written(most) : outbox_.offer(most);
  const bool end = final_ && dry;
  if (end && !page_) s.trailers(*this, trailers());
  return {outbox_.offered(), end, !page_, dry};
}

void call::take_body(char* into, size_t n) {
  outbox_.take(into, n);
  if (sends_stream()) connection_->packed(n);
}

// Of the one reply only: what streams write is small, or is many messages in a buffer that grows.
const char* call::lend_body(size_t n) {
  if (sends_stream()) return nullptr;
  lent_ = true;
  return outbox_.lend(n);
}

// Nobody adds any more: the call is over.
void call::drop_unsent() { connection_->unsent.fetch_sub(outbox_.drop_unsent(), std::memory_order_relaxed); }

// --- bookkeeping -------------------------------------------------------------------------------------------------------------------------

void call::count_once(status_code code) noexcept {
  if (!started_ || counted_) return;
  counted_ = true;
  of().shard(connection_->ordinal()).count(code, arrived_ns_ == 0 ? -1 : std::max<int64_t>(0, connection_->now() - arrived_ns_));
}

void call::disarm() {
  // false: kExpired is on its way, and the call lives until then.
  if (armed_ && rt::timer_stop(&timer_)) armed_ = false;
}

void call::timer_fired(void* arg, uintptr_t) {
  auto* c = static_cast<call*>(arg);
  c->core_.alarms.went_off(*c);
}

}  // namespace warren::grpc
