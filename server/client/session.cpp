// What nghttp2 does for a client: framing, HPACK, stream states, flow control, SETTINGS, the form of header fields and of whole responses,
// the refusal of pushes, and GOAWAY: streams above its last id are closed with REFUSED_STREAM, later ones are not allowed. What this file
// adds:
//  - header list limits, which nghttp2 only stores;
//  - a bound on frames in a row that belong to no call (PING, SETTINGS, WINDOW_UPDATE floods), as for a client that floods our server;
//  - END_STREAM seen before our own: the answer is complete, nobody will read what we send, so the stream is reset (NO_ERROR) and its place
//    among the concurrent streams is free.
// How many streams may be open at once is not left to nghttp2, which would keep requests in a queue of its own that nobody can leave: the
// connection has the line.
// Receive windows follow consumption, and the path: http2/windows.h.
#include "server/client/session.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "server/http2/joined_values.h"
#include "server/http2/limits.h"
#include "server/http2/nghttp2_result.h"

namespace warren::grpc::client {

namespace {

using http2::must;
using http2::submitted;

constexpr uint8_t kKeepalivePing[8] = {'w', 'a', 'r', 'r', 'e', 'n', 'c', 'l'};

}  // namespace

struct session::callbacks {
  static session& self(void* user) { return *static_cast<session*>(user); }
  static stream* find(session& s, int32_t id) { return static_cast<stream*>(nghttp2_session_get_stream_user_data(s.ng_, id)); }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
    session& s = self(user);
    switch (hd->type) {
      case NGHTTP2_HEADERS: s.idle_frames_ = 0; break;
      case NGHTTP2_DATA:
        if (hd->length > 0) {
          s.idle_frames_ = 0;
          break;
        }
        [[fallthrough]];
      default:
        if (++s.idle_frames_ > http2::kMaxIdleFrames) {
          s.trouble_ = "the server floods the connection with frames that belong to no call";
          return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    return 0;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    session& s = self(user);
    s.in_headers_ = find(s, frame->hd.stream_id);
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t namelen, const uint8_t* value, size_t valuelen,
                    uint8_t, void* user) {
    session& s = self(user);
    stream* const st = s.in_headers_;
    if (st == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), namelen), text(reinterpret_cast<const char*>(value), valuelen);
    const uint32_t fields = http2::joined_values(key, text);
    st->header_count_ += fields;
    st->header_bytes_ += fields * (key.size() + 32) + text.size();
    if (st->over_limit_)
      return st->header_bytes_ > http2::kHeaderBomb * s.limits_.max_header_list ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
    if (st->header_count_ > s.limits_.max_header_fields || st->header_bytes_ > s.limits_.max_header_list) {
      st->over_limit_ = true;
      st->on_headers_over_limit();
      return 0;
    }
    st->on_header(key, text);
    return 0;
  }

  // As in the server: a forbidden byte in a value costs the field only, in a name the stream.
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t namelen, const uint8_t*, size_t, uint8_t,
                            void*) {
    return nghttp2_check_header_name(name, namelen) != 0 ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int frame_recv(nghttp2_session* ng, const nghttp2_frame* frame, void* user) {
    session& s = self(user);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (stream* const st = std::exchange(s.in_headers_, nullptr)) {
          st->header_bytes_ = 0;
          st->header_count_ = 0;  // each block has the limit for itself
          st->response_ended_ |= end;
          st->on_headers_end(s, end);
          if (end) ended(ng, *st);
        }
        break;
      case NGHTTP2_DATA:
        if (!end) break;
        if (stream* const st = find(s, frame->hd.stream_id)) {
          st->response_ended_ = true;
          st->on_data_end(s);
          ended(ng, *st);
        }
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) s.to_.settings_received();
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) s.windows_.ping_acknowledged(ng, frame->ping.opaque_data, s.now_);
        break;
      case NGHTTP2_GOAWAY:
        s.to_.goaway_received(frame->goaway.error_code,
                              {reinterpret_cast<const char*>(frame->goaway.opaque_data), frame->goaway.opaque_data_len});
        break;
      default: break;
    }
    return 0;
  }

  static void ended(nghttp2_session* ng, stream& st) {
    if (!st.request_sent_ && st.place_ == stream::place::open) {
      submitted(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, st.id_, NGHTTP2_NO_ERROR));
    }
  }

  static int data_chunk(nghttp2_session* ng, uint8_t, int32_t id, const uint8_t* data, size_t len, void* user) {
    session& s = self(user);
    s.windows_.received(ng, len);
    if (stream* const st = find(s, id)) st->on_data(s, {reinterpret_cast<const char*>(data), len});
    return 0;
  }

  static int stream_close(nghttp2_session* ng, int32_t id, uint32_t code, void* user) {
    session& s = self(user);
    stream* const st = find(s, id);
    if (st == nullptr) return 0;
    nghttp2_session_set_stream_user_data(ng, id, nullptr);
    s.windows_.closed(st->window_);
    if (s.in_headers_ == st) s.in_headers_ = nullptr;
    s.to_.stream_closed(*st, code);
    return 0;
  }

  // A header block that cannot be sent (nghttp2's limit is 64 KiB), or a stream that a GOAWAY came before, would leave the call waiting.
  static int frame_not_send(nghttp2_session* ng, const nghttp2_frame* frame, int error, void* user) {
    session& s = self(user);
    if (frame->hd.type == NGHTTP2_HEADERS && error != NGHTTP2_ERR_START_STREAM_NOT_ALLOWED && error != NGHTTP2_ERR_STREAM_CLOSING &&
        find(s, frame->hd.stream_id) != nullptr) {
      submitted(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR));
    }
    return 0;
  }

  static int error(nghttp2_session*, int, const char* text, size_t n, void* user) {
    session& s = self(user);
    if (s.trouble_.empty()) s.trouble_.assign(text, n);
    return 0;
  }

  static ssize_t read_body(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags, nghttp2_data_source* source, void*) {
    stream& st = *static_cast<stream*>(source->ptr);
    const stream::piece p = st.peek_body(length);
    if (p.size == 0 && !p.end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (p.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      st.request_sent_ = true;
    }
    return static_cast<ssize_t>(p.size);
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* framehd, size_t length, nghttp2_data_source* source, void* user) {
    session& s = self(user);
    constexpr size_t kFrameHeader = 9;  // we never ask for padding
    if (s.out_room_ - s.out_size_ < kFrameHeader + length) return NGHTTP2_ERR_WOULDBLOCK;
    std::memcpy(s.out_ + s.out_size_, framehd, kFrameHeader);
    if (length != 0) static_cast<stream*>(source->ptr)->take_body(s.out_ + s.out_size_ + kFrameHeader, length);
    s.out_size_ += kFrameHeader + length;
    return 0;
  }

  static int frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) self(user).idle_frames_ = 0;
    return 0;
  }

  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const t = [] {
      nghttp2_session_callbacks* c = nullptr;
      must(nghttp2_session_callbacks_new(&c), "nghttp2_session_callbacks_new");
      nghttp2_session_callbacks_set_on_begin_frame_callback(c, begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(c, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(c, header);
      nghttp2_session_callbacks_set_on_invalid_header_callback(c, invalid_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(c, frame_recv);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(c, stream_close);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(c, frame_not_send);
      nghttp2_session_callbacks_set_on_frame_send_callback(c, frame_send);
      nghttp2_session_callbacks_set_error_callback2(c, error);
      nghttp2_session_callbacks_set_send_data_callback(c, send_data);
      return c;
    }();
    return t;
  }

  static const nghttp2_option* options() {
    static const nghttp2_option* const o = [] {
      nghttp2_option* made = nullptr;
      must(nghttp2_option_new(&made), "nghttp2_option_new");
      nghttp2_option_set_no_auto_window_update(made, 1);
      nghttp2_option_set_no_closed_streams(made, 1);
      nghttp2_option_set_max_outbound_ack(made, http2::kMaxQueuedAcks);
      nghttp2_option_set_max_continuations(made, http2::kMaxContinuations);
      return made;
    }();
    return o;
  }
};

session::session(const session_limits& limits, events& to) : limits_(limits), to_(to), windows_(limits.windows) {
  memory_.lend(&blocks_);
  must(nghttp2_session_client_new3(&ng_, callbacks::table(), this, callbacks::options(), memory_.table()), "nghttp2_session_client_new3");
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.windows.stream},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, http2::kHeaderTableSize},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits_.max_header_list)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  must(nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, settings, std::size(settings)), "nghttp2_submit_settings");
  must(nghttp2_session_set_local_window_size(ng_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(limits_.windows.connection)),
       "nghttp2_session_set_local_window_size");
}

session::~session() { nghttp2_session_del(ng_); }

bool session::receive(std::string_view bytes, int64_t now) {
  if (over_) return false;
  now_ = now;
  const ssize_t n = nghttp2_session_mem_recv(ng_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (n == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (n < 0) {
    over_ = true;
    if (trouble_.empty()) {
      trouble_ = n == NGHTTP2_ERR_BAD_CLIENT_MAGIC || n == NGHTTP2_ERR_PROTO ? "the server does not speak HTTP/2"
                                                                             : nghttp2_strerror(static_cast<int>(n));
    }
    const bool flood = n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_CALLBACK_FAILURE;
    submitted(nghttp2_session_terminate_session(ng_, flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR));
    return false;
  }
  return true;
}

size_t session::serialise(std::span<char> room) {
  out_ = room.data();
  out_room_ = room.size();
  out_size_ = 0;
  for (;;) {
    if (frame_size_ == 0) {
      if (out_room_ - out_size_ < http2::kFrameRoom) break;
      // May also put DATA frames into the room itself, through send_data.
      const ssize_t n = nghttp2_session_mem_send(ng_, &frame_);
      if (n == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
      if (n < 0) {
        failed_ = true;
        break;
      }
      if (n == 0) break;
      frame_size_ = static_cast<size_t>(n);
    }
    if (out_room_ - out_size_ < frame_size_) break;  // DATA took the room: the frame waits for the next call
    std::memcpy(out_ + out_size_, frame_, frame_size_);
    out_size_ += frame_size_;
    frame_size_ = 0;
  }
  return out_size_;
}

bool session::has_output() const noexcept { return !failed_ && (frame_size_ != 0 || nghttp2_session_want_write(ng_) != 0); }

bool session::finished() const noexcept { return !has_output() && (failed_ || over_ || nghttp2_session_want_read(ng_) == 0); }

bool session::backed_up() const noexcept { return nghttp2_session_get_outbound_queue_size(ng_) > http2::kMaxOutboundQueue; }

uint32_t session::max_concurrent_streams() const noexcept {
  return nghttp2_session_get_remote_settings(ng_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool session::request(stream& s, std::span<const nghttp2_nv> headers) {
  if (over_ || nghttp2_session_check_request_allowed(ng_) == 0) return false;
  nghttp2_data_provider body;
  body.source.ptr = &s;
  body.read_callback = callbacks::read_body;
  const int32_t id = nghttp2_submit_request(ng_, nullptr, headers.data(), headers.size(), &body, &s);
  if (id == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (id < 0) return false;
  s.id_ = id;
  windows_.opened(s.window_);
  return true;
}

void session::resume(stream& s) { submitted(nghttp2_session_resume_data(ng_, s.id_)); }

void session::reset(stream& s, uint32_t error_code) { submitted(nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, s.id_, error_code)); }

void session::consume(stream& s, size_t n, int64_t now) { windows_.taken(ng_, s.id_, s.window_, n, now, s.response_ended_); }

void session::ping() {
  if (!over_) submitted(nghttp2_submit_ping(ng_, NGHTTP2_FLAG_NONE, kKeepalivePing));
}

void session::terminate(uint32_t error_code, std::string_view why) {
  if (over_) return;
  over_ = true;
  if (trouble_.empty()) trouble_ = why;
  submitted(nghttp2_session_terminate_session(ng_, error_code));
}

}  // namespace warren::grpc::client
