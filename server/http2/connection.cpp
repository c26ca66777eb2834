// How goroutines share a connection.
//
// Roles. The nghttp2 session is a plain state machine: one goroutine at a time may touch it, the OWNER. Owning lasts for a few
// microseconds of protocol work and at most some non-blocking writes; nobody parks while owning. Those who come to own:
//   - the READER, at most one goroutine per connection at any moment: it reads the socket, feeds the session, and runs the handlers of the
//     requests that became complete, one after another, in place, without owning meanwhile. When there is nothing to read it ends, and
//     the poller starts another when there is (stream::go_when_readable): nothing of it is worth a stack while it waits;
//   - whoever finishes or writes something for a stream: a handler that has left the reader (below), a writer of a streaming handler, the
//     deadline reaper, a shutdown. They post a node and go on.
// The FLUSHER exists only while the socket is full: it waits for room with the bytes that are left, owning nothing.
//
// The word (owner_word.h) says who owns and holds what was posted; its essay has the memory order, and how the reader waits for its turn.
//
// Handlers in place. Before a batch the reader arms its park hook (runtime/sched/park.h). If a handler is about to park, the hook starts
// another goroutine, which becomes the reader and gets the rest of the batch and what is finished of it; the handler's goroutine, no
// longer the reader, parks, later ends its one call, posts it and exits. A unary call that does not park costs no switch, no queueing:
// its reply joins the list of the batch, the reader takes ownership once, submits all and writes once.
// The limit of this: a handler that computes for long without parking holds up the rest of its batch and its connection's reading
// (grpc.h tells users). Other connections have other readers.
//
// If a P is idle and the handlers of this connection have been slow lately, the reader first gives the second half of the batch to a
// HELPER, a goroutine that runs it the same way (with a park hook that replaces it by another helper) and posts what it finished all at
// once.
//
// Writing soon. What a streaming handler writes, and how a handler that has left the reader ends, is posted message by message; a write to
// the socket for each would cost several times what the message does. So the owner of such a post does not write but starts a goroutine,
// once, that goes to the end of the run queue (yield) and writes what is there when its turn comes: whatever else was ready to run has run,
// and its messages leave in the same write. A writer that parks on a full send buffer makes it the next to run. The price is its start,
// and that a message waits while its handler computes on without parking, until another P or the end of its slice. Against a
// write each, on one P of a busy machine: 2.5 times the round trips per CPU second of bench_grpc's chat_10x10, 6 times the messages of
// stream_5000.
//
// The bytes of a batch. The request of a usual unary call is one message in one DATA frame, and runs right after the read that brought it:
// it borrows its bytes from the block of that read, and protobuf parses them there. So the block is the reader's until its batch has run.
// What does not fit into that is copied, by the call (stream::keep_bytes): what a helper gets, what waits while the peer does not read, and
// what interceptors could look at for longer than until it is parsed. A handler that parks has parsed its request, as a rule; if it parks
// while it parses (a collection wants its help), its goroutine keeps the block, and the rest of the batch makes copies.
//
// Lifetime. The owner counts: live streams (a stream is live while HTTP/2 knows it, its handler runs or its deadline is armed), the reader,
// the flusher, the goroutine that writes soon, the one that says TLS's goodbye, a timer that is armed. When none is left nobody can post
// any more but those who hold a pin (the server's shutdown), and the owner ends the connection without ever letting go: later posts land on
// a word that says "owned" and are never looked at.
//
// Idleness. With its last call a connection lends what it kept for the next ones (spare.h); it reads and writes in blocks that are lent too
// (block_pool.h); after a second without a call its session goes to sleep: its pages go back, and what of them is not zero is kept
// (session_memory.h). What stays is that, HPACK's entries, this object and 128 bytes in the poller, from which its reader will start: 3.9
// kB after a call with the fields of gRPC C++.
//
// Rejected:
//   - A reader that parks: a stack of a page or more for each connection, a third of what an idle one took. To start it anew costs no more
//     than to wake it that could be measured (10 x 100 and 1 x 1, in turns).
//   - A writer goroutine per connection (grpc-go's loopyWriter): two goroutine switches per batch and a queue between, for what is one CAS
//   here.
//   - A mutex around the session (tonic/h2, tRPC-Cpp): finishers wait where they could leave their reply and go; one write per reply.
//   - A goroutine per request, with the last in place (brpc): most unary handlers never block, and then the other N−1 goroutines bought
//   nothing.
//   - Keeping ownership while handlers run: streaming writers and parked handlers of the connection would wait for the whole batch.
//   - Writing from the owner with a parking write: whoever finished first would wait for a slow client in everybody's name.
#include "server/http2/connection.h"

#include <new>
#include <utility>

#include <warren/go.h>

#include "runtime/os/clock.h"

namespace warren::http2 {

using clock = warren::stream::clock;

connection::connection(std::unique_ptr<warren::stream> socket, peer_facts peer, host& h, const connection_options& options,
                       unsigned ordinal)
    : host_(h),
      options_(options),
      ordinal_(ordinal),
      peer_(std::move(peer)),
      accepted_ns_(rt::nanotime()),
      socket_(std::move(socket)),
      session_(options.session, *this) {
  counts_.window.store(session_.receive_windows().stream(), std::memory_order_relaxed);
  timer_.fn = &connection::timer_fired;
  timer_.arg = this;
}

connection::~connection() {
  if (spare_ != nullptr) give_spare();
  if (out_ != nullptr) host_.blocks().give(out_->block());
}

void connection::unpin() noexcept {
  // Release: our accesses come before the deletion; acquire: the deleter sees those of all others.
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void connection::start() {
  socket_->read_deadline(options_.preface_timeout);
  now_ = heard_at_ = idle_since_ = accepted_ns_;
  if (options_.max_age.count() != 0) {
    // Spread by the address of the connection, mixed: enough to keep equals apart.
    const auto mixed = static_cast<uint64_t>(now_ ^ static_cast<int64_t>(reinterpret_cast<uintptr_t>(this))) * 0x9e3779b97f4a7c15u;
    const int64_t spread = options_.max_age.count() / kAgeJitter;
    age_due_ = now_ + options_.max_age.count() - spread + static_cast<int64_t>((mixed >> 33) % static_cast<uint64_t>(2 * spread + 1));
  }
  // Owned for the moment: the timer may go off at once.
  word_.own_first();
  rearm();
  go([this] { read_loop(nullptr, nullptr); });
  release_quick();
}

// --- owning ------------------------------------------------------------------------------------------------------------------------------

void connection::post_node(node& n, uint32_t bits) {
  const node::kind what = n.what;  // handling it may be its end
  if (word_.try_own()) {
    // As nearly always. Nothing is queued then, and whoever is about to queue n keeps it alive until it has: the bits need not go through
    // events.
    handle(n, bits);
  } else {
    if ((n.events.fetch_or(bits | node::kQueued, std::memory_order_acq_rel) & node::kQueued) != 0) return;
    if (!word_.enqueue(n)) return;
    handle(n);
  }
  if (what == node::kind::stream) {
    release_soon();
  } else {
    release();
  }
}

void connection::acquire() { word_.acquire(reader_node_); }

void connection::release() {
  for (;;) {
    drain();
    flush();
    note_end();
    if (over()) {
      host_.connection_ended(*this);  // the word stays owned: see Lifetime
      return;
    }
    if (live_count_ == 0 && spare_ != nullptr) give_spare();
    if (reader_queued_ && (!reader_needs_drain_ || dead_ || !session_.backed_up())) {
      reader_queued_ = false;
      reader_needs_drain_ = false;
      word_.grant();
      return;
    }
    if (word_.leave()) return;
  }
}

void connection::release_quick() {
  if (!word_.leave()) release();
}

void connection::release_soon() {
  if (dead_ || flushing_) {
    release();
    return;
  }
  if (!soon_) {
    if (!session_.has_output()) {
      release();
      return;
    }
    try {
      go([this] {
        yield();
        post_node(soon_node_, 1);
      });
    } catch (const std::bad_alloc&) {  // no goroutine to be had: then now
      release();
      return;
    }
    soon_ = true;
  }
  release_quick();
}

void connection::drain() {
  while (node* n = word_.take()) {
    while (n != nullptr) {
      node* const after = n->next;  // handling n may free it or let it be pushed again
      handle(*n);
      n = after;
    }
  }
}

void connection::handle(node& n) {
  if (n.what == node::kind::reader) {
    reader_queued_ = true;
    return;
  }
  handle(n, n.events.exchange(0, std::memory_order_acq_rel) & ~node::kQueued);
}

void connection::handle(node& n, uint32_t bits) {
  switch (n.what) {
    case node::kind::stream: {
      now_ = kNotRead;
      auto& s = static_cast<stream&>(n);
      s.on_events(session_, bits);
      maybe_reuse(s);
      break;
    }
    case node::kind::flusher:
      flushing_ = false;
      socket_->write_deadline(clock::time_point::max());
      if (flush_error_) write_failed(flush_error_);
      break;
    case node::kind::soon: soon_ = false; break;
    case node::kind::goodbye: parting_ = false; break;
    case node::kind::control: handle_control(bits); break;
    case node::kind::reader: break;
  }
}

void connection::handle_control(uint32_t bits) {
  now_ = kNotRead;
  if ((bits & kBeginDrain) != 0 && !dead_) begin_drain();
  if ((bits & kKill) != 0 && !dead_) kill("the server is shutting down");
  if ((bits & kTick) != 0) {
    rt::timer_stop_sync(&timer_);  // its function has left us to alarms, but may not have returned
    armed_for_ = 0;
    if (!dead_) tick();
  }
}

void connection::begin_drain() {
  if (session_.draining()) return;
  silent_ = false;
  if (!preface_done_) {
    session_.finish_drain();  // nobody there who would have to be asked
    return;
  }
  session_.begin_drain();
  drain_due_ = now() + (live_count_ == 0 ? kIdleDrainPingNs : kDrainPingNs);
  arm(drain_due_);
}

// Cancels what runs, answers it, and ends.
void connection::kill(std::string_view why) {
  silent_ = false;
  for (stream* s = live_; s != nullptr;) {
    stream* const after = s->live_next_;
    s->on_kill(session_, why);
    maybe_reuse(*s);
    s = after;
  }
  session_.finish_drain(drain_why_);
  flush();
  // What the peer did not take by now it will not get.
  dead_ = true;
  socket_->deadline(std::chrono::nanoseconds(kLingerNs));
  end_sending();
}

// The peer reads to the end, then eof. On a socket that is one system call. TLS says goodbye in a record of its own, which may have to wait
// for room: not in the owner's name. The deadline that our callers have set bounds the reader's wait for the peer's end; then the reader
// closes the stream (end_reading), and that ends the wait for room as well.
void connection::end_sending() {
  asio::error_code ignored;
  if (peer_.tls == nullptr) {
    socket_->shutdown(asio::socket_base::shutdown_send, ignored);
    return;
  }
  go([this] {
    asio::error_code ec;
    socket_->shutdown(asio::socket_base::shutdown_send, ec);
    post_node(goodbye_node_, 1);
  });
  parting_ = true;
}

bool connection::over() const noexcept {
  return !reader_alive_ && !flushing_ && !soon_ && !parting_ && live_count_ == 0 && armed_for_ == 0;
}

// --- time --------------------------------------------------------------------------------------------------------------------------------

void connection::timer_fired(void* arg, uintptr_t) {
  auto* c = static_cast<connection*>(arg);
  c->host_.clock().went_off(*c);
}

// Something is due at when.
void connection::arm(int64_t when) {
  if (armed_for_ != 0) {
    if (armed_for_ <= when) return;
    if (!rt::timer_stop(&timer_)) return;  // going off already
  }
  armed_for_ = timer_.when = when;
  rt::timer_start(&timer_);
}

// The end of all ticks. If the timer is going off already, its tick is the last thing we wait for.
void connection::disarm() {
  if (armed_for_ != 0 && rt::timer_stop(&timer_)) armed_for_ = 0;
}

// For the earliest of what is due. Streams are looked at twice per write timeout, and only while there are any.
void connection::rearm() {
  int64_t when = INT64_MAX;
  const auto due = [&when](int64_t at) {
    if (at != 0 && at < when) when = at;
  };
  due(ping_due_);
  if (ping_due_ == 0 && options_.keepalive_time.count() != 0) due(heard_at_ + options_.keepalive_time.count());
  if (live_count_ == 0 && options_.max_idle.count() != 0 && !session_.draining()) due(idle_since_ + options_.max_idle.count());
  if (live_count_ == 0 && !trimmed_) due(idle_since_ + kTrimNs);
  due(age_due_);
  due(drain_due_);
  due(kill_due_);
  if (session_.header_block_since() != 0) due(session_.header_block_since() + options_.preface_timeout.count());
  if (live_count_ != 0) due(stream_tick());
  if (when != INT64_MAX) arm(when);
}

// REQUIRES: not dead_, armed_for_ is 0.
void connection::tick() {
  transport_counters& count = host_.counters();
  now();  // from here on now_ is the time
  if (ping_due_ != 0 && now_ >= ping_due_) {
    count.keepalive_failed.fetch_add(1, std::memory_order_relaxed);
    write_failed(asio::error::connection_reset);
    return;
  }
  if (ping_due_ == 0 && options_.keepalive_time.count() != 0 && now_ - heard_at_ >= options_.keepalive_time.count()) {
    session_.ping();
    add(counts_.keepalives_sent, 1);
    ping_due_ = now_ + options_.keepalive_timeout.count();
  }
  if (!session_.draining() && live_count_ == 0 && options_.max_idle.count() != 0 && now_ - idle_since_ >= options_.max_idle.count()) {
    count.idled.fetch_add(1, std::memory_order_relaxed);
    drain_why_ = "max_idle";
    begin_drain();
  }
  if (live_count_ == 0 && !trimmed_ && now_ - idle_since_ >= kTrimNs) {
    session_.trim();
    trimmed_ = true;
  }
  if (age_due_ != 0 && now_ >= age_due_) {
    age_due_ = 0;
    if (options_.max_age_grace.count() != 0) kill_due_ = now_ + options_.max_age_grace.count();
    if (!session_.draining()) {
      count.aged.fetch_add(1, std::memory_order_relaxed);
      drain_why_ = "max_age";
      begin_drain();
    }
  }
  if (drain_due_ != 0 && now_ >= drain_due_) {
    drain_due_ = 0;
    session_.finish_drain(drain_why_);
  }
  if (kill_due_ != 0 && now_ >= kill_due_) {
    kill_due_ = 0;
    kill("the connection has reached its greatest age");
    return;
  }
  if (session_.header_block_since() != 0 && now_ - session_.header_block_since() >= options_.preface_timeout.count()) {
    // Nothing else of this connection can be read before that block ends, so it is the connection that is stalled.
    count.stalled.fetch_add(1, std::memory_order_relaxed);
    session_.terminate(NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  for (stream* s = live_; s != nullptr; s = s->live_next_) {
    if (!s->on_tick(session_, now_, options_.write_timeout.count())) count.streams_stalled.fetch_add(1, std::memory_order_relaxed);
  }
  rearm();
}

// --- writing -----------------------------------------------------------------------------------------------------------------------------

void connection::flush() {
  if (silent_) return;
  while (!flushing_ && !dead_) {
    if (out_ == nullptr || out_->empty()) {
      if (out_ == nullptr) {
        if (!session_.has_output()) return;
        out_ = outgoing::in(host_.blocks().take());
      }
      // TLS makes its records of what it copies together: lending would spare it nothing.
      const size_t some = session_.serialise(*out_, peer_.tls == nullptr);
      if (packed_ != 0) unsent.fetch_sub(std::exchange(packed_, 0), std::memory_order_relaxed);
      if (some == 0) {
        end_output();
        return;
      }
    }
    count_events();
    asio::error_code ec;
    write_some(false, ec);
    if (ec == asio::error::would_block) {
      start_flusher();
      return;
    }
    if (ec) {
      write_failed(ec);
      return;
    }
    if (!out_->empty()) continue;
    if (!session_.has_output()) {
      end_output();
      return;
    }
    release_retired();
  }
}

// Writes some of out_. Owner, or flusher.
void connection::write_some(bool park, asio::error_code& ec) {
  const auto pieces = out_->pieces();
  size_t n;
  if (pieces.size() == 1) {  // as nearly always: small messages
    n = park ? socket_->write_some(pieces.front(), ec) : socket_->try_write_some(pieces.front(), ec);
  } else {
    n = park ? socket_->write_some(pieces, ec) : socket_->try_write_some(pieces, ec);
  }
  if (ec && n == 0) return;
  out_->written(n);
  transport_counters& count = host_.counters();
  count.writes.fetch_add(1, std::memory_order_relaxed);
  count.bytes_sent.fetch_add(n, std::memory_order_relaxed);
}

// Nothing is being written, nor will be.
void connection::end_output() noexcept {
  host_.blocks().give(std::exchange(out_, nullptr)->block());
  release_retired();
}

void connection::release_retired() noexcept {
  for (byte_buffer& b : retired_) give_buffer(b);
  retired_.clear();
}

void connection::retire(byte_buffer& b) {
  if (out_ == nullptr) {
    give_buffer(b);
  } else {
    retired_.push_back(std::move(b));
  }
}

void connection::take_buffer(byte_buffer& b) noexcept {
  if (b.capacity() != 0 || spare_ == nullptr || spare_->buffer_count == 0) return;
  b.swap(spare_->buffers[--spare_->buffer_count]);
}

void connection::give_buffer(byte_buffer& b) noexcept {
  b.reset(kKeptBuffer);
  if (b.capacity() == 0) return;
  if (spare_ == nullptr || spare_->buffer_count == kSpareBuffers) {
    b.reset(0);
  } else {
    spare_->buffers[spare_->buffer_count++].swap(b);
  }
}

void connection::start_flusher() {
  flushing_ = true;
  flush_error_.clear();
  go([this] {
    asio::error_code ec;
    while (!out_->empty() && !ec) {
      socket_->write_deadline(options_.write_timeout);
      write_some(true, ec);
    }
    flush_error_ = ec;
    post_node(flusher_node_, 1);
  });
}

void connection::write_failed(const asio::error_code& ec) {
  if (dead_) return;
  dead_ = true;
  if (ec == asio::error::timed_out) host_.counters().stalled.fetch_add(1, std::memory_order_relaxed);
  if (out_ != nullptr && !flushing_) end_output();
  asio::error_code ignored;
  socket_->shutdown(asio::socket_base::shutdown_both, ignored);  // the reader finds the end and cancels what runs
}

// Before the peer can see the effect of what is counted.
void connection::count_events() {
  if (!end_counted_ && session_.ended()) {
    end_counted_ = true;
    transport_counters& count = host_.counters();
    switch (session_.reason()) {
      case session::end_reason::not_http2: count.not_http2.fetch_add(1, std::memory_order_relaxed); break;
      case session::end_reason::abuse: count.abused.fetch_add(1, std::memory_order_relaxed); break;
      case session::end_reason::protocol: count.protocol_errors.fetch_add(1, std::memory_order_relaxed); break;
      case session::end_reason::owner:  // whoever called terminate has counted why
      case session::end_reason::none: break;
    }
  }
  if (session_.streams_refused() != refused_counted_) {
    host_.counters().streams_refused.fetch_add(session_.streams_refused() - refused_counted_, std::memory_order_relaxed);
    refused_counted_ = session_.streams_refused();
  }
}

// After the last byte of a finished session: tell the peer, and wait a moment for its own end before closing.
void connection::note_end() {
  if (lingering_ || dead_ || flushing_ || out_ != nullptr || !session_.finished()) return;
  lingering_ = true;
  dead_ = true;
  disarm();
  const bool silent = session_.drained() && !drain_answered_;
  socket_->deadline(std::chrono::nanoseconds(silent ? kSilentLingerNs : kLingerNs));
  end_sending();
}

// --- reading -----------------------------------------------------------------------------------------------------------------------------

void connection::read_loop(stream* todo, stream* done) {
  for (;;) {
    if (todo != nullptr || done != nullptr) {
      stream* finished = nullptr;
      if (!run_batch(todo, done, finished)) return;  // another goroutine reads now
      give_read_block();                             // before the answers are packed: into the same one, which is in the cache
      const int64_t now = rt::nanotime();
      if (batch_size_ != 0) run_ns_ += ((now - batch_begin_) / batch_size_ - run_ns_) / 4;
      acquire();
      now_ = now;
      while (finished != nullptr) {
        stream* const s = std::exchange(finished, finished->batch_next_);
        s->on_run_end(session_);
        maybe_reuse(*s);
      }
      release();
      todo = done = nullptr;
    }
    switch (read_once(todo)) {
      case reading::goes_on: break;
      case reading::goes_elsewhere: return;
      case reading::has_ended: end_reading(); return;
    }
  }
}

void connection::read_on(void* self) { static_cast<connection*>(self)->read_loop(nullptr, nullptr); }

// One read, if there is something to read. goes_elsewhere: the reader is another goroutine now, or will be one; has_ended: nobody reads any
// more.
connection::reading connection::read_once(stream*& todo) {
  asio::error_code ec;
  if (bites_) yield();
  if (socket_->go_when_readable(&read_on, this, ec)) return reading::goes_elsewhere;
  if (ec) {
    if (ec != asio::error::timed_out) return reading::has_ended;
    acquire();
    const bool in_preface = !preface_done_ && !dead_;
    if (in_preface) {
      silent_ = false;
      host_.counters().stalled.fetch_add(1, std::memory_order_relaxed);
      session_.terminate(NGHTTP2_SETTINGS_TIMEOUT);
    }
    release();
    return reading::has_ended;
  }
  char* const block = host_.blocks().take();
  const size_t most = bites_ && !discards_ ? kBite : much_ ? kBlockSize : kFirstRead;
  const size_t n = socket_->try_read_some(asio::buffer(block, most), ec);
  if (ec) {
    host_.blocks().give(block);
    return ec == asio::error::would_block ? reading::goes_on : reading::has_ended;
  }
  much_ = n >= kFirstRead;
  const int64_t now = rt::nanotime();
  acquire();
  transport_counters& count = host_.counters();
  count.reads.fetch_add(1, std::memory_order_relaxed);
  count.bytes_received.fetch_add(n, std::memory_order_relaxed);
  bool answer_first = true;
  silent_ = false;
  if (!dead_) {
    now_ = heard_at_ = now;
    if (ping_due_ != 0) {
      ping_due_ = 0;
      arm(now + options_.keepalive_time.count());
    }
    if (spare_ == nullptr) take_spare();
    if (std::exchange(trimmed_, false)) arm(now + kTrimNs);
    answer_first = !session_.receive({block, n}, now);
    if (const uint32_t w = session_.receive_windows().stream(); w != counts_.window.load(std::memory_order_relaxed)) {
      counts_.window.store(w, std::memory_order_relaxed);
      count.windows_grown.fetch_add(1, std::memory_order_relaxed);
    }
    if (session_.header_block_since() != 0) arm(session_.header_block_since() + options_.preface_timeout.count());
  }
  const uint64_t good = counts_.streams_succeeded.load(std::memory_order_relaxed);
  discards_ = session_.ended();
  bites_ = counts_.streams_started.load(std::memory_order_relaxed) == 0 || session_.odd() ||
           counts_.streams_failed.load(std::memory_order_relaxed) > good + kOddResets;
  todo = std::exchange(batch_first_, nullptr);
  batch_last_ = nullptr;
  batch_size_ = std::exchange(batch_count_, 0);
  if (todo == nullptr) {
    host_.blocks().give(block);
  } else {
    read_block_ = block;
  }
  if (flushing_ && session_.backed_up() && !dead_) {
    // The peer sends but does not read: no more of its bytes until it has taken some of ours.
    reader_queued_ = true;
    reader_needs_drain_ = true;
    for (stream* s = todo; s != nullptr; s = s->batch_next_) s->keep_bytes();
    give_read_block();
    release();
    word_.wait_grant();
    answer_first = true;
  }
  if (todo == nullptr || answer_first) {
    release();
  } else {
    release_quick();  // the batch's replies will carry along what the session has to say
  }
  if (todo != nullptr) {
    if (batch_size_ > 1 && run_ns_ * batch_size_ > kShareNs) share_batch(todo);
    batch_begin_ = rt::nanotime();
  }
  return reading::goes_on;
}

// What the park hook needs; on the stack of the goroutine that runs the batch.
struct connection::batch_run {
  connection* self;
  stream* todo;  // not begun
  stream* done;  // finished, latest first
  bool replaced;
  bool helper;  // not the reader
  stream* current = nullptr;
  char* block = nullptr;  // what the current one borrows from, if it was replaced meanwhile

  // The current handler is about to park: another goroutine takes over everything but this one call.
  static void replace(void* arg) {
    auto& b = *static_cast<batch_run*>(arg);
    b.replaced = true;
    if (!b.helper) b.settle_block();
    if (b.helper) {
      if (b.todo != nullptr || b.done != nullptr) go([self = b.self, todo = b.todo, done = b.done] { self->help(todo, done); });
    } else {
      b.self->batch_size_ = 0;  // what a handler waits says nothing about what it computes
      go([self = b.self, todo = b.todo, done = b.done] {
        if (todo == nullptr && done == nullptr) {
          // Every handler of the batch has parked: no reply will carry along what the read left in the session (refusals, acknowledgements,
          // window updates).
          self->acquire();
          self->release();
        }
        self->read_loop(todo, done);
      });
    }
  }

  // The block goes with the rest of the batch. If the current one still looks at it, it stays here and the rest copies what it needs: see
  // "The bytes of a batch".
  void settle_block() {
    if (self->read_block_ == nullptr) return;
    if (current->borrows()) {
      for (stream* s = todo; s != nullptr; s = s->batch_next_) s->keep_bytes();
      block = std::exchange(self->read_block_, nullptr);
    } else if (todo == nullptr) {
      self->give_read_block();
    }
  }

  // Runs the handlers in place. false: one of them parked; it has been posted, and everything else is another goroutine's business.
  bool run() {
    rt::set_park_hook(&replace, this);
    while (todo != nullptr) {
      stream* const s = current = std::exchange(todo, todo->batch_next_);
      s->run();
      if (replaced) {
        if (block != nullptr) self->host_.blocks().give(block);
        self->post_node(*s, node::kRunEnded);
        return false;
      }
      s->batch_next_ = done;
      done = s;
    }
    rt::clear_park_hook();
    return true;
  }
};

// Runs the handlers of todo in place. true: finished holds them and those of done. false: the caller is no longer the reader.
bool connection::run_batch(stream* todo, stream* done, stream*& finished) {
  batch_run b{this, todo, done, false, false};
  if (!b.run()) return false;
  finished = b.done;
  return true;
}

// Cuts the batch in half and gives the second half to a helper, if there is a P that could run it now.
void connection::share_batch(stream* todo) {
  if (!rt::other_p_available()) return;
  batch_size_ = (batch_size_ + 1) / 2;
  for (uint32_t i = 1; i < batch_size_; i++) todo = todo->batch_next_;
  stream* const rest = std::exchange(todo->batch_next_, nullptr);
  if (rest == nullptr) return;
  for (stream* s = rest; s != nullptr; s = s->batch_next_) s->keep_bytes();
  go([this, rest] { help(rest, nullptr); });
}

void connection::help(stream* todo, stream* done) {
  batch_run b{this, todo, done, false, true};
  if (b.run()) post_finished(b.done);
}

void connection::give_read_block() noexcept {
  if (read_block_ != nullptr) host_.blocks().give(std::exchange(read_block_, nullptr));
}

// As post, for several at once: one write for all.
void connection::post_finished(stream* finished) {
  bool own = false;
  while (finished != nullptr) {
    stream& s = *std::exchange(finished, finished->batch_next_);
    if ((s.events.fetch_or(node::kRunEnded | node::kQueued, std::memory_order_acq_rel) & node::kQueued) != 0) continue;
    if (!own && !word_.enqueue(s)) continue;
    own = true;
    handle(s);
  }
  if (own) release();
}

// The reader's last act: everything still open is cancelled.
void connection::end_reading() {
  socket_->close();  // ends the flusher's wait, and that for TLS's goodbye
  acquire();
  dead_ = true;
  disarm();
  reader_alive_ = false;
  for (stream* s = live_; s != nullptr;) {
    stream* const after = s->live_next_;
    if (s->open_) {
      s->open_ = false;
      s->on_closed(NGHTTP2_CANCEL);
    }
    maybe_reuse(*s);
    s = after;
  }
  release();
}

// --- streams -----------------------------------------------------------------------------------------------------------------------------

stream* connection::open_stream(int32_t) {
  // Handlers that outlive their stream count: that is what bounds what a client can make us do at once (rapid reset).
  if (live_count_ >= options_.session.max_concurrent_streams) return nullptr;
  stream* s = spare_ != nullptr ? spare_->streams : nullptr;
  if (s != nullptr) {
    spare_->streams = s->batch_next_;
    spare_->count--;
  } else {
    s = host_.make_stream();
  }
  s->connection_ = this;
  add(counts_.streams_started, 1);
  counts_.last_stream_ns.store(now(), std::memory_order_relaxed);
  s->batch_next_ = nullptr;
  s->live_prev_ = nullptr;
  s->live_next_ = live_;
  if (live_ != nullptr) live_->live_prev_ = s;
  live_ = s;
  if (live_count_++ == 0) arm(stream_tick());
  return s;
}

void connection::maybe_reuse(stream& s) {
  if (s.open_ || !s.unused()) return;
  (s.live_prev_ != nullptr ? s.live_prev_->live_next_ : live_) = s.live_next_;
  if (s.live_next_ != nullptr) s.live_next_->live_prev_ = s.live_prev_;
  if (--live_count_ == 0) {
    idle_since_ = now();
    if (!dead_) {
      if (options_.max_idle.count() != 0) arm(idle_since_ + options_.max_idle.count());
      arm(idle_since_ + kTrimNs);
    }
  }
  s.on_reuse();
  if (spare_ == nullptr || spare_->count >= kPooledStreams) {
    host_.destroy_stream(&s);
    return;
  }
  s.batch_next_ = spare_->streams;
  spare_->streams = &s;
  spare_->count++;
}

// Without memory for one, streams are made and destroyed call by call.
void connection::take_spare() noexcept {
  spare_ = host_.spares().take();
  if (spare_ == nullptr) spare_ = new (std::nothrow) spare;
  if (spare_ != nullptr) session_.lend(&spare_->blocks);
}

void connection::give_spare() noexcept {
  session_.lend(nullptr);
  if (retired_.empty()) std::vector<byte_buffer>().swap(retired_);
  spare* const s = std::exchange(spare_, nullptr);
  if (!host_.spares().give(s)) destroy(s, host_);
}

void connection::destroy(spare* s, host& h) noexcept {
  while (s->streams != nullptr) h.destroy_stream(std::exchange(s->streams, s->streams->batch_next_));
  delete s;
}

void connection::stream_closed(stream& s) { maybe_reuse(s); }

void connection::ready(stream& s) noexcept {
  s.batch_next_ = nullptr;
  (batch_last_ != nullptr ? batch_last_->batch_next_ : batch_first_) = &s;
  batch_last_ = &s;
  batch_count_++;
}

void connection::settings_received() {
  preface_done_ = true;
  socket_->read_deadline(clock::time_point::max());
}

void connection::drain_acknowledged() {
  drain_due_ = 0;
  drain_answered_ = true;
  session_.finish_drain(drain_why_);
}

}  // namespace warren::http2
