#include "server/grpcpp/call.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/slice.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include <warren/go.h>
#include <warren/grpc/interceptor.h>

#include "runtime/os/clock.h"
#include "server/grpc/compression.h"
#include "server/grpc/limits.h"
#include "server/grpc/percent.h"
#include "server/grpc/refusals.h"
#include "server/grpc/reserved.h"
#include "server/grpc/tls_credentials.h"

// What grpc-accept-encoding said. The library exports it and its headers do not declare it: a server that chooses the encoding itself is
// not provided for.
uint32_t grpc_call_test_only_get_encodings_accepted_by_peer(grpc_call* call);

namespace warren::grpcpp {

using grpc::encoding;
using grpc::status;
using grpc::status_code;

namespace {

static_assert(static_cast<int>(encoding::identity) == GRPC_COMPRESS_NONE && static_cast<int>(encoding::deflate) == GRPC_COMPRESS_DEFLATE &&
                  static_cast<int>(encoding::gzip) == GRPC_COMPRESS_GZIP,
              "encodings are numbered as gRPC's algorithms");

// A message as it came, and how it is compressed: the channel is told not to inflate (GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION), since it
// would do so without a limit.
class incoming_pieces : public ::grpc::ProtoBufferReader {
 public:
  using ProtoBufferReader::ProtoBufferReader;
  encoding compressed() { return static_cast<encoding>(reader()->buffer_in->data.raw.compression); }
};

// gRPC's "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711", "unix:…" as the native transport writes them.
std::string peer_text(const std::string& uri) {
  if (uri.starts_with("ipv4:") || uri.starts_with("ipv6:")) return grpc::percent_decode(std::string_view(uri).substr(5));
  return uri.starts_with("unix") ? "unix:" : "unknown";
}

int64_t nanotime_of(gpr_timespec t) {
  if (gpr_time_cmp(t, gpr_inf_future(t.clock_type)) == 0) return 0;
  const gpr_timespec m = gpr_convert_clock_type(t, GPR_CLOCK_MONOTONIC);
  return std::max<int64_t>(1, m.tv_sec * 1'000'000'000 + m.tv_nsec);
}

// gRPC's core counts deadlines in milliseconds: its timer may be that much before the deadline that we were told.
constexpr int64_t kDeadlineGrain = 2'000'000;

::grpc::Status to_grpc(const status& s) {
  return {static_cast<::grpc::StatusCode>(s.code()), s.message().substr(0, grpc::kMaxMessageText), s.details()};
}

}  // namespace

call::call(calls& of, ::grpc::GenericCallbackServerContext& context, const grpc::method& method)
    : of_(of),
      core_(of.shared),
      method_(method),
      begun_ns_(rt::nanotime()),
      deadline_ns_(nanotime_of(context.raw_deadline())),
      context_(&context) {
  if (const int64_t most = std::chrono::nanoseconds(core_.options.max_call_time).count();
      most != 0 && (deadline_ns_ == 0 || deadline_ns_ - begun_ns_ > most)) {
    deadline_ns_ = begun_ns_ + most;
    limited_ = true;
  }
  timer_.fn = &call::time_is_over;
  timer_.arg = this;
}

call::~call() {
  grpc_slice_unref(staged_);
  delete ended_by_.load(std::memory_order_relaxed);
  delete tls_.load(std::memory_order_relaxed);
}

void call::unref() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  calls& of = of_;
  of.remove(*this);
}

// --- news --------------------------------------------------------------------------------------------------------------------------------

// Handlers get a larger stack than goroutines usually have: what they write may run through gRPC's transport and TLS in place.
void call::act(uint32_t bits) {
  if ((bits & kBegun) != 0) {
    try {
      go([this] { run(); }, stack_size::large);
    } catch (...) {
      answer_over_handler(status_code::resource_exhausted, "the server has no memory for another call; try again later");
      unref();
    }
  }
  if ((bits & kCancelled) != 0) end_context();
  if ((bits & kExpired) != 0) answer_over_handler(status_code::deadline_exceeded, grpc::kDeadlinePassed);
  if ((bits & kKilled) != 0) answer_over_handler(status_code::unavailable, "the server is shutting down");
}

void call::OnReadDone(bool ok) {
  read_ok_ = ok;
  read_done_.set();
}

void call::OnWriteDone(bool ok) {
  write_ok_ = ok;
  writing_.store(false, std::memory_order_release);
  write_done_.set();
}

void call::OnCancel() {
  const bool late = deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_ - kDeadlineGrain;
  if (cancel(late ? status_code::deadline_exceeded : status_code::cancelled)) of_.news.post(*this, kCancelled);
}

void call::time_is_over(void* self, uintptr_t) {
  auto* c = static_cast<call*>(self);
  c->of_.news.post(*c, kExpired);
}

// --- the handler -------------------------------------------------------------------------------------------------------------------------

// What gRPC's context knows, while it is there.
void call::ask_context() {
  for (const auto& [key, value] : context_->client_metadata()) {
    const std::string_view name(key.data(), key.size());
    if (!grpc::reserved_header(name) && !grpc::connection_header(name)) metadata_.add_unchecked(name, {value.data(), value.size()});
  }
  authority_ = context_->host();
  peer_ = peer_text(context_->peer());
  if (core_.options.tls.enabled()) identity_ = context_->auth_context();
  accepts_ = grpc_call_test_only_get_encodings_accepted_by_peer(context_->c_call());
}

void call::run() noexcept {
  shard().started.fetch_add(1, std::memory_order_relaxed);
  status ended;
  try {
    if (limited_) {
      timer_.when = deadline_ns_;
      rt::timer_start(&timer_);
    }
    {
      std::lock_guard hold(mutex_);
      if (!finished_) ask_context();
    }
    ended = serve();
  } catch (...) {  // no memory
    ended = {status_code::unknown, std::string(grpc::kHandlerThrew)};
  }
  end(std::move(ended));
}

status call::serve() {
  if (takes_stream()) {
    arrived_ns_ = begun_ns_;
  } else {
    if (status wrong = receive_single(); !wrong.ok()) return wrong;
    arrived_ns_ = rt::nanotime();
    shard().received.fetch_add(1, std::memory_order_relaxed);
  }
  if (!admission_.enter(core_, method_)) return {status_code::unavailable, std::string(admission_.refusal())};
  if (const status_code why = cause(); why != status_code::ok) {
    // Nobody waits any more: the handler never runs.
    return {why, std::string(why == status_code::deadline_exceeded ? grpc::kTooLateToRun : "")};
  }
  return answer_of_handler();
}

status call::answer_of_handler() {
  if (!core_.interceptors.empty()) {
    return grpc::intercepted::run(core_.interceptors, method_.run, *method_.self, method_.kind, *this);
  }
  status ended;
  try {
    ended = method_.run(*method_.self, *this);
  } catch (...) {
    ended = {status_code::unknown, std::string(grpc::kHandlerThrew)};
  }
  return failed_.load(std::memory_order_acquire) ? failure() : ended;
}

// To a generic service every method is a bidirectional one: that there is exactly one request is ours to see to. The handler runs when the
// caller has said that no other will come.
status call::receive_single() {
  const int64_t allowed = std::chrono::nanoseconds(core_.options.request_timeout).count();
  const int64_t until = allowed == 0 ? 0 : begun_ns_ + allowed;
  ::grpc::ByteBuffer first;
  bool came = false;
  for (;;) {
    switch (read(until)) {
      case reading::message:
        if (came) return {status_code::unimplemented, std::string(grpc::kSecondRequest)};
        came = true;
        first.Swap(&incoming_);
        continue;
      case reading::none: break;
      case reading::late:
        core_.slow.fetch_add(1, std::memory_order_relaxed);
        answer_over_handler(status_code::deadline_exceeded,
                            "the request did not come whole within the server's request_timeout; send it faster");
        read_done_.wait(0);  // gRPC tells the end of every operation
        break;
    }
    break;
  }
  if (const status_code c = cause(); c != status_code::ok) return {c, ""};
  if (!came) return {status_code::unimplemented, std::string(grpc::kNoRequest)};
  incoming_.Swap(&first);
  return {};
}

void call::end(status ended) noexcept {
  if (limited_) rt::timer_stop_sync(&timer_);
  end_context();  // as in Go, with the handler: a goroutine that took it along learns that
  admission_.leave();
  drop_request_message();
  if (messages_sent_ != 0) shard().sent.fetch_add(messages_sent_, std::memory_order_relaxed);
  if (messages_taken_ != 0) shard().received.fetch_add(messages_taken_, std::memory_order_relaxed);
  await_write();
  if (ended.ok() && !sends_stream() && !has_reply_) ended = grpc::internal(std::string(grpc::kNoReply));
  if (deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_) ended = {status_code::deadline_exceeded, std::string(grpc::kDeadlinePassed)};
  const bool with_reply = ended.ok() && has_reply_;
  {
    std::lock_guard hold(mutex_);
    if (!std::exchange(finished_, true)) {
      const status_code why = cause_.load(std::memory_order_acquire);
      count_once(why != status_code::ok ? why : ended.code());
      send_headers_with_next();
      for (const auto e : trailing_) context_->AddTrailingMetadata(std::string(e.key), std::string(e.value));
      if (with_reply) {
        ::grpc::WriteOptions options;
        if (reply_encoding_ == encoding::identity) options.set_no_compression();
        StartWriteAndFinish(&outgoing_, options, ::grpc::Status::OK);
      } else {
        Finish(to_grpc(ended));
      }
    }
  }
  unref();
}

void call::fail(status why) {
  std::lock_guard hold(mutex_);
  if (failure_.ok()) failure_ = std::move(why);
  failed_.store(true, std::memory_order_release);
}

status call::failure() const {
  if (!failed_.load(std::memory_order_acquire)) return {};
  std::lock_guard hold(mutex_);
  return failure_;
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

// The next message into incoming_. late: nothing by `until` (nanotime; 0: no limit), and the operation still runs.
call::reading call::read(int64_t until) {
  {
    std::lock_guard hold(mutex_);
    if (finished_) return reading::none;
    StartRead(&incoming_);
  }
  if (!read_done_.wait(until)) return reading::late;
  return read_ok_ ? reading::message : reading::none;
}

bool call::next_message(std::span<const char>& bytes) {
  if (!takes_stream()) return !std::exchange(request_taken_, true) && open_message(bytes);
  if (reading_ended_) return false;
  if (read(0) == reading::message) {
    if (cause() == status_code::ok) {
      messages_taken_++;
      if (open_message(bytes)) return true;
    }
  } else {
    learn_why();
  }
  reading_ended_ = true;
  return false;
}

// A read that gives nothing is the caller's last word or a cancellation, and gRPC does not say which: that is told apart by another
// operation of the call (its end), whose news may be on its way on another thread. A handler that then asks whether it was cancelled, and
// takes half of an upload for the whole, must not be told wrong. A second read goes through gRPC behind that news, and then IsCancelled
// knows of it.
void call::learn_why() {
  constexpr int kReads = 4;  // the news is handled on another thread, which may be slow: one was seen not to be enough
  for (int i = 0; i < kReads; i++) {
    if (cause() != status_code::ok || read(0) == reading::message) return;
    bool over;
    {
      std::lock_guard hold(mutex_);
      over = !finished_ && context_->IsCancelled();
    }
    if (over) OnCancel();
  }
}

bool call::open_message(std::span<const char>& bytes) {
  const size_t limit = core_.options.max_receive_message;
  incoming_pieces pieces(&incoming_);
  const encoding how = pieces.compressed();
  request_compressed_ = how != encoding::identity;
  const void* data = nullptr;
  int size = 0;
  if (!pieces.Next(&data, &size)) {
    bytes = {};
  } else if (static_cast<size_t>(size) == incoming_.Length()) {
    bytes = {static_cast<const char*>(data), static_cast<size_t>(size)};
  } else {
    joined_.clear();
    do {
      joined_.append({static_cast<const char*>(data), static_cast<size_t>(size)});
    } while (pieces.Next(&data, &size));
    bytes = {joined_.data(), joined_.size()};
  }
  if (bytes.size() > limit) {
    fail(grpc::resource_exhausted(grpc::request_too_large(bytes.size(), limit)));
    return false;
  }
  if (!request_compressed_) return true;
  inflated_.clear();
  switch (grpc::inflate(how, {bytes.data(), bytes.size()}, limit, inflated_)) {
    case grpc::inflate_outcome::whole: bytes = {inflated_.data(), inflated_.size()}; return true;
    case grpc::inflate_outcome::too_large: fail(grpc::resource_exhausted(grpc::inflates_too_large(limit))); return false;
    case grpc::inflate_outcome::malformed: fail(grpc::internal(grpc::not_that_encoding(grpc::to_string(how)))); return false;
  }
  return false;
}

// --- writing -----------------------------------------------------------------------------------------------------------------------------

char* call::begin_message(size_t n) {
  if (n > core_.options.max_send_message || n > UINT32_MAX) {
    fail(grpc::resource_exhausted(std::string(grpc::kReplyTooLarge)));
    return nullptr;
  }
  grpc_slice_unref(std::exchange(staged_, grpc_slice_malloc(n)));
  return reinterpret_cast<char*>(GRPC_SLICE_START_PTR(staged_));
}

::grpc::ByteBuffer call::take_staged() {
  const ::grpc::Slice whole(std::exchange(staged_, grpc_empty_slice()), ::grpc::Slice::STEAL_REF);
  messages_sent_++;
  return {&whole, 1};
}

void call::end_reply() {
  ::grpc::ByteBuffer reply = take_staged();
  outgoing_.Swap(&reply);
  has_reply_ = true;
}

// Parks until gRPC has taken the message that was written last, which it does when the peer's window lets it. One message is thus on its
// way while the handler makes the next.
bool call::await_write() {
  while (writing_.load(std::memory_order_acquire)) write_done_.wait(0);
  if (!write_ok_) OnCancel();  // it means that the call is over, and the handler may ask before gRPC has said so
  return write_ok_;
}

bool call::end_stream_message(grpc::write_options options) {
  if (failed_.load(std::memory_order_relaxed)) return false;  // a request was bad: no answers to requests the handler never saw
  ::grpc::ByteBuffer next = take_staged();
  if (!await_write() || cause() != status_code::ok) return false;
  outgoing_.Swap(&next);
  ::grpc::WriteOptions how;
  if (!options.compress || reply_encoding_ == encoding::identity) how.set_no_compression();
  std::lock_guard hold(mutex_);
  if (finished_) return false;
  send_headers_with_next();
  writing_.store(true, std::memory_order_relaxed);
  StartWrite(&outgoing_, how);
  return true;
}

// REQUIRES: mutex_, not answered over the handler's head. The initial metadata leaves with the operation that is about to be started.
void call::send_headers_with_next() {
  if (std::exchange(headers_left_, true)) return;
  for (const auto e : initial_) context_->AddInitialMetadata(std::string(e.key), std::string(e.value));
  if (reply_encoding_ != encoding::identity) context_->set_compression_algorithm(static_cast<grpc_compression_algorithm>(reply_encoding_));
}

// --- the context -------------------------------------------------------------------------------------------------------------------------

std::optional<grpc::server_context::clock::time_point> call::deadline() const noexcept {
  if (deadline_ns_ == 0) return std::nullopt;
  return clock::time_point(std::chrono::nanoseconds(deadline_ns_));
}

status_code call::cause() const noexcept {
  const status_code c = cause_.load(std::memory_order_acquire);
  if (c == status_code::ok && deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_) return status_code::deadline_exceeded;
  return c;
}

// As on the native transport: published by one compare-and-swap; cancel() stores cause_, then somebody (the desk) looks for the context; we
// store the context, then look at cause_: all seq_cst, so at least one of the two sees the other.
warren::context call::as_context() {
  root<context_cell>* box = ended_by_.load(std::memory_order_acquire);
  if (box == nullptr) {
    const std::optional<clock::time_point> limit = deadline();
    auto* const fresh = new root<context_cell>(make<context_cell>(limit ? with_deadline(background(), *limit) : with_cancel(background())));
    if (ended_by_.compare_exchange_strong(box, fresh, std::memory_order_seq_cst)) {
      box = fresh;
      const status_code why = cause_.load(std::memory_order_seq_cst);
      if (why != status_code::ok && why != status_code::deadline_exceeded) (*box)->cancel();
    } else {
      (*fresh)->cancel();
      delete fresh;
    }
  }
  return (*box)->ctx;
}

bool call::cancel(status_code why) noexcept {
  status_code none = status_code::ok;
  return cause_.compare_exchange_strong(none, why, std::memory_order_seq_cst);
}

// On a goroutine. A context that ends by its deadline does so by itself, and with the right error.
void call::end_context() noexcept {
  root<context_cell>* const box = ended_by_.load(std::memory_order_seq_cst);
  if (box != nullptr && cause_.load(std::memory_order_relaxed) != status_code::deadline_exceeded) (*box)->cancel();
}

bool call::add_initial_metadata(std::string_view key, std::string_view value) { return !headers_left_ && initial_.add(key, value); }

bool call::send_initial_metadata() {
  if (headers_left_) return false;
  std::lock_guard hold(mutex_);
  if (finished_ || cause_.load(std::memory_order_relaxed) != status_code::ok) {
    headers_left_ = true;
    return false;
  }
  send_headers_with_next();
  StartSendInitialMetadata();
  return true;
}

bool call::compress(encoding how) {
  if (how != encoding::identity && (headers_left_ || (accepts_ >> static_cast<unsigned>(how) & 1) == 0)) return false;
  reply_encoding_ = how;
  return true;
}

const grpc::tls_info* call::tls() const noexcept {
  if (identity_ == nullptr) return nullptr;
  const grpc::tls_info* info = tls_.load(std::memory_order_acquire);
  if (info != nullptr) return info;
  const auto pem = identity_->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  auto* const fresh = new grpc::tls_info(pem.empty() ? grpc::tls_info() : grpc::tls_info_of_pem({pem.front().data(), pem.front().size()}));
  if (tls_.compare_exchange_strong(info, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return info;
}

// --- the end ---------------------------------------------------------------------------------------------------------------------------

// The handler may be running: nothing that is its own goes into the answer, and what it does from now on is for nothing.
void call::answer_over_handler(status_code code, std::string_view why) noexcept {
  cancel(code);
  {
    std::lock_guard hold(mutex_);
    if (!std::exchange(finished_, true)) {
      count_once(code);
      if (writing_.load(std::memory_order_acquire)) {
        const std::string text(why);
        grpc_call_cancel_with_status(context_->c_call(), static_cast<grpc_status_code>(code), text.c_str(), nullptr);
      }
      Finish({static_cast<::grpc::StatusCode>(code), std::string(why)});
    }
  }
  end_context();
}

// REQUIRES: mutex_.
void call::count_once(status_code code) noexcept {
  if (std::exchange(counted_, true)) return;
  shard().count(code, arrived_ns_ == 0 ? -1 : std::max<int64_t>(0, rt::nanotime() - arrived_ns_));
}

// Calls that follow one another take different copies: there is no connection to go by.
grpc::method_shard& call::shard() const noexcept { return method_.shard(static_cast<unsigned>(reinterpret_cast<uintptr_t>(this) >> 8)); }

}  // namespace warren::grpcpp
