// How goroutines share a client's connection: as they do a server's (server/http2/connection.cpp), but with fewer roles.
//
//   - the OWNER (http2/owner_word.h) is whoever touches the session at the moment, for microseconds: a goroutine that begins a call, writes
//     a message or gives one up posts its stream's node; if nobody owns the connection it becomes the owner, submits, and writes;
//   - the READER, one goroutine for the connection's life, reads the socket, feeds the session, and readies the goroutines of the calls
//     whose answers came; it also keeps the time (below);
//   - the FLUSHER exists only while the socket is full.
//
// One write for many calls. A goroutine that posts while others run finds the word owned and leaves its node to the owner: one write. But
// on one P goroutines post one after another, each would own and write for itself. So a poster that becomes the owner while other streams
// are open lets the other goroutines run once before it writes (gosched, as grpc-go's loopyWriter does): they push their nodes, and one
// write takes all. With no other stream open there is nobody to wait for.
//
// The line. A server says how many streams may be open at once. Calls above that wait here, in the order they came, in a list that a call
// can leave when its deadline passes, and that a GOAWAY empties back to the channel, which finds them another connection.
//
// Time needs no timer: the reader is parked in wait_readable, with the moment of what is due next (first SETTINGS, keepalive) as its read
// deadline. Bytes that come move those moments without touching the deadline; the reader then wakes too early, looks, and parks again. With
// keepalive on and no call open it wakes once per keepalive time for nothing.
//
// Lifetime. Whoever posts keeps the connection by its shared_ptr; reader and flusher hold one each. A stream's object is pinned from kStart
// to on_closed, and while its node is queued: the poster that set kQueued pins it, the owner that handles the node unpins it. So a call may
// be dropped by its caller at any moment.
//
// After the end (the reader has left) the connection is an empty shell that answers every kStart with "never sent".
//
// Rejected: nghttp2's own queue of requests above the limit (nobody could leave it, and after a GOAWAY its content would have to be told
// from what was sent); a timer for keepalive (its function may not own: a goroutine for alarms per channel, which parks for ever).
#include "server/client/connection.h"

#include <algorithm>
#include <utility>

#include <warren/go.h>

#include "runtime/os/clock.h"
#include "server/client/limits.h"
#include "server/http2/limits.h"

namespace warren::grpc::client {

using http2::node;
using time_point = warren::stream::clock::time_point;

namespace {
time_point at(int64_t nanotime) { return nanotime == 0 ? time_point::max() : time_point(std::chrono::nanoseconds(nanotime)); }

int64_t later(int64_t now, std::chrono::nanoseconds d) { return d.count() > INT64_MAX - now ? 0 : now + d.count(); }

std::string name_of(uint32_t error_code) { return nghttp2_http2_strerror(error_code); }
}  // namespace

connection::connection(std::unique_ptr<warren::stream> socket, std::shared_ptr<host> h, std::shared_ptr<http2::block_pool> blocks,
                       const connection_options& options)
    : host_(std::move(h)),
      blocks_(std::move(blocks)),
      options_(options),
      socket_(std::move(socket)),
      peer_(socket_->peer_name()),
      session_(options.session, *this) {}

connection::~connection() {
  if (out_ != nullptr) blocks_->give(out_);
}

void connection::start() {
  word_.own_first();
  heard_at_ = rt::nanotime();
  settings_due_ = later(heard_at_, options_.settings_timeout);
  go([self = shared_from_this()] { self->read_loop(); });
  release();  // sends the preface
}

// --- owning ------------------------------------------------------------------------------------------------------------------------------

void connection::post(stream& s, uint32_t bits) {
  if ((s.events.fetch_or(bits | node::kQueued, std::memory_order_acq_rel) & node::kQueued) != 0) return;
  s.pin();
  if (!word_.enqueue(s)) return;
  const bool others = open_count_ > 1;
  handle(s);
  if (others && (bits & (stream::kStart | stream::kOutput)) != 0) rt::gosched();
  release();
}

void connection::post_control(uint32_t bits) {
  if ((control_node_.events.fetch_or(bits | node::kQueued, std::memory_order_acq_rel) & node::kQueued) != 0) return;
  if (!word_.enqueue(control_node_)) return;
  handle(control_node_);
  release();
}

void connection::release() {
  for (;;) {
    while (node* n = word_.take()) {
      // Latest first as they come; the line is first come, first served, so they are turned round.
      node* turned = nullptr;
      while (n != nullptr) {
        node* const after = n->next;
        n->next = turned;
        turned = n;
        n = after;
      }
      while (turned != nullptr) {
        node* const after = turned->next;  // handling it may free it or let it be pushed again
        handle(*turned);
        turned = after;
      }
    }
    admit();
    flush();
    note_end();
    if (reader_queued_ && (!reader_needs_drain_ || dead_ || cut_off_ || !session_.backed_up())) {
      reader_queued_ = false;
      reader_needs_drain_ = false;
      word_.grant();
      return;
    }
    if (word_.leave()) return;
  }
}

void connection::handle(node& n) {
  if (n.what == node::kind::reader) {
    reader_queued_ = true;
    return;
  }
  const uint32_t bits = n.events.exchange(0, std::memory_order_acq_rel) & ~node::kQueued;
  switch (n.what) {
    case node::kind::stream: {
      auto& s = static_cast<stream&>(n);
      handle_stream(s, bits);
      s.unpin();
      break;
    }
    case node::kind::flusher:
      flushing_ = false;
      if (dead_) out_at_ = out_end_;
      socket_->write_deadline(time_point::max());
      if (flush_error_) write_failed(flush_error_);
      break;
    case node::kind::soon:
    case node::kind::goodbye: break;  // the server's
    case node::kind::control:
      if ((bits & kDrain) != 0) {
        draining_ = true;
        stop_accepting("the channel has no use for the connection any more", false);
      }
      if ((bits & kKill) != 0) {
        killed_ = true;
        if (!dead_) {
          // The server learns it, if its socket has room: first what was queued before (GOAWAY would take its place), then that this is the
          // end.
          flush();
          session_.terminate(NGHTTP2_NO_ERROR);
          flush();
        }
        die("the channel was closed");
      }
      break;
    case node::kind::reader: break;
  }
}

void connection::handle_stream(stream& s, uint32_t bits) {
  if ((bits & stream::kStart) != 0) {
    s.pin();  // until on_closed
    if (!accepting_ || !reader_alive_ || dead_) {
      close_stream(s, ending::never_sent, NGHTTP2_REFUSED_STREAM, why_);
    } else if ((bits & stream::kReset) != 0 || s.given_up_) {
      close_stream(s, ending::never_sent, NGHTTP2_CANCEL, "given up");
    } else {
      s.place_ = stream::place::in_line;
      put(line_first_, line_last_, s);
      admit();
    }
  }
  switch (s.place_) {
    case stream::place::in_line:
      if ((bits & stream::kReset) == 0) break;
      take_out(line_first_, line_last_, s);
      close_stream(s, ending::never_sent, NGHTTP2_CANCEL, "given up");
      break;
    case stream::place::open:
      if ((bits & stream::kReset) != 0) {
        session_.reset(s, NGHTTP2_CANCEL);
        break;
      }
      if ((bits & stream::kOutput) != 0) session_.resume(s);
      if ((bits & stream::kConsumed) != 0) session_.consume(s, s.take_consumed(), rt::nanotime());
      break;
    case stream::place::outside: s.given_up_ |= (bits & stream::kReset) != 0; break;
    case stream::place::closed: break;
  }
}

// --- streams -----------------------------------------------------------------------------------------------------------------------------

void connection::put(stream*& first, stream*& last, stream& s) noexcept {
  s.next_ = nullptr;
  s.prev_ = last;
  (last != nullptr ? last->next_ : first) = &s;
  last = &s;
}

void connection::take_out(stream*& first, stream*& last, stream& s) noexcept {
  (s.prev_ != nullptr ? s.prev_->next_ : first) = s.next_;
  (s.next_ != nullptr ? s.next_->prev_ : last) = s.prev_;
  s.next_ = s.prev_ = nullptr;
}

// Begins what the server takes now.
void connection::admit() {
  while (line_first_ != nullptr && ready_ && accepting_ && !dead_ && open_count_ < session_.max_concurrent_streams()) {
    stream& s = *line_first_;
    take_out(line_first_, line_last_, s);
    begin(s);
  }
}

void connection::begin(stream& s) {
  if (!session_.request(s, s.request_headers())) {
    close_stream(s, ending::never_sent, NGHTTP2_REFUSED_STREAM, "no stream is left on the connection");
    draining_ = true;
    stop_accepting("its stream ids are used up", false);
    return;
  }
  s.place_ = stream::place::open;
  put(open_first_, open_last_, s);
  open_count_++;
}

void connection::close_stream(stream& s, ending how, uint32_t code, std::string_view why) {
  s.place_ = stream::place::closed;
  s.on_closed(how, code, why);
  s.unpin();
}

void connection::stream_closed(stream& s, uint32_t error_code) {
  if (s.place_ != stream::place::open) return;
  take_out(open_first_, open_last_, s);
  open_count_--;
  ending how = ending::reset;
  if (error_code == NGHTTP2_REFUSED_STREAM && !s.response_ended_) {
    how = ending::refused;
  } else if (s.response_ended_) {
    how = ending::finished;
  }
  close_stream(s, how, error_code, {});
}

void connection::stop_accepting(std::string_view why, bool too_many_pings) {
  if (!std::exchange(accepting_, false)) return;
  if (why_.empty()) why_ = why;
  host_->connection_draining(*this, why, too_many_pings);
  empty_line();
}

void connection::empty_line() {
  while (line_first_ != nullptr) {
    stream& s = *line_first_;
    take_out(line_first_, line_last_, s);
    close_stream(s, ending::never_sent, NGHTTP2_REFUSED_STREAM, why_);
  }
}

void connection::settings_received() {
  settings_due_ = 0;
  if (!std::exchange(ready_, true)) host_->connection_ready(*this);
}

void connection::goaway_received(uint32_t error_code, std::string_view debug) {
  draining_ = true;
  std::string why = "the server said GOAWAY (" + name_of(error_code);
  if (!debug.empty()) {
    why += ", \"";
    for (const char c : debug.substr(0, kQuotedBody)) why += c >= 0x20 && c <= 0x7E ? c : '?';
    why += '"';
  }
  why += ')';
  why_ = why;  // it says more than whatever came before
  stop_accepting(why, error_code == NGHTTP2_ENHANCE_YOUR_CALM && debug == "too_many_pings");
}

// --- writing -----------------------------------------------------------------------------------------------------------------------------

void connection::flush() {
  while (!flushing_ && !dead_ && !cut_off_) {
    if (out_at_ == out_end_) {
      if (out_ == nullptr) {
        if (!session_.has_output()) return;
        out_ = blocks_->take();
      }
      out_at_ = 0;
      out_end_ = session_.serialise({out_, http2::kPackedAtOnce});
      if (out_end_ == 0) {
        blocks_->give(std::exchange(out_, nullptr));
        return;
      }
    }
    asio::error_code ec;
    const size_t n = socket_->try_write_some(asio::buffer(out_ + out_at_, out_end_ - out_at_), ec);
    if (ec == asio::error::would_block) {
      start_flusher();
      return;
    }
    if (ec) {
      write_failed(ec);
      return;
    }
    out_at_ += n;
    if (out_at_ == out_end_ && !session_.has_output()) {
      out_at_ = out_end_ = 0;
      blocks_->give(std::exchange(out_, nullptr));
      return;
    }
  }
}

void connection::start_flusher() {
  flushing_ = true;
  flush_error_.clear();
  go([self = shared_from_this()] {
    connection& c = *self;
    asio::error_code ec;
    while (c.out_at_ != c.out_end_ && !ec) {
      c.socket_->write_deadline(c.options_.write_timeout);
      c.out_at_ += c.socket_->write_some(asio::buffer(c.out_ + c.out_at_, c.out_end_ - c.out_at_), ec);
    }
    c.flush_error_ = ec;
    if ((c.flusher_node_.events.fetch_or(kFlushed | node::kQueued, std::memory_order_acq_rel) & node::kQueued) != 0) return;
    if (!c.word_.enqueue(c.flusher_node_)) return;
    c.handle(c.flusher_node_);
    c.release();
  });
}

// A server that closes a connection may have answered before, and a client that was slow finds that out by writing. So calls are over when
// the reader has read what is there, not now. A peer that takes no bytes has not ended and may never: that is the end at once.
void connection::write_failed(const asio::error_code& ec) {
  if (ec == asio::error::timed_out) {
    die("the server takes no bytes");
    return;
  }
  if (dead_) return;
  cut_off_ = true;
  out_at_ = out_end_;
  if (why_.empty()) why_ = ec.message();
  stop_accepting(why_, false);
  asio::error_code ignored;
  socket_->shutdown(asio::socket_base::shutdown_both, ignored);  // the reader finds the end behind what has come
}

// Nothing more is written; the reader finds the end and closes what is open.
void connection::die(std::string_view why) {
  if (dead_) return;
  dead_ = true;
  if (why_.empty()) why_ = why;
  if (!flushing_) out_at_ = out_end_;  // else they are the flusher's
  stop_accepting(why_, false);
  asio::error_code ignored;
  socket_->shutdown(asio::socket_base::shutdown_both, ignored);
}

void connection::note_end() {
  if (dead_ || cut_off_ || flushing_ || out_at_ != out_end_) return;
  if (draining_ && open_count_ == 0) session_.terminate(NGHTTP2_NO_ERROR), flush();
  if (dead_ || flushing_ || out_at_ != out_end_ || !session_.finished()) return;
  die(session_.trouble().empty() ? "the connection is over" : session_.trouble());
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

int64_t connection::next_due() const noexcept {
  if (settings_due_ != 0) return settings_due_;
  if (ping_due_ != 0) return ping_due_;
  return later(heard_at_, options_.keepalive_time);
}

void connection::read_loop() {
  while (read_once()) {
  }
  end_reading();
}

// One wait and one read. false: there will be no more.
bool connection::read_once() {
  asio::error_code ec;
  socket_->read_deadline(at(next_due()));
  if (!socket_->wait_readable(ec)) {
    if (ec != asio::error::timed_out) {
      word_.acquire(reader_node_);
      if (why_.empty()) why_ = ec.message();
      release();
      return false;
    }
    word_.acquire(reader_node_);
    tick(rt::nanotime());
    const bool more = !dead_;  // otherwise what was due stays due
    release();
    return more;
  }
  char* const block = blocks_->take();
  const size_t n = socket_->try_read_some(asio::buffer(block, http2::kBlockSize), ec);
  if (ec == asio::error::would_block || ec == asio::error::timed_out) {
    blocks_->give(block);
    return true;
  }
  word_.acquire(reader_node_);
  bool more = true;
  if (ec) {
    more = false;
    if (why_.empty()) why_ = ec == asio::error::eof ? "the server closed the connection" : ec.message();
  } else if (!dead_) {
    heard_at_ = rt::nanotime();
    ping_due_ = 0;
    session_.receive({block, n}, heard_at_);
    if (flushing_ && session_.backed_up() && !dead_) {
      // The peer sends but does not read: no more of its bytes until it has taken some of ours.
      blocks_->give(block);
      reader_queued_ = true;
      reader_needs_drain_ = true;
      release();
      word_.wait_grant();
      release();
      return true;
    }
  }
  blocks_->give(block);
  release();
  return more;
}

void connection::tick(int64_t now) {
  if (dead_) return;
  if (settings_due_ != 0 && now >= settings_due_) {
    die("the server sent no SETTINGS in time; is it a gRPC server?");
  } else if (ping_due_ != 0 && now >= ping_due_) {
    die("keepalive failed: the server did not answer a PING");
  } else if (settings_due_ == 0 && ping_due_ == 0 && options_.keepalive_time != std::chrono::nanoseconds::max() &&
             now - heard_at_ >= options_.keepalive_time.count()) {
    if (open_count_ == 0 && !options_.keepalive_without_calls) {
      heard_at_ = now;  // look again then
      return;
    }
    session_.ping();
    ping_due_ = later(now, options_.keepalive_timeout);
  }
}

// The reader's last act: everything still open is over.
void connection::end_reading() {
  word_.acquire(reader_node_);
  if (!session_.trouble().empty() && !draining_) why_ = session_.trouble();
  dead_ = true;
  reader_alive_ = false;
  if (!flushing_) out_at_ = out_end_;
  stop_accepting(why_, false);
  empty_line();
  while (open_first_ != nullptr) {
    stream& s = *open_first_;
    take_out(open_first_, open_last_, s);
    open_count_--;
    close_stream(s, s.response_ended_ ? ending::finished : killed_ ? ending::closed : ending::lost, NGHTTP2_CANCEL, why_);
  }
  const std::string why = why_;
  release();
  socket_->close();  // ends the flusher's wait, if there is one
  host_->connection_ended(*this, why);
}

}  // namespace warren::grpc::client
