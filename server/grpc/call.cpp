#include "server/grpc/call.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "runtime/os/clock.h"
#include "server/grpc/base64.h"
#include "server/grpc/limits.h"
#include "server/grpc/percent.h"
#include "server/grpc/reserved.h"
#include "server/grpc/timeout.h"

namespace warren::grpc {

namespace {

nghttp2_nv field(std::string_view name, std::string_view value) {
  // nghttp2 takes non-const pointers and, with these flags, neither writes nor copies.
  return {const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(name.data())),
          const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// The headers and trailers of nearly every answer, built once.
const nghttp2_nv kHeaders[] = {field(":status", "200"), field("content-type", "application/grpc")};
const nghttp2_nv kHeadersProto[] = {field(":status", "200"), field("content-type", "application/grpc+proto")};
const nghttp2_nv kTrailersOk[] = {field("grpc-status", "0")};

std::string_view decimal(status_code code) {
  static constexpr std::string_view known[kStatusCodes] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                           "9", "10", "11", "12", "13", "14", "15", "16"};
  const auto n = static_cast<uint32_t>(code);
  return n < kStatusCodes ? known[n] : std::string_view();
}

constexpr std::string_view kPage =
    "This is a warren gRPC server. It answers gRPC calls: POST /Service/Method, content-type application/grpc.\n";

}  // namespace

call::call(core& server, http2::connection& connection)
    : core_(server), connection_(connection), request_(server.options.max_receive_message) {
  timer_.fn = &call::timer_fired;
  timer_.arg = this;
}

call::~call() {
  unbuffer();
  delete done_.load(std::memory_order_relaxed);
}

// Back to the state of a new call, with the memory a usual call needs.
void call::on_reuse() {
  unbuffer();
  path_known_ = path_seen_ = post_ = root_path_ = over_limit_ = bad_timeout_ = bad_binary_ = bad_encoding_ = host_seen_ = false;
  content_ = content::absent;
  timeout_.reset();
  deadline_ns_ = arrived_ns_ = 0;
  authority_.clear();
  path_text_.clear();
  metadata_.clear();
  if (request_.length() > kKeptBytes) drop_request_message();
  request_.reset(core_.options.max_receive_message);
  request_.shrink(kKeptBytes);
  have_message_ = false;
  answered_ = closed_ = started_ = counted_ = headers_sent_ = final_ = page_ = over_handler_ = false;
  sending_.reset(kKeptBytes);
  sending_at_ = promised_ = 0;
  code_ = status_code::ok;
  message_.clear();
  details_.clear();
  http_status_ = "200";
  encoded_.clear();
  if (!status_.ok()) status_ = {};
  initial_.clear();
  trailing_.clear();
  staging_.reset(kKeptBytes);
  has_reply_ = too_large_ = false;
  messages_sent_ = 0;
  cause_.store(status_code::ok, std::memory_order_relaxed);
  if (done_box* box = done_.load(std::memory_order_relaxed)) {
    delete box;
    done_.store(nullptr, std::memory_order_relaxed);
  }
  initial_left_ = false;
  outbox_.reset(kKeptBytes);
  unsent_ = 0;
}

// --- the request -------------------------------------------------------------------------------------------------------------------------

void call::on_header(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2:
      if (name == "te") return;  // nghttp2 has checked it
      break;
    case 4:
      if (name == "host") {
        if (!host_seen_ && authority_.empty()) authority_ = value;
        host_seen_ = true;
        return;
      }
      break;
    case 5:
      if (name == ":path") {
        path_seen_ = true;
        if (method_ == nullptr || method_->path != value) method_ = core_.methods.find(value);
        path_known_ = method_ != nullptr;
        if (!path_known_) {
          root_path_ = value == "/";
          path_text_ = value.substr(0, 256);  // for the message only
        }
        return;
      }
      break;
    case 7:
      if (name == ":method") {
        post_ = value == "POST";
        return;
      }
      if (name == ":scheme") return;
      break;
    case 10:
      if (name == ":authority") {
        authority_ = value;  // with both, :authority is the one
        return;
      }
      break;
    case 12:
      if (name == "content-type") {
        constexpr std::string_view grpc = "application/grpc";
        if (!value.starts_with(grpc)) {
          content_ = content::not_grpc;
        } else {
          const std::string_view rest = value.substr(grpc.size());
          if (rest.empty() || rest[0] == ';') {
            content_ = content::grpc;
          } else if (rest[0] == '+') {
            const std::string_view subtype = rest.substr(1, rest.find(';') - 1);
            content_ = subtype == "proto" ? content::grpc_proto : content::grpc_other;
          } else {
            content_ = content::not_grpc;
          }
        }
        return;
      }
      if (name == "grpc-timeout") {
        timeout_ = parse_timeout(value);
        bad_timeout_ = !timeout_;
        return;
      }
      break;
    case 13:
      if (name == "grpc-encoding") {
        bad_encoding_ = value != "identity";
        return;
      }
      break;
    default: break;
  }
  if (reserved_header(name)) return;
  if (!name.ends_with("-bin")) {
    metadata_.add_unchecked(name, value);
    return;
  }
  // Several values of one key may have been joined by the way.
  for (;;) {
    const size_t comma = value.find(',');
    std::string_view one = value.substr(0, comma);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    std::string bytes;
    if (!base64_decode(one, bytes)) {
      bad_binary_ = true;
      return;
    }
    metadata_.add_unchecked(name, bytes);
    if (comma == value.npos) return;
    value.remove_prefix(comma + 1);
  }
}

void call::on_headers_end(http2::session& s) {
  if (!check_headers(s)) return;
  started_ = true;
  method_->shard(connection_.ordinal()).started.fetch_add(1, std::memory_order_relaxed);
  if (timeout_) begin_deadline(s);
}

// The order of the checks is the order of trust: first what makes it a gRPC call at all, then which, then how.
bool call::check_headers(http2::session& s) {
  if (over_limit_) {
    refuse(s, "431", status_code::resource_exhausted, "the request's headers are over the server's limit; send less metadata");
  } else if (content_ == content::absent || content_ == content::not_grpc) {
    if (root_path_) {
      answer_page(s);
    } else {
      refuse(s, "415", status_code::invalid_argument, "content-type is not application/grpc; use a gRPC client");
    }
  } else if (!post_) {
    refuse(s, "405", status_code::internal, "the HTTP method is not POST; use a gRPC client");
  } else if (!path_known_) {
    core_.unknown_method.fetch_add(1, std::memory_order_relaxed);
    refuse(s, "200", status_code::unimplemented, "no such method: " + path_text_);
    return false;
  } else if (content_ == content::grpc_other) {
    refuse(s, "200", status_code::unimplemented, "the content-type's message format is not served; use application/grpc+proto");
  } else if (bad_timeout_) {
    refuse(s, "400", status_code::internal, "grpc-timeout is malformed; send 1 to 8 digits and one of H M S m u n");
  } else if (bad_encoding_) {
    // The list of what we take goes along, so that the client can choose.
    trailing_.add_unchecked("grpc-accept-encoding", "identity");
    refuse(s, "200", status_code::unimplemented, "grpc-encoding is not supported; send identity");
  } else if (bad_binary_) {
    refuse(s, "200", status_code::internal, "a -bin metadata value is not base64");
  } else {
    return true;
  }
  if (!page_) core_.rejected.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void call::begin_deadline(http2::session& s) {
  const int64_t now = connection_.now();
  deadline_ns_ = now > INT64_MAX - *timeout_ ? INT64_MAX : now + *timeout_;
  if (rt::nanotime() >= deadline_ns_) {
    expire(s);
    return;
  }
  if (deadline_ns_ == INT64_MAX) return;
  timer_.when = deadline_ns_;
  armed_ = true;
  rt::timer_start(&timer_);
}

void call::on_data(http2::session& s, std::string_view bytes) {
  if (answered_ || closed_) return;  // the stream's window stays shut; the connection's has been opened again
  s.consume(*this, bytes.size());
  while (!bytes.empty()) {
    if (have_message_) {
      refuse(s, "200", status_code::unimplemented, "more than one request message; the method takes exactly one");
      return;
    }
    const size_t before = bytes.size();
    const message_reader::outcome o = request_.feed(bytes);
    switch (o) {
      case message_reader::outcome::bad_flag:
        refuse(s, "200", status_code::internal, "the first byte of a message is neither 0 nor 1; this is not gRPC framing");
        return;
      case message_reader::outcome::too_large:
        refuse(s, "200", status_code::resource_exhausted,
               "the request message (" + std::to_string(request_.length()) + " bytes) is over the server's limit of " +
                   std::to_string(core_.options.max_receive_message) + "; send less, or raise max_receive_message");
        return;
      case message_reader::outcome::complete: have_message_ = true; break;
      case message_reader::outcome::need_more: break;
    }
    buffered_ += before - bytes.size();
    connection_.buffered += before - bytes.size();
    if (!request_.at_boundary() && request_.compressed()) {
      refuse(s, "200", status_code::internal, "a message is marked compressed, but grpc-encoding is identity");
      return;
    }
    if (connection_.buffered > core_.options.max_buffered_requests) {
      refuse(s, "200", status_code::resource_exhausted, "this connection's requests wait for memory; send fewer or smaller ones at once");
      return;
    }
  }
}

void call::on_request_end(http2::session& s) {
  if (answered_ || closed_) return;
  if (!have_message_) {
    if (request_.at_boundary()) {
      refuse(s, "200", status_code::unimplemented, "no request message; the method takes exactly one");
    } else {
      refuse(s, "200", status_code::internal, "the request ends within a message");
    }
    return;
  }
  method_->shard(connection_.ordinal()).received.fetch_add(1, std::memory_order_relaxed);
  arrived_ns_ = connection_.now();
  running_ = true;
  connection_.ready(*this);
}

void call::on_closed(uint32_t) {
  closed_ = true;
  if (answered_) return;
  answered_ = true;
  code_ = status_code::cancelled;
  count_once(code_);
  cancel(code_);
  if (!running_) {
    disarm();
    unbuffer();
  }
}

void call::unbuffer() noexcept {
  connection_.buffered -= buffered_;
  buffered_ = 0;
}

// --- the handler -------------------------------------------------------------------------------------------------------------------------

void call::run() noexcept {
  const status_code why = cause();
  if (why != status_code::ok) {
    // Nobody waits any more: the handler never runs.
    status_ = {why, why == status_code::deadline_exceeded ? "the deadline passed before the handler could run" : ""};
    return;
  }
  try {
    status_ = method_->run(*method_->self, *this);
  } catch (...) {
    // What it says stays here: it may hold what the caller must not see.
    status_ = {status_code::unknown, "the handler threw an exception"};
  }
}

char* call::begin_message(size_t n) {
  if (n > core_.options.max_send_message || n > UINT32_MAX) {
    too_large_ = true;
    return nullptr;
  }
  staging_.clear();
  char* const at = staging_.grow(kPrefixSize + n);
  write_prefix(at, static_cast<uint32_t>(n));
  return at + kPrefixSize;
}

void call::end_reply() noexcept {
  has_reply_ = true;
  messages_sent_++;
}

bool call::end_stream_message() {
  messages_sent_++;
  initial_left_ = true;
  {
    std::lock_guard hold(mutex_);
    // Set before cancel() takes this lock: whatever is appended later would be dropped anyway.
    if (cause_.load(std::memory_order_relaxed) != status_code::ok) return false;
    unsent_ += staging_.size();
    if (outbox_.empty()) {
      outbox_.swap(staging_);
    } else {
      outbox_.append({staging_.data(), staging_.size()});
    }
  }
  connection_.post(*this, kOutput);

  mutex_.lock();
  while (unsent_ > core_.options.send_buffer && cause_.load(std::memory_order_relaxed) == status_code::ok) {
    writer_ = rt::getg();
    rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::chan_send);
    mutex_.lock();
  }
  mutex_.unlock();
  return cause_.load(std::memory_order_relaxed) == status_code::ok;
}

// --- the context -------------------------------------------------------------------------------------------------------------------------

std::optional<server_context::clock::time_point> call::deadline() const noexcept {
  if (deadline_ns_ == 0 || deadline_ns_ == INT64_MAX) return std::nullopt;
  return clock::time_point(std::chrono::nanoseconds(deadline_ns_));  // nanotime and steady_clock are the same clock
}

status_code call::cause() const noexcept {
  const status_code c = cause_.load(std::memory_order_acquire);
  // A handler that computes may look before the timer's news has come through.
  if (c == status_code::ok && deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_) return status_code::deadline_exceeded;
  return c;
}

// The box is published by one compare-and-swap, so two callers get one channel. cancel() stores cause_, then looks for the box; we store
// the box, then look at cause_: both seq_cst, so at least one of the two sees the other and closes the channel.
chan<unit> call::done() {
  done_box* box = done_.load(std::memory_order_acquire);
  if (box == nullptr) {
    auto* fresh = new done_box{root<done_cell>(make<done_cell>(done_cell{make_chan<unit>(0)})), false};
    if (done_.compare_exchange_strong(box, fresh, std::memory_order_seq_cst)) {
      box = fresh;
      if (cause_.load(std::memory_order_seq_cst) != status_code::ok) close_done(*box);
    } else {
      delete fresh;
    }
  }
  return box->cell->channel;
}

void call::close_done(done_box& box) noexcept {
  if (box.closed.exchange(true, std::memory_order_acq_rel)) return;
  chan<unit> channel = box.cell->channel;
  channel.close();
}

// Owner.
void call::cancel(status_code why) noexcept {
  status_code none = status_code::ok;
  if (!cause_.compare_exchange_strong(none, why, std::memory_order_seq_cst)) return;
  rt::g* writer;
  {
    std::lock_guard hold(mutex_);
    writer = std::exchange(writer_, nullptr);
  }
  if (writer != nullptr) rt::goready(writer);
  if (done_box* box = done_.load(std::memory_order_seq_cst)) close_done(*box);
}

bool call::add_initial_metadata(std::string_view key, std::string_view value) { return !initial_left_ && initial_.add(key, value); }

// --- the answer --------------------------------------------------------------------------------------------------------------------------

void call::on_events(http2::session& s, uint32_t bits) {
  if ((bits & kExpired) != 0) {
    rt::timer_stop_sync(&timer_);  // its function has posted us, but may not have returned
    armed_ = false;
    if (!answered_) expire(s);
  }
  if ((bits & kOutput) != 0 && !answered_) {
    if (headers_sent_) {
      s.resume(*this);
    } else {
      headers_sent_ = true;
      s.respond_with_body(*this, headers());
      s.share_fairly(*this);
    }
  }
  if ((bits & kRunEnded) != 0) on_run_end(s);
}

void call::on_run_end(http2::session& s) {
  running_ = false;
  disarm();
  if (messages_sent_ != 0) method_->shard(connection_.ordinal()).sent.fetch_add(messages_sent_, std::memory_order_relaxed);
  // As in Go, the context ends with the handler: a goroutine that took done() along learns it.
  if (done_box* box = done_.load(std::memory_order_acquire)) close_done(*box);
  if (answered_) return;  // over its head, or there is nobody to answer
  answered_ = true;
  if (method_->kind == method_kind::unary && status_.ok() && !has_reply_) status_ = internal("the method returned without a reply");
  code_ = status_.code();
  if (code_ != status_code::ok) {
    percent_encode(std::string_view(status_.message()).substr(0, kMaxMessageText), message_);
    base64_encode(status_.details(), details_);
  }
  count_once(code_);
  answer(s);
}

void call::answer(http2::session& s) {
  if (method_->kind == method_kind::unary) {
    if (code_ != status_code::ok) {
      trailers_only(s);
      return;
    }
    sending_.swap(staging_);
    // A peer that takes nothing keeps request and reply in memory until the stream ends: both count against what its connection may hold.
    buffered_ += sending_.size();
    connection_.buffered += sending_.size();
    final_ = headers_sent_ = true;
    s.respond_with_body(*this, headers());
    return;
  }
  final_ = true;
  if (headers_sent_) {
    s.resume(*this);
  } else if (code_ != status_code::ok) {
    trailers_only(s);
  } else {
    // A stream of no messages: headers are still due before the trailers.
    headers_sent_ = true;
    s.send_headers(*this, headers());
    s.trailers(*this, trailer_fields());
  }
}

void call::refuse(http2::session& s, const char* http_status, status_code code, std::string_view message) {
  answered_ = true;
  http_status_ = http_status;
  code_ = code;
  percent_encode(message.substr(0, kMaxMessageText), message_);
  disarm();
  count_once(code);
  unbuffer();
  request_.shrink(0);
  trailers_only(s);
}

void call::expire(http2::session& s) { answer_over_handler(s, status_code::deadline_exceeded, "the deadline passed"); }

void call::on_kill(http2::session& s) {
  if (!answered_ && !closed_) answer_over_handler(s, status_code::unavailable, "the server is shutting down");
}

// The handler may be running: nothing that is its own goes into the answer, and what it does from now on is for nothing.
void call::answer_over_handler(http2::session& s, status_code code, std::string_view message) {
  answered_ = over_handler_ = true;
  code_ = code;
  message_ = message;
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
  answered_ = page_ = final_ = headers_sent_ = true;
  sending_.append(kPage);
  static const nghttp2_nv headers[] = {field(":status", "200"), field("content-type", "text/plain; charset=utf-8")};
  s.respond_with_body(*this, headers);
}

void call::trailers_only(http2::session& s) {
  if (!over_handler_ && !initial_.empty()) {
    headers_sent_ = true;
    s.send_headers(*this, headers());
    s.trailers(*this, trailer_fields());
    return;
  }
  fields_.clear();
  fields_.push_back(field(":status", http_status_));
  fields_.push_back(content_ == content::grpc_proto ? kHeadersProto[1] : kHeaders[1]);
  add_status_fields();
  headers_sent_ = true;
  s.respond(*this, fields_);
}

std::span<const nghttp2_nv> call::headers() {
  const auto& usual = content_ == content::grpc_proto ? kHeadersProto : kHeaders;
  if (initial_.empty()) return usual;
  fields_.assign(std::begin(usual), std::end(usual));
  add_metadata_fields(initial_);
  return fields_;
}

std::span<const nghttp2_nv> call::trailer_fields() {
  if (code_ == status_code::ok && trailing_.empty()) return kTrailersOk;
  fields_.clear();
  add_status_fields();
  return fields_;
}

void call::add_status_fields() {
  std::string_view code = decimal(code_);
  if (code.empty()) code = encoded_.emplace_back(std::to_string(static_cast<uint32_t>(code_)));
  fields_.push_back(field("grpc-status", code));
  if (!message_.empty()) fields_.push_back(field("grpc-message", message_));
  if (!details_.empty()) fields_.push_back(field("grpc-status-details-bin", details_));
  if (!over_handler_) add_metadata_fields(trailing_);
}

void call::add_metadata_fields(const detail::metadata_type& from) {
  for (const auto e : from) {
    if (!e.key.ends_with("-bin")) {
      fields_.push_back(field(e.key, e.value));
      continue;
    }
    std::string& text = encoded_.emplace_back();
    base64_encode(e.value, text);
    fields_.push_back(field(e.key, text));
  }
}

call::piece call::peek_body(http2::session& s, size_t most) {
  const bool stream = streams();
  bool more = false;
  if (stream) {
    std::lock_guard hold(mutex_);
    if (sending_at_ == sending_.size()) {
      sending_.clear();
      sending_at_ = 0;
      sending_.swap(outbox_);
    }
    more = !outbox_.empty();
  }
  const size_t left = sending_.size() - sending_at_;
  promised_ = std::min(left, most);
  const bool end = final_ && !more && promised_ == left;
  if (end && !page_) s.trailers(*this, trailer_fields());
  return {promised_, end, !page_};
}

void call::take_body(char* into, size_t n) {
  std::memcpy(into, sending_.data() + sending_at_, n);
  sending_at_ += n;
  promised_ -= n;
  if (!streams()) return;
  rt::g* writer = nullptr;
  {
    std::lock_guard hold(mutex_);
    unsent_ -= n;
    if (writer_ != nullptr && unsent_ <= core_.options.send_buffer / kWakeDivisor) writer = std::exchange(writer_, nullptr);
  }
  if (writer != nullptr) rt::goready(writer);
}

void call::drop_unsent() {
  std::lock_guard hold(mutex_);
  outbox_.clear();
  sending_.truncate(sending_at_ + promised_);
  unsent_ = promised_;
}

// --- bookkeeping -------------------------------------------------------------------------------------------------------------------------

void call::count_once(status_code code) noexcept {
  if (!started_ || counted_) return;
  counted_ = true;
  method_shard& shard = method_->shard(connection_.ordinal());
  const auto n = static_cast<uint32_t>(code);
  shard.handled[n < kStatusCodes ? n : static_cast<uint32_t>(status_code::unknown)].fetch_add(1, std::memory_order_relaxed);
  if (arrived_ns_ == 0) return;  // no request to measure from
  const int64_t took = std::max<int64_t>(0, connection_.now() - arrived_ns_);
  size_t bucket = 0;
  while (bucket < kLatencyBounds.size() && static_cast<double>(took) > kLatencyBounds[bucket] * 1e9) bucket++;
  shard.latency[bucket].fetch_add(1, std::memory_order_relaxed);
  shard.latency_ns.fetch_add(static_cast<uint64_t>(took), std::memory_order_relaxed);
}

void call::disarm() {
  // false: kExpired is on its way, and the call lives until then.
  if (armed_ && rt::timer_stop(&timer_)) armed_ = false;
}

void call::timer_fired(void* arg, uintptr_t) {
  auto* c = static_cast<call*>(arg);
  c->core_.late.expired(*c);
}

}  // namespace warren::grpc
