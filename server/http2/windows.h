// windows: the receive windows of one session, and how they grow with the path (bdp.h). For the server's sessions and the client's.
//
// The connection's window is opened as bytes arrive, so that one slow handler cannot stall the others; a stream's is opened by its user, as
// it takes what came. So what a stream's window is, is what a peer may make us hold for a handler that does not read, and growing it needs
// care:
//   - A stream begins with the initial window, whatever others have grown to: SETTINGS never change. It gets the larger one when its own
//     user has taken a quarter of what it had. A call that nobody reads, or that is short, costs what it always did.
//   - What streams were given above the initial window has a bound of its own (window_limits::extra), all streams of the connection
//     together. Who comes too late keeps what he has, until streams end and give theirs back.
// In return the first bytes of a call that is larger than the initial window wait for one round trip. (grpc-go raises the initial window
// for all streams, also those that nobody reads: a hundred of them may then hold a hundred times the largest window.)
#pragma once
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "server/http2/bdp.h"
#include "server/http2/limits.h"
#include "server/http2/nghttp2_result.h"

namespace warren::http2 {

struct window_limits {
  uint32_t stream = kStreamWindow;          // bytes; what SETTINGS says
  uint32_t connection = kConnectionWindow;  // bytes
  uint32_t most = 0;                        // either grows up to this; no larger than stream: they stay as they are
  uint64_t extra = 0;                       // what all streams together may have above `stream`

  // As users' options have them: 0 for stream or connection takes the default; windows grow only if neither was chosen. hold: bytes that a
  // connection may make us hold; the half of it may go to grown windows.
  static window_limits of(uint32_t stream_window, uint32_t connection_window, uint32_t most, uint64_t hold) noexcept {
    window_limits w;
    if (stream_window == 0 && connection_window == 0) {
      w.most = std::min(most, kLargestWindow);
      w.extra = hold / 2;
    }
    if (stream_window != 0) w.stream = stream_window;
    if (connection_window != 0) w.connection = connection_window;
    return w;
  }
};

// A stream's part of it.
struct stream_window {
  uint32_t size = 0;   // bytes; what its peer has, or will have when what was sent reaches it
  uint32_t taken = 0;  // by its user, since it was last looked at
};

// Not thread-safe: of a session.
class windows {
 public:
  explicit windows(const window_limits& limits) noexcept
      : limits_(limits), path_(limits.stream, limits.most), connection_(limits.connection) {}

  void opened(stream_window& w) const noexcept { w = {limits_.stream, 0}; }
  void closed(stream_window& w) noexcept {
    extra_ -= w.size - limits_.stream;
    w.size = limits_.stream;
  }

  // DATA of any stream came: the connection's window opens.
  void received(nghttp2_session* ng, size_t n) {
    path_.received(n);
    submitted(nghttp2_session_consume_connection(ng, n));
  }

  // The user of an open stream has taken n bytes of it: its window opens. ended: the peer has sent its last, or is about to be known to
  // have; nobody needs a window then.
  void taken(nghttp2_session* ng, int32_t id, stream_window& w, size_t n, int64_t now, bool ended) {
    if (!ended) submitted(nghttp2_session_consume_stream(ng, id, n));
    if (limits_.most <= limits_.stream) return;
    // Behind the window updates: a proxy that counts PINGs sees that they come with something.
    if (path_.taken(n, now)) submitted(nghttp2_submit_ping(ng, NGHTTP2_FLAG_NONE, path_.ping().data()));
    w.taken += static_cast<uint32_t>(n);
    if (w.taken < w.size / kTakenDivisor) return;
    w.taken = 0;
    if (!ended) grow(ng, id, w);
  }

  // A PING of ours, whichever, came back. true: the windows grow.
  bool ping_acknowledged(nghttp2_session* ng, const uint8_t (&payload)[8], int64_t now) {
    if (!path_.acknowledged(payload, now)) return false;
    if (path_.window() > connection_) {
      connection_ = path_.window();
      submitted(nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(connection_)));
    }
    return true;
  }

  uint32_t stream() const noexcept { return path_.window(); }  // what a stream that is read may have
  uint32_t connection() const noexcept { return connection_; }
  uint64_t extra() const noexcept { return extra_; }  // what open streams have above the initial window, all together

 private:
  static constexpr uint32_t kTakenDivisor = 4;

  void grow(nghttp2_session* ng, int32_t id, stream_window& w) {
    if (w.size >= path_.window()) return;
    const auto more = static_cast<uint32_t>(std::min<uint64_t>(path_.window() - w.size, limits_.extra - extra_));
    if (more < w.size / kTakenDivisor) return;  // what is left of extra, in drops
    extra_ += more;
    w.size += more;
    submitted(nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, id, static_cast<int32_t>(w.size)));
  }

  const window_limits limits_;
  bdp path_;
  uint32_t connection_;
  uint64_t extra_ = 0;
};

}  // namespace warren::http2
