// connection: one client's stream (a socket, or TLS over one), its HTTP/2 session, and the goroutines that serve it. How they share it:
// connection.cpp.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <warren/stream.h>

#include "runtime/os/clock.h"
#include "runtime/sched/timer.h"
#include "server/http2/alarms.h"
#include "server/http2/block_pool.h"
#include "server/http2/byte_buffer.h"
#include "server/http2/outgoing.h"
#include "server/http2/owner_word.h"
#include "server/http2/peer.h"
#include "server/http2/session.h"
#include "server/http2/spare.h"
#include "server/http2/stream.h"

namespace warren::http2 {

// Counters all connections of a server share. Added to once per batch, not per request.
struct transport_counters {
  std::atomic<uint64_t> streams_refused{0};
  std::atomic<uint64_t> not_http2{0};
  std::atomic<uint64_t> abused{0};
  std::atomic<uint64_t> protocol_errors{0};
  std::atomic<uint64_t> stalled{0};
  std::atomic<uint64_t> streams_stalled{0};
  std::atomic<uint64_t> keepalive_failed{0};
  std::atomic<uint64_t> aged{0};
  std::atomic<uint64_t> idled{0};
  std::atomic<uint64_t> windows_grown{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
};

struct connection_options {
  session_limits session;
  std::chrono::nanoseconds preface_timeout{10'000'000'000};
  std::chrono::nanoseconds write_timeout{20'000'000'000};
  std::chrono::nanoseconds stream_tick{10'000'000'000};  // how often live streams are looked at
  // Zero: never.
  std::chrono::nanoseconds keepalive_time{0};  // nothing received for so long: ping
  std::chrono::nanoseconds keepalive_timeout{20'000'000'000};
  std::chrono::nanoseconds max_idle{0};       // no call for so long: drain
  std::chrono::nanoseconds max_age{0};        // then drain
  std::chrono::nanoseconds max_age_grace{0};  // after that: end what still runs; zero: wait for it
};

// What a connection counts of itself. Written by the owner alone (a load and a store, no locked instruction), read by anybody.
struct connection_counts {
  std::atomic<uint64_t> streams_started{0};
  std::atomic<uint64_t> streams_succeeded{0};
  std::atomic<uint64_t> streams_failed{0};
  std::atomic<uint64_t> messages_received{0};
  std::atomic<uint64_t> messages_sent{0};
  std::atomic<uint64_t> keepalives_sent{0};
  std::atomic<int64_t> last_stream_ns{0};  // nanotime; 0: none yet
  std::atomic<uint32_t> window{0};         // bytes: what a stream that is read may have
};

class connection final : private session::events, private alarm {
 public:
  // The layer above.
  class host {
   public:
    virtual stream* make_stream() = 0;           // owner
    virtual void destroy_stream(stream* s) = 0;  // whoever has it
    // Nothing of the connection runs any more; the host forgets it and gives its reference back with unpin().
    virtual void connection_ended(connection& c) = 0;
    virtual transport_counters& counters() = 0;
    virtual block_pool& blocks() = 0;
    virtual spare_pool& spares() = 0;
    virtual alarms& clock() = 0;

   protected:
    ~host() = default;
  };

  enum : uint32_t {  // what the host posts with control()
    kBeginDrain = 1,
    kKill = 2,
  };

  // The host holds one reference; the connection lives until the last unpin().
  connection(std::unique_ptr<warren::stream> socket, peer_facts peer, host& h, const connection_options& options, unsigned ordinal);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // For hosts: what a spare_pool holds in the end.
  static void destroy(spare* s, host& h) noexcept;

  void start();  // its reader goroutine
  const peer_facts& peer() const noexcept { return peer_; }

  // Tells the owner that bits happened to s, and becomes the owner if there is none. Never parks. Any goroutine whose business keeps s
  // alive.
  void post(stream& s, uint32_t bits) { post_node(s, bits); }
  // The same for the connection itself. Any goroutine that holds a reference.
  void control(uint32_t bits) { post_node(control_node_, bits); }

  void pin() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void unpin() noexcept;

  // Owner: the stream's request is complete; its run() is called once, soon.
  void ready(stream& s) noexcept;
  // Owner: when the bytes came, or the batch was finished, or the event looked at, that is being handled. At most one clock reading for
  // each; none for a message of a stream, which asks nobody what time it is.
  int64_t now() noexcept {
    if (now_ == kNotRead) now_ = rt::nanotime();
    return now_;
  }
  // What streams begin with. Any goroutine.
  uint32_t stream_window() const noexcept { return options_.session.windows.stream; }
  // Owner: a buffer for a message, if b has none and there is one; the one that was given back last.
  void take_buffer(byte_buffer& b) noexcept;
  void give_buffer(byte_buffer& b) noexcept;
  // Owner: the same for one that has lent bytes (stream::lend_body): it stays as it is until they are written.
  void retire(byte_buffer& b);
  // Owner: bytes of requests that wait for their handler; for the layer above to add up and to limit.
  size_t buffered = 0;
  // Bytes that streaming handlers of this connection have written and that have not gone into a frame yet. Any goroutine.
  std::atomic<size_t> unsent{0};
  // Owner: n of them have. Subtracted for all streams at once when the frames are complete: what is added is one locked instruction a
  // message, what is subtracted is one a write.
  void packed(size_t n) noexcept { packed_ += n; }
  // A small number that differs among connections, to spread counters.
  unsigned ordinal() const noexcept { return ordinal_; }
  int64_t accepted_ns() const noexcept { return accepted_ns_; }
  const connection_counts& counts() const noexcept { return counts_; }
  // Owner: for the layer above, which knows what a stream was good for.
  void count_stream_end(bool good) noexcept { add(good ? counts_.streams_succeeded : counts_.streams_failed, 1); }
  void count_messages(uint64_t received, uint64_t sent) noexcept {
    add(counts_.messages_received, received);
    add(counts_.messages_sent, sent);
  }

 private:
  struct batch_run;

  ~connection();
  void post_node(node& n, uint32_t bits);
  void acquire();        // reader only: parks until it owns
  void release();        // handles what is queued, writes, lets go (or hands over, or destroys)
  void release_quick();  // lets go without writing, unless something is queued
  void release_soon();   // lets go; what there is to write is written when those that are ready to run have run
  void drain();
  void handle(node& n);
  void handle(node& n, uint32_t bits);
  void handle_control(uint32_t bits);
  void begin_drain();
  void kill(std::string_view why);
  void tick();
  void arm(int64_t when);
  void rearm();
  void disarm();
  int64_t stream_tick() noexcept { return now() + options_.stream_tick.count() + 1; }
  static void add(std::atomic<uint64_t>& count, uint64_t n) noexcept {
    count.store(count.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  static void timer_fired(void* arg, uintptr_t);
  void flush();
  void start_flusher();
  void end_output() noexcept;
  void release_retired() noexcept;
  void write_some(bool park, asio::error_code& ec);
  void write_failed(const asio::error_code& ec);
  void count_events();
  void note_end();
  void end_sending();
  bool over() const noexcept;

  enum class reading { goes_on, goes_elsewhere, has_ended };

  static void read_on(void* self);
  void read_loop(stream* todo, stream* done);
  reading read_once(stream*& todo);
  bool run_batch(stream* todo, stream* done, stream*& finished);
  void share_batch(stream* todo);
  void help(stream* todo, stream* done);
  void give_read_block() noexcept;
  void post_finished(stream* finished);
  void end_reading();
  void maybe_reuse(stream& s);
  void take_spare() noexcept;
  void give_spare() noexcept;

  // session::events
  stream* open_stream(int32_t id) override;
  void stream_closed(stream& s) override;
  void settings_received() override;
  void drain_acknowledged() override;
  bool calls_live() override { return live_count_ != 0; }

  void ring() override { post_node(control_node_, kTick); }  // of alarm
  static constexpr uint32_t kTick = 1u << 8;                 // beside what control() takes

  // Shared.
  owner_word word_;
  std::atomic<int> references_{1};
  node reader_node_{node::kind::reader};
  node flusher_node_{node::kind::flusher};
  node soon_node_{node::kind::soon};
  node goodbye_node_{node::kind::goodbye};
  node control_node_{node::kind::control};

  // Constant after construction.
  host& host_;
  const connection_options options_;
  const unsigned ordinal_;
  const peer_facts peer_;
  const int64_t accepted_ns_;                     // nanotime
  const std::unique_ptr<warren::stream> socket_;  // its own rules of sharing

  // The reader's.
  int64_t run_ns_ = 0;          // how long a handler takes in place: a moving average
  int64_t batch_begin_ = 0;     // when the running batch began
  bool much_ = false;           // the last read took a first read's fill, or more
  bool bites_ = true;           // reads little at a time, and lets others run in between: kBite
  bool discards_ = false;       // what comes is not looked at any more
  size_t packed_ = 0;           // bytes of streams in frames, and not yet subtracted from unsent
  uint32_t batch_size_ = 0;     // requests in it; written under ownership when it is taken
  char* read_block_ = nullptr;  // what the requests of the batch borrow from; only while there are such

  // The owner's.
  connection_counts counts_;
  session session_;
  static constexpr int64_t kNotRead = -1;
  int64_t now_ = 0;                // see now()
  stream* batch_first_ = nullptr;  // requests complete and not yet run, in order of arrival
  stream* batch_last_ = nullptr;
  uint32_t batch_count_ = 0;
  stream* live_ = nullptr;
  uint32_t live_count_ = 0;
  spare* spare_ = nullptr;            // while bytes are looked at or streams live
  outgoing* out_ = nullptr;           // on its way to the socket; the flusher's while flushing_
  std::vector<byte_buffer> retired_;  // have lent to it, or may have
  bool flushing_ = false;             // a flusher goroutine writes
  bool soon_ = false;                 // a goroutine is on its way that will post soon_node_
  bool parting_ = false;              // a goroutine says TLS's goodbye, and will post goodbye_node_
  bool silent_ = true;                // nothing is written before the peer has been heard or given up: it may speak HTTP/1.1
  bool reader_alive_ = true;
  bool reader_queued_ = false;       // the reader waits for the grant
  bool reader_needs_drain_ = false;  // … until the output is down again
  bool preface_done_ = false;
  bool lingering_ = false;  // our last byte is sent, we wait for the peer's
  bool dead_ = false;       // the socket is no longer written to
  bool end_counted_ = false;
  bool trimmed_ = false;  // nothing came since the session's pages were given back
  uint32_t refused_counted_ = 0;
  asio::error_code flush_error_;  // the flusher's result

  // The owner's, for what depends on time alone. One timer, armed for the earliest of the moments below and looked after lazily: activity
  // moves a moment without touching the timer, which goes off too early then and is armed anew. 0: never.
  rt::timer timer_;
  int64_t armed_for_ = 0;   // 0: not armed, nothing on its way
  int64_t heard_at_ = 0;    // bytes came
  int64_t ping_due_ = 0;    // an answer to our PING
  int64_t idle_since_ = 0;  // no stream is live since then
  int64_t age_due_ = 0;     // drain
  int64_t drain_due_ = 0;   // the second GOAWAY
  int64_t kill_due_ = 0;    // the end of the grace after age
  bool drain_answered_ = false;
  const char* drain_why_ = "";
};

}  // namespace warren::http2
