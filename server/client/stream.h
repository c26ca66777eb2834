// stream: one HTTP/2 stream of a client as the layers share it. An attempt of a call derives from it.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "server/http2/stream.h"
#include "server/http2/windows.h"

namespace warren::grpc::client {

class session;

// Why a stream is over, beside the error code.
enum class ending : uint8_t {
  never_sent,  // its request did not leave this process
  refused,     // the server says that it did not look at it: REFUSED_STREAM, or above the last stream of a GOAWAY
  reset,       // RST_STREAM from the peer, or HTTP/2 itself was broken on it
  finished,    // both sides had sent their last
  lost,        // the connection is gone
  closed,      // … because this side closed it
};

// All functions are called by the owner of the connection, but pin and unpin.
class stream : public http2::node {
 public:
  enum : uint32_t {  // what is posted
    kStart = 1,      // begin: once
    kOutput = 2,     // peek_body has something (again)
    kReset = 4,      // the call is over for its caller
    kConsumed = 8,   // messages were taken: take_consumed()
  };

  // --- the request ---
  virtual std::span<const nghttp2_nv> request_headers() = 0;  // what they point to lives until on_closed
  struct piece {
    size_t size;  // bytes that can be sent now, at most what was asked for; 0 with end false: nothing yet
    bool end;     // nothing follows
  };
  virtual piece peek_body(size_t most) = 0;
  virtual void take_body(char* into, size_t n) = 0;  // copies and consumes n bytes of what peek_body offered

  // --- the response ---
  virtual void on_header(std::string_view name, std::string_view value) = 0;
  virtual void on_headers_over_limit() = 0;                      // some were not delivered; comes before on_headers_end
  virtual void on_headers_end(session& s, bool end_stream) = 0;  // informational, initial or last: the user tells by what it saw
  virtual void on_data(session& s, std::string_view bytes) = 0;  // the connection's window is open again, the stream's is not
  virtual void on_data_end(session& s) = 0;                      // END_STREAM on DATA
  virtual void on_closed(ending how, uint32_t error_code, std::string_view why) = 0;  // the last call, exactly one after kStart

  virtual size_t take_consumed() = 0;

  // The object stays while it is pinned. Any thread; never park.
  virtual void pin() noexcept = 0;
  virtual void unpin() noexcept = 0;

  int32_t id() const noexcept { return id_; }

 protected:
  stream() noexcept : node(kind::stream) {}
  ~stream() = default;

 private:
  friend class session;
  friend class connection;
  // Where it is: a state says who has it in a list.
  enum class place : uint8_t {
    outside,  // not begun
    in_line,  // of the connection's line: the server takes no more streams at the moment
    open,     // of the connection's open streams; nghttp2 knows it
    closed,   // over
  };
  place place_ = place::outside;
  int32_t id_ = 0;
  uint64_t header_bytes_ = 0;
  uint32_t header_count_ = 0;
  bool over_limit_ = false;
  bool given_up_ = false;        // kReset came before kStart
  bool request_sent_ = false;    // our END_STREAM has been put into a frame
  bool response_ended_ = false;  // the peer's END_STREAM came
  http2::stream_window window_;
  stream* next_ = nullptr;
  stream* prev_ = nullptr;
};

}  // namespace warren::grpc::client
