// What nghttp2 does for us: framing, HPACK, stream states, flow control, SETTINGS, the form of header fields (pseudo headers first and
// once, lower case, no connection headers, `te`), content-length, padding. What it does not, and this file adds:
//  - the preface: nghttp2 gives up without an answer; a browser or an HTTP/1.1 health check gets a line it can show instead;
//  - MAX_CONCURRENT_STREAMS: past the announced number nghttp2 ends the connection. We tell nghttp2 "no limit", write the real number into
//    the SETTINGS frame on its way out, and refuse single streams (REFUSED_STREAM), which clients may retry elsewhere;
//  - header list limits: nghttp2 only stores that setting;
//  - stream ids the peer skipped and opens later: nghttp2 ignores them where RFC 9113 §5.1.1 wants a connection error;
//  - frames on a stream after the peer has ended it, priorities that make no sense: frame_watch.h;
//  - floods: resets that we are made to send, control frames, tiny DATA (limits.h);
//  - receive windows that follow consumption, and the path: windows.h.
//
// Bodies. nghttp2 asks the item it holds for a stream's body again and again, until that says it has ended or has nothing: of a stream of
// small messages every second question would be for nothing, and each costs as much as a frame. So an item ends with the bytes there are
// (NO_END_STREAM), and the stream gets a new one when it has more: its item costs less than the question. nghttp2's queue of items, a heap,
// is nearly free while it holds one; so streams wait here, first come first served, and get their items one by one as room is filled. If
// nghttp2 has items already that are not done (large bodies, shut windows), all who wait get theirs at once: who goes first among bodies
// that do not fit is its affair, and only there the urgency of a PRIORITY_UPDATE counts.
#include "server/http2/session.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "server/http2/joined_values.h"
#include "server/http2/limits.h"
#include "server/http2/nghttp2_result.h"

namespace warren::http2 {

namespace {

constexpr std::string_view kPreface{NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN};

constexpr std::string_view kHttp1Answer =
    "HTTP/1.1 400 Bad Request\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 76\r\n"
    "Connection: close\r\n"
    "\r\n"
    "This port speaks gRPC (HTTP/2 with prior knowledge); use a gRPC client here.";

// An empty SETTINGS frame (the server's part of the preface) and GOAWAY(last stream 0, PROTOCOL_ERROR).
constexpr char kNotHttp2Answer[] = {
    0, 0, 0, 4, 0, 0, 0, 0, 0,                          //
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,  //
};

constexpr uint8_t kDrainPing[8] = {1, 6, 1, 8, 0, 3, 3, 9};

constexpr uint8_t kKeepalivePing[8] = {'w', 'a', 'r', 'r', 'e', 'n', 'k', 'a'};

// Is this the beginning of a request line: a method in upper-case letters, a target, "HTTP/1."? As far as it has come; enough to choose the
// form of the refusal.
bool looks_like_http1(std::string_view first_bytes) {
  constexpr std::string_view version = "HTTP/1.";
  size_t n = 0;
  while (n < first_bytes.size() && first_bytes[n] >= 'A' && first_bytes[n] <= 'Z') n++;
  if (n < 3) return false;
  if (n == first_bytes.size()) return true;
  if (first_bytes[n] != ' ') return false;
  const size_t target_end = first_bytes.find_first_of(" \r\n", n + 1);
  if (target_end == std::string_view::npos) return true;
  const std::string_view rest = first_bytes.substr(target_end + 1);
  return first_bytes[target_end] == ' ' && (rest.starts_with(version) || version.starts_with(rest));
}

}  // namespace

struct session::callbacks {
  static session& self(void* user) { return *static_cast<session*>(user); }

  static stream* find(session& s, int32_t id) { return static_cast<stream*>(nghttp2_session_get_stream_user_data(s.ng_, id)); }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
    session& s = self(user);
    if (hd->type != NGHTTP2_CONTINUATION) s.header_block_since_ = 0;  // the one before is over, or came to nothing
    switch (hd->type) {
      case NGHTTP2_HEADERS:
        s.idle_frames_ = 0;
        if (hd->stream_id > s.last_id_) {
          if (hd->stream_id > s.last_id_ + 2 && hd->stream_id % 2 == 1) {
            s.gaps_[s.next_gap_++ % std::size(s.gaps_)] = {s.last_id_ + 1, hd->stream_id - 1};
          }
          s.last_id_ = hd->stream_id;
        } else {
          for (const gap& g : s.gaps_) {
            if (hd->stream_id >= g.first && hd->stream_id <= g.last) {
              s.reason_ = end_reason::protocol;
              return NGHTTP2_ERR_CALLBACK_FAILURE;
            }
          }
        }
        break;
      case NGHTTP2_DATA:
        s.data_length_ = hd->length;
        if (hd->length > 0) s.idle_frames_ = 0;
        if (hd->length >= kSmallData) {
          const int64_t refund = static_cast<int64_t>(hd->length) - kSmallData;
          s.small_data_budget_ = static_cast<int>(std::min<int64_t>(kSmallDataBudget, s.small_data_budget_ + refund));
        } else if ((hd->flags & NGHTTP2_FLAG_END_STREAM) == 0) {
          s.small_data_budget_ -= kSmallData - static_cast<int>(hd->length);
          if (s.small_data_budget_ < 0) return s.flooded();
        }
        break;
      case NGHTTP2_CONTINUATION: break;
      default:
        if (++s.idle_frames_ > kMaxIdleFrames) return s.flooded();
    }
    return 0;
  }

  static int begin_headers(nghttp2_session* ng, const nghttp2_frame* frame, void* user) {
    session& s = self(user);
    s.header_block_since_ = s.now_;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    const int32_t id = frame->hd.stream_id;
    // Above the last stream of a GOAWAY that is about to be sent: the client will be told that it was not processed, so it must not be.
    if (id > s.goaway_last_) return 0;
    stream* st = s.to_.open_stream(id);
    if (st == nullptr) {
      s.streams_refused_++;
      // The peer has no more calls open than it was told it may: what is in the way are handlers that outlive their calls. Refusing is
      // right, but it is nothing the peer could have known, so it is not charged for it.
      if (s.streams_open_ < s.limits_.max_concurrent_streams) s.forgiven_resets_++;
      submitted(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM));
      return 0;
    }
    st->id_ = id;
    st->open_ = true;
    st->body_asked_ = false;
    st->waits_next_ = st->waits_prev_ = nullptr;  // its last connection may have ended while it waited
    s.streams_open_++;
    s.windows_.opened(st->window_);
    st->request_ended_ = st->ends_request_ = false;
    st->header_bytes_ = 0;
    st->header_count_ = 0;
    st->over_limit_ = false;
    st->rules_ = {};
    must(nghttp2_session_set_stream_user_data(ng, id, st), "nghttp2_session_set_stream_user_data");
    s.in_headers_ = st;
    return 0;
  }

  // The request is not one. What of it still comes nghttp2 drops.
  static void malformed(session& s, int32_t id) {
    submitted(nghttp2_submit_rst_stream(s.ng_, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR));
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t namelen, const uint8_t* value,
                    size_t valuelen, uint8_t, void* user) {
    session& s = self(user);
    const bool trailer = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    stream* const st = trailer ? find(s, frame->hd.stream_id) : s.in_headers_;
    if (st == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), namelen), text(reinterpret_cast<const char*>(value), valuelen);
    switch (st->rules_.field(key, text, trailer)) {
      case field_rules::verdict::good: break;
      case field_rules::verdict::ignored: return 0;
      case field_rules::verdict::malformed: malformed(s, frame->hd.stream_id); return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (trailer) return 0;  // a half-close whose content means nothing
    const uint32_t fields = joined_values(key, text);
    st->header_count_ += fields;
    st->header_bytes_ += fields * (key.size() + 32) + text.size();
    if (st->over_limit_) {
      // One answer is owed, but not the work of looking at a bomb of indexed fields: far above the limit the stream is reset, which charges
      // the peer, and the rest is only inflated.
      const bool far = st->header_bytes_ > kHeaderBomb * s.limits_.max_header_list;
      return far ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
    }
    if (st->header_count_ > s.limits_.max_header_fields || st->header_bytes_ > s.limits_.max_header_list) {
      st->over_limit_ = true;
      st->on_headers_over_limit();
      return 0;
    }
    st->on_header(key, text);
    return 0;
  }

  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    session& s = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: {
        s.header_block_since_ = 0;
        stream* st = s.in_headers_;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          s.in_headers_ = nullptr;
          if (st != nullptr && !st->rules_.complete()) {
            malformed(s, frame->hd.stream_id);
            break;
          }
          if (st != nullptr && st->open_) st->on_headers_end(s);
        } else {
          st = find(s, frame->hd.stream_id);
          if (st != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) malformed(s, frame->hd.stream_id);  // no trailers either
        }
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) end_request(s, st);
        break;
      }
      case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) end_request(s, find(s, frame->hd.stream_id));
        break;
      case NGHTTP2_RST_STREAM:
        if (!s.peer_resets_.take(s.now_)) return s.flooded();
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && !s.settings_seen_) {
          s.settings_seen_ = true;
          s.to_.settings_received();
        }
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          if (s.too_many_pings()) return NGHTTP2_ERR_CALLBACK_FAILURE;
        } else if (s.drain_begun_ && std::memcmp(frame->ping.opaque_data, kDrainPing, sizeof kDrainPing) == 0) {
          s.to_.drain_acknowledged();
        } else {
          s.windows_.ping_acknowledged(s.ng_, frame->ping.opaque_data, s.now_);
        }
        break;
      default: break;
    }
    return 0;
  }

  static void end_request(session& s, stream* st) {
    if (st == nullptr || st->request_ended_) return;
    if (!st->rules_.end()) {
      malformed(s, st->id_);
      return;
    }
    st->request_ended_ = true;
    st->on_request_end(s);
  }

  static int data_chunk(nghttp2_session* ng, uint8_t flags, int32_t id, const uint8_t* data, size_t len, void* user) {
    session& s = self(user);
    s.windows_.received(ng, len);
    if (stream* st = find(s, id)) {
      if (!st->rules_.data(len)) {
        malformed(s, id);
        return 0;
      }
      st->ends_request_ = (flags & NGHTTP2_FLAG_END_STREAM) != 0 && len == s.data_length_;
      st->on_data(s, {reinterpret_cast<const char*>(data), len});
    }
    return 0;
  }

  static int stream_close(nghttp2_session* ng, int32_t id, uint32_t code, void* user) {
    session& s = self(user);
    stream* st = find(s, id);
    if (st == nullptr) return 0;
    nghttp2_session_set_stream_user_data(ng, id, nullptr);
    s.streams_open_--;
    s.windows_.closed(st->window_);
    if (s.in_headers_ == st) {
      s.in_headers_ = nullptr;
      s.header_block_since_ = 0;
    }
    st->open_ = false;
    if (st->body_asked_) s.forget_body(*st);
    st->on_closed(code);
    s.to_.stream_closed(*st);
    return 0;
  }

  static int frame_send(nghttp2_session* ng, const nghttp2_frame* frame, void* user) {
    session& s = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        s.idle_frames_ = 0;
        s.ping_strikes_ = 0;
        s.last_ping_ = 0;
        if (frame->hd.type == NGHTTP2_DATA && s.drying_ != nullptr) {
          stream& st = *std::exchange(s.drying_, nullptr);
          s.body_over(st);
          if (std::exchange(s.drying_again_, false)) s.resume(st);
        }
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) break;
        // The answer is complete. A client that is still sending must be told to stop (RFC 9113 §8.1), or both wait for ever.
        const stream* st = find(s, frame->hd.stream_id);
        if (st != nullptr && !st->request_ended_) {
          submitted(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR));
        }
        break;
      }
      case NGHTTP2_RST_STREAM:
        if (frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM && s.forgiven_resets_ != 0) {
          s.forgiven_resets_--;
        } else if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
          s.own_reset();
        }
        break;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code == NGHTTP2_NO_ERROR || s.reason_ != end_reason::none) break;
        s.reason_ = s.terminated_ ? end_reason::owner : end_reason::protocol;
        break;
      default: break;
    }
    return 0;
  }

  // A header block that nghttp2 cannot send (its limit is 64 KiB) would leave the client waiting for ever.
  static int frame_not_send(nghttp2_session* ng, const nghttp2_frame* frame, int, void* user) {
    session& s = self(user);
    if (frame->hd.type == NGHTTP2_HEADERS && find(s, frame->hd.stream_id) != nullptr) {
      submitted(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR));
    }
    return 0;
  }

  static ssize_t read_body(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags, nghttp2_data_source* source, void* user) {
    session& s = self(user);
    stream& st = *static_cast<stream*>(source->ptr);
    const stream::piece p = st.peek_body(s, length);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (p.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (p.trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    } else if (p.size == 0) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;  // no frame
      s.body_over(st);
    } else if (p.dry) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      s.drying_ = &st;
    }
    return static_cast<ssize_t>(p.size);
  }

  static nghttp2_data_provider body_of(stream& s) {
    nghttp2_data_provider body;
    body.source.ptr = &s;
    body.read_callback = read_body;
    return body;
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* framehd, size_t length, nghttp2_data_source* source, void* user) {
    session& s = self(user);
    constexpr size_t kFrameHeader = 9;  // we never ask for padding
    stream& from = *static_cast<stream*>(source->ptr);
    if (s.lends_ != nullptr && length >= kLeastLent) {
      if (!s.lends_->can_lend() || s.out_room_ - s.out_size_ < kFrameHeader) return NGHTTP2_ERR_WOULDBLOCK;
      if (const char* const lent = from.lend_body(length)) {
        std::memcpy(s.out_ + s.out_size_, framehd, kFrameHeader);
        s.out_size_ += kFrameHeader;
        s.lends_->lend(s.out_size_, lent, length);
        return 0;
      }
    }
    if (s.out_room_ - s.out_size_ < kFrameHeader + length) return NGHTTP2_ERR_WOULDBLOCK;
    std::memcpy(s.out_ + s.out_size_, framehd, kFrameHeader);
    from.take_body(s.out_ + s.out_size_ + kFrameHeader, length);
    s.out_size_ += kFrameHeader + length;
    // The last item nghttp2 has, and another stream waits for its turn: nghttp2 need not look for more in between.
    return s.drying_ == &from && s.items_ == 1 && s.waits_first_ != nullptr ? NGHTTP2_ERR_PAUSE : 0;
  }

  // One table for all sessions; nghttp2 copies what it needs from it.
  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const t = [] {
      nghttp2_session_callbacks* c = nullptr;
      must(nghttp2_session_callbacks_new(&c), "nghttp2_session_callbacks_new");
      nghttp2_session_callbacks_set_on_begin_frame_callback(c, begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(c, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(c, header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(c, frame_recv);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(c, stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(c, frame_send);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(c, frame_not_send);
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
      nghttp2_option_set_no_http_messaging(made, 1);  // field_rules applies them
      nghttp2_option_set_max_outbound_ack(made, kMaxQueuedAcks);
      // nghttp2 counts the peer's resets, too, but ends with INTERNAL_ERROR and tells nobody: our bucket is to be empty first.
      nghttp2_option_set_stream_reset_rate_limit(made, 2 * kPeerResetBurst, 2 * kPeerResetPerSecond);
      nghttp2_option_set_max_continuations(made, kMaxContinuations);
      return made;
    }();
    return o;
  }
};

session::session(const session_limits& limits, events& to)
    : limits_(limits), to_(to), windows_(limits.windows), small_data_budget_(kSmallDataBudget) {
  must(nghttp2_session_server_new3(&ng_, callbacks::table(), this, callbacks::options(), memory_.table()), "nghttp2_session_server_new3");
  memory_.seal();
  // The first entry's value is overwritten on the wire: see serialise. NO_RFC7540_PRIORITIES spares us the dependency tree,
  // which RFC 9113 deprecates and no gRPC client uses.
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_INITIAL_MAX_CONCURRENT_STREAMS},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.windows.stream},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, kHeaderTableSize},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits_.max_header_list)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  must(nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, settings, std::size(settings)), "nghttp2_submit_settings");
  must(nghttp2_session_set_local_window_size(ng_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(limits_.windows.connection)),
       "nghttp2_session_set_local_window_size");
}

session::~session() { nghttp2_session_del(ng()); }

nghttp2_session* session::ng() noexcept {
  if (memory_.asleep()) [[unlikely]]
    memory_.wake();
  return ng_;
}

bool session::check_preface(std::string_view bytes) {
  const size_t n = std::min(bytes.size(), kPreface.size() - preface_have_);
  if (bytes.substr(0, n) == kPreface.substr(preface_have_, n)) {
    preface_have_ += n;
    return true;
  }
  reason_ = end_reason::not_http2;
  // "PRI " is the preface's own beginning, no method of HTTP/1.
  if (preface_have_ == 0 && !bytes.starts_with("PRI ") && looks_like_http1(bytes)) {
    raw_answer_ = kHttp1Answer;
  } else {
    raw_answer_.assign(kNotHttp2Answer, sizeof kNotHttp2Answer);
  }
  return false;
}

bool session::receive(std::string_view bytes, int64_t now) {
  if (ended()) return false;
  now_ = now;
  if (preface_have_ < kPreface.size() && !check_preface(bytes)) return false;
  for (;;) {
    const frame_watch::finding f = watch_.look(bytes);
    if (!feed(bytes.substr(0, f.at))) return false;
    bytes.remove_prefix(f.at);
    switch (f.what) {
      case frame_watch::verdict::fine: return true;
      case frame_watch::verdict::stream_error:
        // nghttp2 drops the frame when it comes to it.
        submitted(nghttp2_submit_rst_stream(ng(), NGHTTP2_FLAG_NONE, f.id, f.code));
        break;
      case frame_watch::verdict::connection_error:
        submitted(nghttp2_session_terminate_session(ng(), f.code));
        reason_ = end_reason::protocol;
        return false;
    }
  }
}

bool session::feed(std::string_view bytes) {
  if (bytes.empty()) return true;
  const ssize_t n = nghttp2_session_mem_recv(ng(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (n == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (n < 0) {
    // A callback stopped it (reason_ is set) or nghttp2 did: queued acknowledgements, CONTINUATIONs.
    const bool flood = n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    if (reason_ == end_reason::none) reason_ = flood ? end_reason::abuse : end_reason::protocol;
    submitted(nghttp2_session_terminate_session(ng(), reason_ == end_reason::abuse ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR));
    return false;
  }
  return true;
}

size_t session::serialise(std::span<char> room) {
  if (!raw_answer_.empty()) {
    const size_t n = std::min(room.size(), raw_answer_.size());
    std::memcpy(room.data(), raw_answer_.data(), n);
    raw_answer_.erase(0, n);
    return n;
  }
  if (reason_ == end_reason::not_http2) return 0;
  out_ = room.data();
  out_room_ = room.size();
  out_size_ = 0;
  for (;;) {
    if (frame_size_ == 0) {
      if (out_room_ - out_size_ < kFrameRoom) break;
      submit_bodies();
      // May also put DATA frames into the room itself, through send_data.
      const ssize_t n = nghttp2_session_mem_send(ng(), &frame_);
      if (n == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
      if (n < 0) {
        if (reason_ == end_reason::none) reason_ = end_reason::protocol;
        failed_ = true;
        break;
      }
      if (n == 0) {
        if (bodies_wait()) continue;
        break;
      }
      frame_size_ = static_cast<size_t>(n);
    }
    if (out_room_ - out_size_ < frame_size_) break;  // DATA took the room: the frame waits for the next call
    std::memcpy(out_ + out_size_, frame_, frame_size_);
    if (!settings_patched_) {
      // Our first frame is the SETTINGS of the constructor: 9 bytes of header, then the first entry's 2-byte id and its value.
      settings_patched_ = true;
      for (int i = 0; i < 4; i++) out_[out_size_ + 11 + i] = static_cast<char>(limits_.max_concurrent_streams >> (24 - 8 * i));
    }
    out_size_ += frame_size_;
    frame_size_ = 0;
  }
  return out_size_;
}

size_t session::serialise(outgoing& to, bool lend) {
  to.begin();
  lends_ = lend ? &to : nullptr;
  const size_t used = serialise(to.room());
  lends_ = nullptr;
  return to.end(used);
}

bool session::has_output() const noexcept {
  if (reason_ == end_reason::not_http2) return !raw_answer_.empty();
  if (failed_ || memory_.asleep()) return false;
  return frame_size_ != 0 || bodies_wait() || nghttp2_session_want_write(ng_) != 0;
}

void session::trim() noexcept {
  if (!ended() && streams_open_ == 0 && !memory_.asleep() && !has_output() && !finished()) memory_.trim();
}

bool session::finished() const noexcept {
  if (has_output()) return false;
  if (failed_ || reason_ == end_reason::not_http2 || ended()) return true;
  return !memory_.asleep() && nghttp2_session_want_read(ng_) == 0;
}

bool session::backed_up() const noexcept { return !memory_.asleep() && nghttp2_session_get_outbound_queue_size(ng_) > kMaxOutboundQueue; }

void session::respond(stream& s, std::span<const nghttp2_nv> headers) {
  submitted(nghttp2_submit_response(ng(), s.id_, headers.data(), headers.size(), nullptr));
}

void session::respond_with_body(stream& s, std::span<const nghttp2_nv> headers) {
  const nghttp2_data_provider body = callbacks::body_of(s);
  s.body_asked_ = true;
  items_++;
  submitted(nghttp2_submit_response(ng(), s.id_, headers.data(), headers.size(), &body));
}

void session::send_headers(stream& s, std::span<const nghttp2_nv> headers) {
  submitted(nghttp2_submit_headers(ng(), NGHTTP2_FLAG_NONE, s.id_, nullptr, headers.data(), headers.size(), nullptr));
}

void session::trailers(stream& s, std::span<const nghttp2_nv> fields) {
  submitted(nghttp2_submit_trailer(ng(), s.id_, fields.data(), fields.size()));
}

void session::resume(stream& s) {
  if (!s.open_) return;
  if (s.body_asked_) {
    // It is going to be asked, unless it was already.
    if (drying_ == &s) drying_again_ = true;
    return;
  }
  s.body_asked_ = true;
  s.waits_next_ = nullptr;
  s.waits_prev_ = waits_last_;
  (waits_last_ != nullptr ? waits_last_->waits_next_ : waits_first_) = &s;
  waits_last_ = &s;
}

// To the next in the queue, or to all.
void session::submit_bodies() {
  if (!bodies_wait()) return;
  do {
    stream& s = *waits_first_;
    leave_queue(s);
    items_++;
    const nghttp2_data_provider body = callbacks::body_of(s);
    submitted(nghttp2_submit_data(ng(), NGHTTP2_FLAG_END_STREAM, s.id_, &body));
  } while (items_ > 1 && waits_first_ != nullptr);
}

void session::leave_queue(stream& s) noexcept {
  (s.waits_prev_ != nullptr ? s.waits_prev_->waits_next_ : waits_first_) = s.waits_next_;
  (s.waits_next_ != nullptr ? s.waits_next_->waits_prev_ : waits_last_) = s.waits_prev_;
  s.waits_next_ = s.waits_prev_ = nullptr;
}

// nghttp2 is through with its item, or about to be.
void session::body_over(stream& s) noexcept {
  s.body_asked_ = false;
  items_--;
}

// Of a stream that was going to be asked and is over.
void session::forget_body(stream& s) noexcept {
  if (s.waits_prev_ != nullptr || waits_first_ == &s) {
    leave_queue(s);
    s.body_asked_ = false;
    return;
  }
  body_over(s);
  if (drying_ != &s) return;
  drying_ = nullptr;
  drying_again_ = false;
}

void session::share_fairly(stream& s) {
  const nghttp2_extpri in_turns{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  submitted(nghttp2_session_change_extpri_stream_priority(ng(), s.id_, &in_turns, 0));
}

void session::reset(stream& s, uint32_t error_code) { submitted(nghttp2_submit_rst_stream(ng(), NGHTTP2_FLAG_NONE, s.id_, error_code)); }

void session::consume(stream& s, size_t n, int64_t now) {
  if (s.open_) windows_.taken(ng(), s.id_, s.window_, n, now, s.request_ended_ || s.ends_request_);
}

void session::forgive_small_frame() noexcept { small_data_budget_ = std::min(kSmallDataBudget, small_data_budget_ + kSmallData); }

void session::begin_drain() {
  if (drain_begun_ || ended()) return;
  drain_begun_ = true;
  submitted(nghttp2_submit_shutdown_notice(ng()));
  submitted(nghttp2_submit_ping(ng(), NGHTTP2_FLAG_NONE, kDrainPing));
}

void session::finish_drain(std::string_view why) {
  if (ended() || drained()) return;
  drain_begun_ = true;
  goaway_last_ = nghttp2_session_get_last_proc_stream_id(ng());
  submitted(nghttp2_submit_goaway(ng(), NGHTTP2_FLAG_NONE, goaway_last_, NGHTTP2_NO_ERROR, reinterpret_cast<const uint8_t*>(why.data()),
                                  why.size()));
}

void session::ping() {
  if (!ended()) submitted(nghttp2_submit_ping(ng(), NGHTTP2_FLAG_NONE, kKeepalivePing));
}

// Keepalive enforcement as gRPC's A8 and grpc-go have it: a PING too soon after the last is a strike, sending anything that belongs to a
// call forgives all, and the third strike ends the connection with the words that clients know. Without a call a client has hardly a reason
// to ping at all.
bool session::too_many_pings() {
  if (limits_.ping_interval_ns == 0) return false;
  const int64_t interval = to_.calls_live() || limits_.idle_pings ? limits_.ping_interval_ns : kIdlePingNs;
  const bool strike = last_ping_ != 0 && now_ - last_ping_ < interval;
  last_ping_ = now_;
  if (!strike || ++ping_strikes_ <= kPingStrikes) return false;
  static constexpr std::string_view why = "too_many_pings";
  submitted(nghttp2_submit_goaway(ng(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(ng()), NGHTTP2_ENHANCE_YOUR_CALM,
                                  reinterpret_cast<const uint8_t*>(why.data()), why.size()));
  reason_ = end_reason::abuse;
  return true;
}

void session::terminate(uint32_t error_code) {
  if (ended()) return;
  terminated_ = true;
  submitted(nghttp2_session_terminate_session(ng(), error_code));
}

int session::flooded() {
  reason_ = end_reason::abuse;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

bool session::odd() const noexcept {
  return idle_frames_ > kOddFrames || own_resets_.missing() > kOddResets || small_data_budget_ < kSmallDataBudget / 2;
}

void session::own_reset() {
  if (own_resets_.take(now_) || ended()) return;
  reason_ = end_reason::abuse;
  submitted(nghttp2_session_terminate_session(ng(), NGHTTP2_ENHANCE_YOUR_CALM));
}

}  // namespace warren::http2
