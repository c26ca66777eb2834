// session: the HTTP/2 protocol of one client connection as a state machine on bytes, the counterpart of http2::session. nghttp2 inside; no
// socket, no goroutine, no clock: bytes come in, bytes and stream events come out, so that tests and fuzzers can drive it alone.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "server/client/stream.h"
#include "server/http2/session_memory.h"
#include "server/http2/windows.h"

namespace warren::grpc::client {

struct session_limits {
  size_t max_header_list = 16 << 10;
  uint32_t max_header_fields = 128;
  http2::window_limits windows{};
};

// Not thread-safe: used by the connection's owner alone.
class session {
 public:
  class events {
   public:
    virtual void settings_received() = 0;  // each SETTINGS frame that is no acknowledgement
    // The server takes no more streams on this connection. Comes before on_closed of those that it did not look at.
    virtual void goaway_received(uint32_t error_code, std::string_view debug) = 0;
    virtual void stream_closed(stream& s, uint32_t error_code) = 0;

   protected:
    ~events() = default;
  };

  session(const session_limits& limits, events& to);
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  // Takes bytes from the peer. Calls the streams' and events' functions. now: nanoseconds, for rates. false: the connection is over; send
  // what serialise gives and close.
  bool receive(std::string_view bytes, int64_t now);
  // Writes frames into the room given, as many as fit; returns the number of bytes. 0: nothing to send now.
  // REQUIRES: room of at least http2::kFrameRoom.
  size_t serialise(std::span<char> room);
  bool has_output() const noexcept;
  // Neither side has anything to say any more.
  bool finished() const noexcept;
  bool backed_up() const noexcept;  // more is queued than we let a peer make us queue
  // What the peer did wrong, or what ended the session; empty if nothing.
  const std::string& trouble() const noexcept { return trouble_; }

  // Streams that may be open at once, as the server says.
  uint32_t max_concurrent_streams() const noexcept;

  // Begins the stream: HEADERS, then what peek_body offers. false: no stream can be opened any more (GOAWAY, no stream id left).
  bool request(stream& s, std::span<const nghttp2_nv> headers);
  void resume(stream& s);                          // peek_body has something again
  void reset(stream& s, uint32_t error_code);      // RST_STREAM; on_closed comes when it has left
  void consume(stream& s, size_t n, int64_t now);  // its user has taken n bytes: opens the stream's receive window again
  void ping();
  void terminate(uint32_t error_code, std::string_view why = {});  // GOAWAY(error) and nothing more

 private:
  struct callbacks;
  friend struct callbacks;

  session_limits limits_;
  events& to_;
  http2::windows windows_;
  int64_t now_ = 0;
  http2::free_blocks blocks_;
  http2::session_memory memory_;
  nghttp2_session* ng_ = nullptr;
  bool over_ = false;             // receive() said false
  bool failed_ = false;           // nghttp2 cannot go on sending
  stream* in_headers_ = nullptr;  // whose header block is being read
  int idle_frames_ = 0;           // frames in a row that belong to no call
  std::string trouble_;

  // Inside serialise only: the room that send_data fills too.
  char* out_ = nullptr;
  size_t out_room_ = 0;
  size_t out_size_ = 0;
  // A frame of nghttp2's that found no room; valid until the next nghttp2_session_mem_send.
  const uint8_t* frame_ = nullptr;
  size_t frame_size_ = 0;
};

}  // namespace warren::grpc::client
