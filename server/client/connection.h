// connection: one socket to a server, its HTTP/2 session, and the goroutines that use it. How they share it: connection.cpp.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <warren/stream.h>

#include "server/client/session.h"
#include "server/client/stream.h"
#include "server/http2/block_pool.h"
#include "server/http2/owner_word.h"

namespace warren::grpc::client {

struct connection_options {
  session_limits session;
  std::chrono::nanoseconds settings_timeout{20'000'000'000};  // to get the server's first SETTINGS
  std::chrono::nanoseconds write_timeout{20'000'000'000};
  std::chrono::nanoseconds keepalive_time = std::chrono::nanoseconds::max();  // nothing received for so long: ping
  std::chrono::nanoseconds keepalive_timeout{20'000'000'000};
  bool keepalive_without_calls = false;
};

class connection final : private session::events, public std::enable_shared_from_this<connection> {
 public:
  // The layer above. Its functions are called by the owner, in the midst of its work: they may wait for a lock that is held for moments,
  // and for nothing else, and must not call the connection.
  class host {
   public:
    virtual void connection_ready(connection& c) = 0;  // the server's first SETTINGS came
    // No more calls on it. pings: the server finds our keepalive too eager.
    virtual void connection_draining(connection& c, std::string_view why, bool too_many_pings) = 0;
    // The last call: its goroutines have ended, but for the one that calls this, which does not touch the host afterwards.
    virtual void connection_ended(connection& c, std::string_view why) = 0;

   protected:
    ~host() = default;
  };

  // blocks must live as long as the connection: hence the owner of the pool, which is also the host.
  connection(std::unique_ptr<warren::stream> socket, std::shared_ptr<host> h, std::shared_ptr<http2::block_pool> blocks,
             const connection_options& options);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  void start();  // its reader goroutine
  const std::string& peer() const noexcept { return peer_; }
  bool secure() const noexcept { return secure_; }
  void mark_secure() noexcept { secure_ = true; }  // before start()

  // Tells the owner that bits happened to s, and becomes the owner if there is none. Any goroutine that keeps s and the connection alive.
  // Never waits for the network; with kStart or kOutput may let other goroutines run first, so that one write takes their frames along.
  void post(stream& s, uint32_t bits);

  // End it when its calls are over, or at once with all of them.
  void drain() { post_control(kDrain); }
  void kill() { post_control(kKill); }

 private:
  enum : uint32_t { kDrain = 1, kKill = 2, kFlushed = 1 };

  void post_control(uint32_t bits);
  void handle(http2::node& n);
  void handle_stream(stream& s, uint32_t bits);
  void release();
  void admit();
  void begin(stream& s);
  void put(stream*& first, stream*& last, stream& s) noexcept;
  void take_out(stream*& first, stream*& last, stream& s) noexcept;
  void stop_accepting(std::string_view why, bool too_many_pings);
  void empty_line();
  void close_stream(stream& s, ending how, uint32_t code, std::string_view why);
  void flush();
  void start_flusher();
  void write_failed(const asio::error_code& ec);
  void die(std::string_view why);
  void note_end();

  void read_loop();
  bool read_once();
  void tick(int64_t now);
  int64_t next_due() const noexcept;
  void end_reading();

  // session::events
  void settings_received() override;
  void goaway_received(uint32_t error_code, std::string_view debug) override;
  void stream_closed(stream& s, uint32_t error_code) override;

  // Shared.
  http2::owner_word word_;
  http2::node reader_node_{http2::node::kind::reader};
  http2::node flusher_node_{http2::node::kind::flusher};
  http2::node control_node_{http2::node::kind::control};

  // Constant after construction.
  const std::shared_ptr<host> host_;
  const std::shared_ptr<http2::block_pool> blocks_;
  const connection_options options_;
  const std::unique_ptr<warren::stream> socket_;  // its own rules of sharing
  std::string peer_;
  bool secure_ = false;

  // The owner's.
  session session_;
  stream* open_first_ = nullptr;
  stream* open_last_ = nullptr;
  uint32_t open_count_ = 0;
  stream* line_first_ = nullptr;  // begun when the server takes more streams; first come, first served
  stream* line_last_ = nullptr;
  char* out_ = nullptr;  // bytes on their way to the socket; the flusher's while flushing_
  size_t out_at_ = 0;
  size_t out_end_ = 0;
  bool flushing_ = false;
  bool ready_ = false;     // SETTINGS came
  bool accepting_ = true;  // new streams may begin
  bool draining_ = false;  // end it when no stream is open
  bool cut_off_ = false;   // a write failed: nothing more is written, and the reader reads what has come
  bool dead_ = false;      // the socket is no longer written to, and what it brings counts no more
  bool killed_ = false;    // … because the channel was closed
  bool reader_alive_ = true;
  bool reader_queued_ = false;
  bool reader_needs_drain_ = false;
  asio::error_code flush_error_;
  std::string why_;  // what ended it

  // The reader's, for what depends on time alone.
  int64_t settings_due_ = 0;  // 0: none
  int64_t heard_at_ = 0;
  int64_t ping_due_ = 0;  // an answer to our PING
};

}  // namespace warren::grpc::client
