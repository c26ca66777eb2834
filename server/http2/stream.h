// stream: one HTTP/2 stream as the layers share it. The gRPC call derives from it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/http2/field_rules.h"
#include "server/http2/windows.h"

namespace warren::http2 {

class connection;
class session;

// Something that can be queued for the owner of a connection (see connection.cpp). Bits say what happened; the node is in the queue at
// most once, because only the push that sets kQueued on a clear word links it.
struct node {
  enum class kind : uint8_t { stream, reader, flusher, soon, goodbye, control };
  static constexpr uint32_t kQueued = 1u << 31;
  static constexpr uint32_t kRunEnded = 1u << 30;  // of a stream: run() has returned on a goroutine that is no longer the reader

  explicit node(kind k) noexcept : what(k) {}

  node* next = nullptr;  // guarded by the queue's protocol
  std::atomic<uint32_t> events{0};
  const kind what;
};

// Who may call what: "owner" is the goroutine that owns the connection at that moment, "runner" the one that runs the handler.
class stream : public node {
 public:
  // --- request side, called by the session. Owner. ---
  virtual void on_header(std::string_view name, std::string_view value) = 0;  // never for trailers
  virtual void on_headers_over_limit() = 0;                                   // some were not delivered; comes before on_headers_end
  virtual void on_headers_end(session& s) = 0;
  virtual void on_data(session& s, std::string_view bytes) = 0;
  virtual void on_request_end(session& s) = 0;      // END_STREAM came
  virtual void on_closed(uint32_t error_code) = 0;  // the stream is over for HTTP/2: finished, reset, or the connection is gone

  // --- response side. Owner. ---
  struct piece {
    size_t size;           // bytes that can be sent now, at most what was asked for; 0 with end false: nothing yet
    bool end;              // no DATA follows
    bool trailers = true;  // at the end: they close the stream, and peek_body has submitted them
    bool dry = false;      // behind these bytes there is nothing yet: session::resume says when there is
  };
  virtual piece peek_body(session& s, size_t most) = 0;
  virtual void take_body(char* into, size_t n) = 0;  // copies and consumes n bytes of what peek_body offered
  // Consumes them without a copy. Where they are; they stay there until the connection has written them (connection::retire). nullptr: they
  // cannot, and nothing is consumed.
  virtual const char* lend_body(size_t) { return nullptr; }

  // --- between owner and runner ---
  virtual void on_events(session& s, uint32_t bits) = 0;  // owner, for what was posted
  virtual void run() noexcept = 0;                        // runner: the handler, in place
  virtual void on_run_end(session& s) = 0;                // owner, after run() returned in place
  // Of a request that is ready: are its bytes still those that on_data got? keep_bytes makes a copy. For who runs it, or could.
  virtual bool borrows() const noexcept { return false; }
  virtual void keep_bytes() {}
  // Owner: the connection ends for good; answer if possible.
  virtual void on_kill(session& s, std::string_view why) = 0;
  // Owner, every so often while the stream is live. false: what it has to send made no progress for longer than patience (nanoseconds), and
  // it was reset.
  virtual bool on_tick(session& s, int64_t now, int64_t patience) = 0;
  virtual bool unused() const noexcept = 0;  // owner: not running, nothing armed: may be reused once closed
  virtual void on_reuse() = 0;               // owner: the next request will be another one

  int32_t id() const noexcept { return id_; }
  bool request_ended() const noexcept { return request_ended_; }

 protected:
  stream() noexcept : node(kind::stream) {}
  ~stream() = default;

  // During on_data: the bytes are all of the frame that ends the request. They stay where they are until run(): a stream that becomes ready
  // with them need not copy them (connection.cpp, "The bytes of a batch").
  bool ends_request() const noexcept { return ends_request_; }

  connection* connection_ = nullptr;  // that the request came on

 private:
  friend class session;
  friend class connection;
  int32_t id_ = 0;
  bool open_ = false;           // nghttp2 knows it
  bool request_ended_ = false;  // the peer sent END_STREAM
  bool ends_request_ = false;
  field_rules rules_;
  uint64_t header_bytes_ = 0;
  uint32_t header_count_ = 0;
  bool over_limit_ = false;
  bool body_asked_ = false;       // the session is going to ask for the body: the stream waits its turn, or nghttp2 has an item for it
  stream* waits_next_ = nullptr;  // among those that wait their turn
  stream* waits_prev_ = nullptr;
  stream_window window_;
  stream* batch_next_ = nullptr;  // in a batch, in a list of finished ones, or in a spare
  stream* live_next_ = nullptr;   // among the connection's streams
  stream* live_prev_ = nullptr;
};

}  // namespace warren::http2
