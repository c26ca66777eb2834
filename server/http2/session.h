// session: the HTTP/2 protocol of one server connection as a state machine on bytes. nghttp2 inside; no socket, no goroutine, no clock
// of its own: bytes and times come in, bytes and stream events come out, so that tests can drive it alone.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "server/http2/frame_watch.h"
#include "server/http2/limits.h"
#include "server/http2/outgoing.h"
#include "server/http2/session_memory.h"
#include "server/http2/stream.h"
#include "server/http2/token_bucket.h"
#include "server/http2/windows.h"

namespace warren::http2 {

struct session_limits {
  uint32_t max_concurrent_streams = 1000;
  size_t max_header_list = 16 << 10;
  uint32_t max_header_fields = 128;
  window_limits windows{};
  int64_t ping_interval_ns = 0;  // the peer may ping so often; 0: as often as it likes
  bool idle_pings = false;       // also while it has no call
};

// Not thread-safe: used by the connection's owner alone.
class session {
 public:
  // What the session tells the connection.
  class events {
   public:
    // A request begins. The stream to use for it, or nullptr: the session answers RST_STREAM(REFUSED_STREAM).
    virtual stream* open_stream(int32_t id) = 0;
    virtual void stream_closed(stream& s) = 0;  // after s.on_closed
    virtual void settings_received() = 0;       // the first SETTINGS frame
    virtual void drain_acknowledged() = 0;      // the PING of begin_drain came back
    virtual bool calls_live() = 0;              // is any stream live, or its handler still running?

   protected:
    ~events() = default;
  };

  enum class end_reason : uint8_t {
    none,
    not_http2,  // the first bytes were no preface; the answer is in the output
    protocol,   // the peer broke HTTP/2's rules: GOAWAY is in the output
    owner,      // terminate() was called: GOAWAY is in the output
    abuse,      // a flood limit was passed: GOAWAY(ENHANCE_YOUR_CALM) is in the output
  };

  session(const session_limits& limits, events& to);
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  // Takes bytes from the peer. Calls the streams' and events' functions. now: nanoseconds, for rates.
  // false: the connection is over; send what serialise gives and close.
  bool receive(std::string_view bytes, int64_t now);

  // Writes frames into the room given, as many as fit; returns the number of bytes. 0: nothing to send now.
  // REQUIRES: room of at least kFrameRoom.
  size_t serialise(std::span<char> room);
  // The same; lend: with large bodies as streams can lend them. Bytes in all.
  size_t serialise(outgoing& to, bool lend);

  bool has_output() const noexcept;

  // Memory for the blocks of calls from here on, kept by the caller (session_memory.h).
  void lend(free_blocks* f) noexcept { memory_.lend(f); }
  // Gives back what memory an idle session does not need, until it is used again. Nothing happens if it is not idle.
  void trim() noexcept;

  // True once neither side has anything to say: everything was sent after the end, or after a GOAWAY with no stream left.
  bool finished() const noexcept;
  bool ended() const noexcept { return reason_ != end_reason::none; }
  end_reason reason() const noexcept { return reason_; }
  bool backed_up() const noexcept;  // more is queued than we let a peer make us queue

  // --- answers. Pointers in fields must live until the stream's response was sent or it closed (NO_COPY). -------------------------------
  void respond(stream& s, std::span<const nghttp2_nv> headers);            // HEADERS with END_STREAM
  void respond_with_body(stream& s, std::span<const nghttp2_nv> headers);  // HEADERS, then what peek_body offers
  void send_headers(stream& s, std::span<const nghttp2_nv> headers);       // HEADERS alone; trailers() follows
  void trailers(stream& s, std::span<const nghttp2_nv> fields);            // HEADERS with END_STREAM
  void resume(stream& s);                                                  // peek_body has something again, or the end
  void share_fairly(stream& s);  // its DATA takes turns with other such streams' instead of going first
  void reset(stream& s, uint32_t error_code);
  // The stream's user has taken n bytes at now: opens its receive window again; the connection's was opened when they came.
  void consume(stream& s, size_t n, int64_t now);
  // From on_data: the frame, however small, brought something whole. Only frames that bring nothing whole are counted against the peer.
  void forgive_small_frame() noexcept;

  // --- the end -------------------------------------------------------------------------------------------------------------------------
  void begin_drain();  // GOAWAY(2^31-1) and a PING
  // GOAWAY(last stream): later streams are refused, the session finishes when the streams have. why: debug data, as other servers send it.
  void finish_drain(std::string_view why = {});
  bool draining() const noexcept { return drain_begun_; }
  bool drained() const noexcept { return goaway_last_ != INT32_MAX; }  // finish_drain was called
  void ping();                                                         // keeps a connection alive, or finds out that it is not
  void terminate(uint32_t error_code);                                 // GOAWAY(error) and nothing more

  // Does it look like a flood that has not passed its limit yet? See kBite.
  bool odd() const noexcept;
  const windows& receive_windows() const noexcept { return windows_; }
  uint32_t streams_refused() const noexcept { return streams_refused_; }
  // When the header block began that has not ended yet; 0: there is none.
  int64_t header_block_since() const noexcept { return header_block_since_; }

 private:
  struct callbacks;
  friend struct callbacks;

  nghttp2_session* ng() noexcept;  // awake. What is const looks at ng_ itself, and what nghttp2 calls
  bool check_preface(std::string_view bytes);
  bool feed(std::string_view bytes);
  // After the end only the GOAWAY goes.
  bool bodies_wait() const noexcept { return waits_first_ != nullptr && !ended(); }
  void submit_bodies();
  void leave_queue(stream& s) noexcept;
  void body_over(stream& s) noexcept;
  void forget_body(stream& s) noexcept;
  int flooded();
  void own_reset();

  session_limits limits_;
  events& to_;
  windows windows_;
  session_memory memory_;
  nghttp2_session* ng_ = nullptr;
  end_reason reason_ = end_reason::none;
  bool settings_seen_ = false;
  bool settings_patched_ = false;
  bool drain_begun_ = false;
  int32_t goaway_last_ = INT32_MAX;  // the last stream of the GOAWAY that was submitted
  size_t preface_have_ = 0;
  std::string raw_answer_;        // for a peer that does not speak HTTP/2: what of it is not sent yet
  bool failed_ = false;           // nghttp2 cannot go on sending
  stream* in_headers_ = nullptr;  // whose header block is being read
  uint32_t streams_refused_ = 0;
  uint32_t streams_open_ = 0;     // that the peer has opened and that nghttp2 still knows
  uint32_t forgiven_resets_ = 0;  // refusals on their way out that are not the peer's fault
  int64_t header_block_since_ = 0;
  size_t data_length_ = 0;  // of the DATA frame that began last
  int32_t last_id_ = 0;

  // Ids the peer skipped: a stream must not be opened there later (RFC 9113 §5.1.1). nghttp2 takes such HEADERS for late ones of a
  // closed stream and ignores them; we tell the two apart by remembering the last few gaps.
  struct gap {
    int32_t first = 0;
    int32_t last = 0;
  };
  gap gaps_[4];
  unsigned next_gap_ = 0;
  frame_watch watch_;

  // Flood accounting.
  bool too_many_pings();
  int idle_frames_ = 0;
  bool terminated_ = false;
  int ping_strikes_ = 0;
  int64_t last_ping_ = 0;  // 0: none since we last sent HEADERS or DATA
  int small_data_budget_;
  token_bucket own_resets_{kOwnResetBurst, kOwnResetPerSecond};
  token_bucket peer_resets_{kPeerResetBurst, kPeerResetPerSecond};
  int64_t now_ = 0;

  // Inside serialise only: the room that send_data fills too.
  char* out_ = nullptr;
  size_t out_room_ = 0;
  size_t out_size_ = 0;
  outgoing* lends_ = nullptr;  // where to put what is lent
  // A frame of nghttp2's that found no room; valid until the next nghttp2_session_mem_send.
  const uint8_t* frame_ = nullptr;
  size_t frame_size_ = 0;

  // Bodies: see the head of session.cpp.
  stream* waits_first_ = nullptr;
  stream* waits_last_ = nullptr;
  uint32_t items_ = 0;         // bodies that nghttp2 has an item for, or will have with their headers
  stream* drying_ = nullptr;   // whose last bytes for now are in a frame that nghttp2 has packed and not handed out yet
  bool drying_again_ = false;  // it has more meanwhile
};

}  // namespace warren::http2
