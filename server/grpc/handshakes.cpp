// A handshake is a goroutine of its own: a client that is slow, or says nothing, holds up nobody. What bounds it:
//   - time: one deadline for the whole, not for each byte, so trickling gains nothing;
//   - number: a handshake costs some 40 KiB of OpenSSL's while it lasts. When there are too many the oldest is ended, not the newest
//   refused:
//     an honest client is done within a round trip or two, so the oldest is the one least likely to be honest. To keep others out somebody
//     must open max_handshakes connections per round trip of theirs, and not only once per handshake_timeout.
// To end one is to move its deadline into the past: the goroutine wakes, sees why, and closes by itself. Nobody closes a stream that
// another goroutine is about to move.
#include "server/grpc/handshakes.h"

#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace warren::grpc {

namespace {

constexpr std::string_view kNotH2 = "ALPN did not choose h2, and this port speaks gRPC only; use a client that offers h2 by ALPN";

// How long the words for a client that did not choose h2 may take.
constexpr std::chrono::nanoseconds kLastWords = std::chrono::seconds(1);

std::string not_h2_answer() {
  // An empty SETTINGS frame (the server's preface) and GOAWAY(last stream 0, INADEQUATE_SECURITY) with the reason as debug data.
  std::string out(9, '\0');
  out[3] = NGHTTP2_SETTINGS;
  const auto size = static_cast<uint32_t>(8 + kNotH2.size());
  out += {static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size), NGHTTP2_GOAWAY, 0, 0, 0, 0, 0};
  out += {0, 0, 0, 0, 0, 0, 0, NGHTTP2_INADEQUATE_SECURITY};
  out += kNotH2;
  return out;
}

// Our last word (an alert, a GOAWAY) is on its way. A client of TLS 1.3 may have sent its first request behind its part of the handshake:
// closing with that unread would reset the connection and take the word out of the client's hands.
void linger(warren::stream& carrier) {
  asio::error_code ec;
  carrier.deadline(kLastWords);
  carrier.shutdown(asio::socket_base::shutdown_send, ec);
  char unread[1024];
  while (!ec) carrier.read_some(asio::buffer(unread), ec);
}

}  // namespace

uint32_t handshakes::under_way() const noexcept {
  std::lock_guard hold(mutex_);
  return present_;
}

// REQUIRES: mutex_.
void handshakes::end(entry& e) {
  if (std::exchange(e.ended, true)) return;
  count_--;
  e.conn->deadline(std::chrono::nanoseconds(0));
}

bool handshakes::enter(entry& e) {
  std::lock_guard hold(mutex_);
  if (stopping_) return false;
  if (count_ >= options_.max_handshakes) {
    entry* victim = oldest_;
    while (victim != nullptr && victim->ended) victim = victim->newer;
    if (victim != nullptr) {
      end(*victim);
      evicted.fetch_add(1, std::memory_order_relaxed);
    }
  }
  e.older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = &e;
  newest_ = &e;
  count_++;
  present_++;
  return true;
}

void handshakes::leave(entry& e) {
  std::lock_guard hold(mutex_);
  (e.older != nullptr ? e.older->newer : oldest_) = e.newer;
  (e.newer != nullptr ? e.newer->older : newest_) = e.older;
  if (!e.ended) count_--;
  present_--;
  if (stopping_ && present_ == 0) none_left_.set();
}

void handshakes::stop() {
  {
    std::lock_guard hold(mutex_);
    stopping_ = true;
    for (entry* e = oldest_; e != nullptr; e = e->newer) end(*e);
    if (present_ == 0) none_left_.set();
  }
  none_left_.wait();
}

// OpenSSL alerts no_application_protocol to a client that offers others; one that offers none at all gets here.
void handshakes::tell_not_h2(tls_conn& c) {
  not_h2.fetch_add(1, std::memory_order_relaxed);
  asio::error_code ec;
  static const std::string answer = not_h2_answer();
  c.write_deadline(kLastWords);
  c.write(asio::buffer(answer), ec);
  if (!ec) c.shutdown(asio::socket_base::shutdown_send, ec);
}

std::unique_ptr<warren::stream> handshakes::run(std::unique_ptr<warren::stream> carrier, tls_info& info) {
  const std::shared_ptr<asio::ssl::context> context = credentials_.current();
  warren::stream& below = *carrier;
  auto conn = std::make_unique<tls_conn>(std::move(carrier), *context);
  conn->deadline(std::chrono::nanoseconds(options_.handshake_timeout));
  entry e{conn.get()};
  if (!enter(e)) return nullptr;
  asio::error_code ec;
  conn->handshake(tls_conn::server, ec);
  const bool good = !ec && conn->alpn() == "h2";
  if (!ec && !good) tell_not_h2(*conn);
  if ((ec && ec.category() == asio::error::get_ssl_category()) || (!ec && !good)) linger(below);
  leave(e);
  if (good) {
    done.fetch_add(1, std::memory_order_relaxed);
    conn->deadline(std::chrono::nanoseconds::max());  // after leave(): nobody moves it any more
    info = tls_info_of(conn->native_handle());
    return conn;
  }
  if (ec == asio::error::timed_out) {
    if (!e.ended) timed_out.fetch_add(1, std::memory_order_relaxed);
  } else if (ec) {
    const bool alpn = ec.category() == asio::error::get_ssl_category() &&
                      ERR_GET_REASON(static_cast<unsigned long>(ec.value())) == SSL_R_NO_APPLICATION_PROTOCOL;
    (alpn ? not_h2 : failed).fetch_add(1, std::memory_order_relaxed);
  }
  return nullptr;
}

}  // namespace warren::grpc
