// TLS over a stream.
//
// OpenSSL's SSL object is not for two threads at once, and one of the two (say the reader) may be parked for hours. So OpenSSL never waits:
// it is called under ssl_lock with I/O functions that return at once, and whoever must wait does so outside of it. Nobody parks while he
// holds ssl_lock, but to get it.
//
// In: the BIO's read is a try_read_some of the carrier. "Would block" comes back as WANT_READ, and the goroutine waits for the carrier to
// be readable. No buffer is held meanwhile: with SSL_MODE_RELEASE_BUFFERS OpenSSL gives its own back when nothing is left in it.
//
// That is so because a socket's try_read_some neither parks nor is a safepoint. What another carrier does there is not known, and a
// tls_conn as carrier has locks to take: a goroutine that parks inside OpenSSL may wake on another thread, with OpenSSL's error queue, its
// own and the carrier's, left behind on the first. So any carrier but a socket is read beforehand, outside of OpenSSL and of ssl_lock, into
// `fetched`, and the BIO's read takes it from there. One more copy of each byte, and a record at most of memory while there is any.
//
// Out: the BIO's write never fails and never waits: it appends to `out`. A record that OpenSSL has made must be sent, before any later one;
// if its write could end with WANT_WRITE, the caller would have to come back with the same bytes, and a caller whose deadline has passed
// does not. So a write that has been accepted is sent whatever becomes of its caller: by `flush`, under send_lock. `out` stays small: a
// write begins only when what is there has gone, and adds at most kBatch. A try_write_some that could not send all it made, and a reader
// that makes output (an alert), leave the rest to a goroutine of its own, the flusher.
//
// Locks, in this order: read_lock or write_lock (one reader, one writer; a handshake takes both, read_lock first), send_lock, ssl_lock.
//
// Rejected: a pair of memory BIOs (two more copies of each byte); asio::ssl::stream with a lock around it (it parks inside).
//
// starved says that the last SSL_read ran out of bytes with the carrier's queue empty. Without it wait_readable could not tell a
// half-received record, which lies in OpenSSL's buffer and is not worth waking for, from one that came together with the last one.
#include "warren/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include <algorithm>
#include <asio/ip/address.hpp>
#include <atomic>
#include <vector>

#include "netpoll/net_error.h"
#include "runtime/sched/park.h"
#include "warren/cond.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {

namespace {

constexpr size_t kRecord = 16384;       // the most that one TLS record carries (RFC 8446, 5.1)
constexpr size_t kBatch = 4 * kRecord;  // encrypted before a write to the carrier

asio::error_code last_ssl_error() {
  const unsigned long e = ERR_get_error();
  ERR_clear_error();
  if (ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return asio::ssl::error::stream_truncated;
  if (ERR_GET_REASON(e) == SSL_R_PROTOCOL_IS_SHUTDOWN) return asio::error::broken_pipe;
  return asio::error_code(static_cast<int>(e), asio::error::get_ssl_category());
}

[[noreturn]] void fail(const char* operation) { detail::throw_net_error(operation, last_ssl_error()); }

bool is_would_block(const asio::error_code& ec) noexcept { return ec == asio::error::would_block || ec == asio::error::try_again; }

}  // namespace

struct tls_conn::state : std::enable_shared_from_this<tls_conn::state> {
  std::unique_ptr<stream> carrier;
  SSL* ssl = nullptr;
  std::atomic<bool> closed{false};
  std::atomic<bool> established{false};

  mutex read_lock, write_lock, send_lock;
  mutex ssl_lock;
  // Guarded by ssl_lock.
  std::vector<char> out;         // made by OpenSSL, not sent yet
  asio::error_code input_error;  // of the carrier, at the BIO's last read; would_block is none
  bool input_ended = false;
  bool flusher = false;                    // exists
  std::shared_ptr<state>* heir = nullptr;  // of the flusher's reference: close() waits for its end
  cond flusher_left;
  // Guarded by read_lock.
  bool starved = false;
  const bool is_socket;  // the carrier
  // If it is none: its bytes that OpenSSL has not taken yet, from fetched_from on. Guarded by read_lock; the BIO runs for who holds that.
  std::vector<char> fetched;
  size_t fetched_from = 0;
  bool fetched_all = false;  // the carrier has ended
  // Guarded by send_lock: taken from `out`, sent up to sent_to.
  std::vector<char> sending;
  size_t sent_to = 0;
  // Who holds send_lock and is, or may be, inside of the carrier's write. Compared with oneself only.
  std::atomic<const rt::g*> sender{nullptr};

  state(std::unique_ptr<stream> c, SSL_CTX* context);
  ~state() { SSL_free(ssl); }  // and the BIO

  void fetch();
  size_t take(char* data, size_t size) noexcept;
  bool flush(bool park, asio::error_code& ec);
  void flush_later();
  void await_flusher() noexcept;
  void flush_soon();
  bool wait_for_input(asio::error_code& ec);
  void take_input_error(asio::error_code& ec);
  bool has_input(asio::error_code& ec);
  void handshake(role r, asio::error_code& ec);
  size_t read(const iovec* v, int count, bool park, asio::error_code& ec);
  size_t write(const iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec);
  // One operation here may be several of the carrier's, and close() may come between two of them: the later one is told bad_descriptor, as
  // one that begins after the close. For ours, which began before, it is operation_aborted.
  void tell_of_close(asio::error_code& ec) const noexcept {
    if (ec == asio::error::bad_descriptor && closed.load(std::memory_order_acquire)) ec = asio::error::operation_aborted;
  }
  size_t encrypt(const iovec* v, int count, size_t from, size_t most, asio::error_code& ec);
  void say_goodbye(bool park, asio::error_code& ec);

  static int bio_read(BIO* b, char* data, size_t size, size_t* n);
  static int bio_write(BIO* b, const char* data, size_t size, size_t* n);
  static long bio_control(BIO* b, int command, long, void*);
  static BIO_METHOD* bio_method();
};

// --- what OpenSSL calls, under ssl_lock
// ----------------------------------------------------------------------------------------------------

int tls_conn::state::bio_read(BIO* b, char* data, size_t size, size_t* n) {
  state* s = static_cast<state*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  if (!s->is_socket) {
    *n = s->take(data, size);
    if (*n != 0) return 1;
    s->input_ended = s->fetched_all;
    if (!s->fetched_all) BIO_set_retry_read(b);
    return 0;
  }
  asio::error_code ec;
  *n = s->carrier->try_read_some(asio::buffer(data, size), ec);
  if (!ec) return 1;
  if (ec == asio::error::eof) {
    s->input_ended = true;
    return 0;
  }
  // An error of the carrier is kept from OpenSSL, which would never work again after it: a deadline is no reason for that. It is that of
  // the last attempt: a deadline that has been put off since must not be told of by the next one.
  s->input_error = is_would_block(ec) ? asio::error_code() : ec;
  BIO_set_retry_read(b);
  return 0;
}

int tls_conn::state::bio_write(BIO* b, const char* data, size_t size, size_t* n) {
  state* s = static_cast<state*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  try {
    s->out.insert(s->out.end(), data, data + size);
  } catch (const std::bad_alloc&) {
    return 0;  // no exception through C
  }
  *n = size;
  return 1;
}

long tls_conn::state::bio_control(BIO* b, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return static_cast<state*>(BIO_get_data(b))->input_ended;
    default: return 0;
  }
}

BIO_METHOD* tls_conn::state::bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "warren::stream");
    if (m == nullptr) fail("tls");
    BIO_meth_set_read_ex(m, &bio_read);
    BIO_meth_set_write_ex(m, &bio_write);
    BIO_meth_set_ctrl(m, &bio_control);
    BIO_meth_set_create(m, [](BIO* b) {
      BIO_set_init(b, 1);
      return 1;
    });
    return m;
  }();
  return method;
}

tls_conn::state::state(std::unique_ptr<stream> c, SSL_CTX* context)
    : carrier(std::move(c)), is_socket(dynamic_cast<detail::socket_stream*>(carrier.get()) != nullptr) {
  BIO_METHOD* method = bio_method();
  ssl = SSL_new(context);
  if (ssl == nullptr) fail("tls");
  BIO* b = BIO_new(method);
  if (b == nullptr) {
    SSL_free(ssl);
    fail("tls");
  }
  BIO_set_data(b, this);
  SSL_set_bio(ssl, b, b);
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_set_read_ahead(ssl, 1);                     // a whole record, or several, by one system call
  SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);  // a write would have to read
}

// --- sending
// -------------------------------------------------------------------------------------------------------------------------------

// Sends what `out` holds. park false: as far as that goes without waiting; false without ec then if something is left.
bool tls_conn::state::flush(bool park, asio::error_code& ec) {
  ec.clear();
  for (;;) {
    if (park) {
      send_lock.lock();
    } else if (!send_lock.try_lock()) {
      return false;
    }
    sender.store(rt::getg(), std::memory_order_relaxed);
    bool blocked = false;
    for (;;) {
      if (sent_to == sending.size()) {
        sending.clear();
        sent_to = 0;
        lock_guard held(ssl_lock);
        sending.swap(out);
        if (sending.empty()) break;
      }
      const asio::const_buffer rest(sending.data() + sent_to, sending.size() - sent_to);
      sent_to += park ? carrier->write(rest, ec) : carrier->try_write_some(rest, ec);
      if (!ec) continue;
      blocked = !park && is_would_block(ec);
      if (blocked) ec.clear();
      break;
    }
    if (!ec && !blocked && sending.capacity() > kBatch + kRecord) std::vector<char>().swap(sending);
    sender.store(nullptr, std::memory_order_relaxed);
    send_lock.unlock();
    if (ec || blocked) return false;
    // Whoever made output after our last look found send_lock taken and left it to us.
    lock_guard held(ssl_lock);
    if (out.empty()) return true;
  }
}

// A goroutine of its own waits until what is left has gone. If it fails so will the next who writes.
void tls_conn::state::flush_later() {
  lock_guard held(ssl_lock);
  if (flusher || closed.load(std::memory_order_acquire)) return;
  warren::go([self = shared_from_this()]() mutable {
    state& s = *self;
    for (;;) {
      asio::error_code ec;
      const bool sent = s.flush(true, ec);
      lock_guard held(s.ssl_lock);
      if (sent && !s.out.empty()) continue;
      s.flusher = false;
      if (s.heir != nullptr) {
        *s.heir = std::move(self);
        s.flusher_left.signal();  // the last access but for the unlock, after which a mutex may be destroyed
      }
      return;
    }
  });
  flusher = true;
}

// The carrier is closed, which ends the flusher's wait for it: so this parks a moment only. With the flusher's reference taken over what it
// used goes when the caller says, and not whenever a goroutine that nobody knows of comes to run. REQUIRES: closed, so that no other
// flusher begins.
//
// A carrier that closes the connection above it from within its own write is the flusher itself, or a writer whose send_lock the flusher
// may be waiting for: it does not wait. The flusher leaves when that write has returned.
void tls_conn::state::await_flusher() noexcept {
  if (sender.load(std::memory_order_relaxed) == rt::getg()) return;
  std::shared_ptr<state> theirs;
  lock_guard held(ssl_lock);
  heir = &theirs;
  while (flusher) flusher_left.wait(ssl_lock);
  heir = nullptr;
}

void tls_conn::state::flush_soon() {
  asio::error_code ec;
  if (!flush(false, ec) && !ec) flush_later();
}

// --- receiving from a carrier that is no socket
// ----------------------------------------------------------------------------------------------

// Takes what the carrier has, as far as that goes without waiting. REQUIRES: read_lock; not ssl_lock.
void tls_conn::state::fetch() {
  if (is_socket || fetched_all || fetched_from < fetched.size()) return;
  fetched_from = 0;
  asio::error_code ec;
  size_t n = 0;
  try {
    fetched.resize(kRecord);
    n = carrier->try_read_some(asio::buffer(fetched), ec);
  } catch (const std::bad_alloc&) {
    ec = asio::error::no_memory;
  }
  if (n == 0) {
    std::vector<char>().swap(fetched);  // idle connections hold no buffer
  } else {
    fetched.resize(n);
  }
  if (ec == asio::error::eof) {
    fetched_all = true;
  } else {
    lock_guard held(ssl_lock);
    input_error = is_would_block(ec) ? asio::error_code() : ec;
  }
}

size_t tls_conn::state::take(char* data, size_t size) noexcept {
  const size_t n = std::min(size, fetched.size() - fetched_from);
  if (n != 0) memcpy(data, fetched.data() + fetched_from, n);
  fetched_from += n;
  return n;
}

// --- handshake
// -----------------------------------------------------------------------------------------------------------------------------

// REQUIRES: read_lock. After WANT_READ.
bool tls_conn::state::wait_for_input(asio::error_code& ec) {
  take_input_error(ec);
  return !ec && carrier->wait_readable(ec);
}

void tls_conn::state::take_input_error(asio::error_code& ec) {
  lock_guard held(ssl_lock);
  ec = input_error;
  input_error.clear();
}

// REQUIRES: read_lock. Is there something to read without the carrier? false: ec says whether its next wait would be of use.
bool tls_conn::state::has_input(asio::error_code& ec) {
  if (!starved) {
    lock_guard held(ssl_lock);
    if (SSL_has_pending(ssl) != 0 || fetched_from < fetched.size()) return true;
  }
  take_input_error(ec);
  return false;
}

void tls_conn::state::handshake(role r, asio::error_code& ec) {
  lock_guard reading(read_lock);
  lock_guard writing(write_lock);
  ec.clear();
  for (;;) {
    int how;
    asio::error_code failure;
    fetch();
    {
      lock_guard held(ssl_lock);
      if (SSL_get_state(ssl) == TLS_ST_BEFORE) r == client ? SSL_set_connect_state(ssl) : SSL_set_accept_state(ssl);
      ERR_clear_error();
      how = SSL_get_error(ssl, SSL_do_handshake(ssl));
      if (how == SSL_ERROR_SSL) failure = last_ssl_error();
    }
    if (how == SSL_ERROR_WANT_READ || how == SSL_ERROR_NONE) {
      if (!flush(true, ec)) return;
      if (how == SSL_ERROR_NONE) {
        established.store(true, std::memory_order_release);
        return;
      }
      if (!wait_for_input(ec)) return;
      continue;
    }
    flush_soon();  // the alert that tells the peer why
    ec = how == SSL_ERROR_SSL ? failure : asio::error_code(asio::ssl::error::stream_truncated);
    return;
  }
}

// --- reading and writing
// -------------------------------------------------------------------------------------------------------------------

size_t tls_conn::state::read(const iovec* v, int count, bool park, asio::error_code& ec) {
  ec.clear();
  if (park) {
    read_lock.lock();
  } else if (!read_lock.try_lock()) {
    ec = asio::error::would_block;
    return 0;
  }
  size_t total = 0;
  for (;;) {
    int how = SSL_ERROR_NONE;
    bool output;
    fetch();
    {
      lock_guard held(ssl_lock);
      for (int i = 0; i < count; ++i) {
        size_t n = 0;
        ERR_clear_error();
        const int ok = SSL_read_ex(ssl, v[i].iov_base, v[i].iov_len, &n);
        total += n;
        if (ok != 1 && i == 0) how = SSL_get_error(ssl, ok);
        if (how == SSL_ERROR_SSL) ec = last_ssl_error();
        if (n < v[i].iov_len || SSL_pending(ssl) == 0) break;
      }
      output = !out.empty();
    }
    if (output) flush_soon();
    starved = how == SSL_ERROR_WANT_READ;
    if (total != 0) break;
    if (how == SSL_ERROR_WANT_READ) {
      if (park) {
        if (wait_for_input(ec)) continue;
      } else {
        lock_guard held(ssl_lock);
        ec = input_error ? input_error : asio::error_code(asio::error::would_block);
        input_error.clear();
      }
    } else if (how == SSL_ERROR_ZERO_RETURN) {
      ec = asio::error::eof;
    } else if (!ec) {
      ec = asio::ssl::error::stream_truncated;
    }
    break;
  }
  read_lock.unlock();
  return total;
}

// Makes records of up to `most` bytes of v, from byte `from` on. Several small pieces share one record. REQUIRES: write_lock.
size_t tls_conn::state::encrypt(const iovec* v, int count, size_t from, size_t most, asio::error_code& ec) {
  std::vector<char> gathered;
  size_t done = 0;
  lock_guard held(ssl_lock);
  while (count > 0 && done < most) {
    if (from >= v->iov_len) {
      from -= v->iov_len;
      ++v;
      --count;
      continue;
    }
    const char* data = static_cast<const char*>(v->iov_base) + from;
    size_t size = std::min({v->iov_len - from, most - done, kRecord});
    if (size < kRecord && count > 1 && size < most - done) {
      gathered.clear();
      const iovec* p = v;
      size_t at = from;
      for (int left = count; left > 0 && gathered.size() < std::min(kRecord, most - done); --left, ++p, at = 0) {
        const char* b = static_cast<const char*>(p->iov_base) + at;
        gathered.insert(gathered.end(), b, b + std::min(p->iov_len - at, std::min(kRecord, most - done) - gathered.size()));
      }
      data = gathered.data();
      size = gathered.size();
    }
    size_t n = 0;
    ERR_clear_error();
    const int ok = SSL_write_ex(ssl, data, size, &n);
    if (ok != 1) {
      const int how = SSL_get_error(ssl, ok);
      // WANT_READ: no handshake was made; SYSCALL: no memory for the output.
      ec = how == SSL_ERROR_SSL         ? last_ssl_error()
           : how == SSL_ERROR_WANT_READ ? asio::error_code(asio::error::not_connected)
                                        : asio::error_code(asio::error::no_memory);
      break;
    }
    done += n;
    from += n;
  }
  return done;
}

size_t tls_conn::state::write(const iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) {
  ec.clear();
  const bool park = mode != write_mode::attempt;
  if (park) {
    write_lock.lock();
  } else if (!write_lock.try_lock()) {
    ec = asio::error::would_block;
    return 0;
  }
  size_t done = 0;
  if (closed.load(std::memory_order_acquire)) {
    ec = asio::error::operation_aborted;  // while we waited for the lock
  } else if (!flush(park, ec)) {
    if (!ec) {
      flush_later();
      ec = asio::error::would_block;
    }
  } else {
    do {
      done += encrypt(v, count, done, std::min(kBatch, bytes - done), ec);
      asio::error_code sent;
      if (!flush(park, sent) && !sent) flush_later();
      if (ec || !sent) continue;
      // What was accepted is sent later, so a deadline need not be told of before the next write.
      if (mode != write_mode::some || sent != asio::error::timed_out) {
        ec = sent;
        if (mode != write_mode::all) done = 0;
      }
    } while (mode == write_mode::all && !ec && done < bytes);
  }
  write_lock.unlock();
  return done;
}

// REQUIRES: write_lock.
void tls_conn::state::say_goodbye(bool park, asio::error_code& ec) {
  {
    lock_guard held(ssl_lock);
    ERR_clear_error();
    if (established.load(std::memory_order_acquire)) SSL_shutdown(ssl);  // 0 or 1: sent; errors: nothing that could be said any more
    ERR_clear_error();
  }
  flush(park, ec);
}

// --- tls_conn
// ------------------------------------------------------------------------------------------------------------------------------

tls_conn::tls_conn() noexcept = default;
tls_conn::tls_conn(tls_conn&&) noexcept = default;

tls_conn& tls_conn::operator=(tls_conn&& from) noexcept {
  if (this != &from) {
    if (state_ != nullptr) close();
    state_ = std::move(from.state_);
  }
  return *this;
}

tls_conn::tls_conn(std::unique_ptr<stream> carrier, asio::ssl::context& context)
    : state_(std::make_shared<state>(std::move(carrier), context.native_handle())) {}

tls_conn::~tls_conn() {
  if (state_ != nullptr) close();
}

void tls_conn::host_name(const std::string& name) {
  if (state_ == nullptr) detail::throw_net_error("host_name", asio::error::bad_descriptor);
  SSL* ssl = state_->ssl;
  asio::error_code not_numeric;
  asio::ip::make_address(name, not_numeric);
  // An address is no name for SNI (RFC 6066, 3), but may stand in a certificate.
  if (!not_numeric) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) != 1) fail("host_name");
    return;
  }
  if (SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) fail("host_name");
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (SSL_set1_host(ssl, name.c_str()) != 1) fail("host_name");
}

void tls_conn::handshake(role r, asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return;
  }
  state_->handshake(r, ec);
  state_->tell_of_close(ec);
}

void tls_conn::handshake(role r) {
  asio::error_code ec;
  handshake(r, ec);
  if (ec) detail::throw_net_error("TLS handshake", ec);
}

std::string tls_conn::alpn() const {
  if (state_ == nullptr) return {};
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(state_->ssl, &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::string tls_conn::protocol() const { return state_ == nullptr ? "" : SSL_get_version(state_->ssl); }
std::string tls_conn::cipher() const { return state_ == nullptr ? "" : SSL_get_cipher_name(state_->ssl); }
void* tls_conn::native_handle() const noexcept { return state_ == nullptr ? nullptr : state_->ssl; }
std::string tls_conn::peer_name() const { return state_ == nullptr ? std::string() : state_->carrier->peer_name(); }

bool tls_conn::is_open() const noexcept {
  return state_ != nullptr && !state_->closed.load(std::memory_order_acquire) && state_->carrier->is_open();
}

size_t tls_conn::read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  if (bytes == 0) {
    ec.clear();
    return 0;
  }
  const size_t n = state_->read(v, count, park, ec);
  state_->tell_of_close(ec);
  return n;
}

size_t tls_conn::write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  if (bytes == 0) {
    ec.clear();
    return 0;
  }
  const size_t n = state_->write(v, count, bytes, mode, ec);
  state_->tell_of_close(ec);
  return n;
}

void tls_conn::set_deadline(int64_t ns, side which) {
  if (state_ == nullptr) return;
  const clock::time_point t = ns == 0 ? clock::time_point::max() : clock::time_point(std::chrono::nanoseconds(ns));
  switch (which) {
    case side::read: state_->carrier->read_deadline(t); break;
    case side::write: state_->carrier->write_deadline(t); break;
    case side::both: state_->carrier->deadline(t); break;
  }
}

bool tls_conn::wait_readable(asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  state& s = *state_;
  lock_guard reading(s.read_lock);
  ec.clear();
  if (s.has_input(ec)) return true;
  if (ec || !s.carrier->wait_readable(ec)) {
    s.tell_of_close(ec);
    return false;
  }
  s.starved = false;
  return true;
}

// As wait_readable, up to the wait. What the carrier knows when that is over it still knows when fn asks again, and then `starved` is put
// right.
bool tls_conn::go_when_readable(void (*fn)(void*), void* arg, asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  state& s = *state_;
  ec.clear();
  {
    lock_guard reading(s.read_lock);
    if (s.has_input(ec)) return false;
  }
  if (!ec && s.carrier->go_when_readable(fn, arg, ec)) return true;  // *this may be gone
  if (ec) {
    s.tell_of_close(ec);
    return false;
  }
  lock_guard reading(s.read_lock);
  s.starved = false;
  return false;
}

void tls_conn::shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) {
  if (state_ == nullptr || state_->closed.load(std::memory_order_acquire)) {
    ec = asio::error::bad_descriptor;
    return;
  }
  state& s = *state_;
  switch (what) {
    case asio::socket_base::shutdown_receive: s.carrier->shutdown(what, ec); return;
    case asio::socket_base::shutdown_send: {
      lock_guard writing(s.write_lock);
      s.say_goodbye(true, ec);
      if (!ec) s.carrier->shutdown(what, ec);
      s.tell_of_close(ec);
      return;
    }
    case asio::socket_base::shutdown_both: break;
  }
  if (s.write_lock.try_lock()) {
    s.say_goodbye(false, ec);
    s.write_lock.unlock();
  }
  s.carrier->shutdown(asio::socket_base::shutdown_both, ec);
}

void tls_conn::close(asio::error_code& ec) noexcept {
  if (state_ == nullptr || state_->closed.exchange(true, std::memory_order_acq_rel)) {
    ec = asio::error::bad_descriptor;
    return;
  }
  state& s = *state_;
  // On a foreign thread the locks, which park, cannot be had: the peer sees the connection end without a word.
  if (rt::getg() != nullptr && s.write_lock.try_lock()) {
    asio::error_code ignored;
    try {
      s.say_goodbye(false, ignored);
    } catch (...) {  // no memory: likewise
    }
    s.write_lock.unlock();
  }
  s.carrier->close(ec);
  if (rt::getg() != nullptr) s.await_flusher();
}

// --- ALPN
// ----------------------------------------------------------------------------------------------------------------------------------

namespace {

// Names with their length before each (RFC 7301, 3.1).
std::string wire_form(const std::vector<std::string>& names, const char* operation) {
  std::string out;
  for (const std::string& n : names) {
    if (n.empty() || n.size() > 255) {
      throw net_error(asio::error::invalid_argument,
                      rt::net_error_line(operation, {}, asio::error::invalid_argument,
                                         "protocol name of " + std::to_string(n.size()) + " bytes; it has 1 to 255"));
    }
    out += static_cast<char>(n.size());
    out += n;
  }
  return out;
}

struct alpn_choice {
  std::string ours;
  bool required;
};

int alpn_index() {
  static const int index =
      SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr,
                               [](void*, void* choice, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<alpn_choice*>(choice); });
  return index;
}

int choose_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered, unsigned size, void* arg) {
  const alpn_choice* c = static_cast<const alpn_choice*>(arg);
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(c->ours.data()),
                            static_cast<unsigned>(c->ours.size()), offered, size) == OPENSSL_NPN_NEGOTIATED) {
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  }
  return c->required ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

void alpn_server(asio::ssl::context& context, const std::vector<std::string>& ours, bool required) {
  SSL_CTX* c = context.native_handle();
  auto* choice = new alpn_choice{wire_form(ours, "alpn_server"), required};
  delete static_cast<alpn_choice*>(SSL_CTX_get_ex_data(c, alpn_index()));
  SSL_CTX_set_ex_data(c, alpn_index(), choice);
  SSL_CTX_set_alpn_select_cb(c, &choose_alpn, choice);
}

void alpn_client(asio::ssl::context& context, const std::vector<std::string>& offered) {
  const std::string wire = wire_form(offered, "alpn_client");
  if (SSL_CTX_set_alpn_protos(context.native_handle(), reinterpret_cast<const unsigned char*>(wire.data()),
                              static_cast<unsigned>(wire.size())) != 0)
    fail("alpn_client");
}

}  // namespace warren
