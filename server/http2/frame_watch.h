// frame_watch: errors of the peer that nghttp2 lets pass, because it has forgotten what it would need to know, or does not look.
//
// Frames on a stream that the peer itself has ended. nghttp2 answers them on a half-closed stream; once the stream is closed it has
// forgotten it (we ask it to: what it keeps of closed streams, one per call, is memory for nothing), takes DATA that comes then for data on
// its way from before our reset, drops it and calls nobody. RFC 7540 §5.1 wants an error if it was the peer that ended the stream: of the
// stream if by RST_STREAM, of the connection if by END_STREAM. The difference shows only in the order of the peer's own frames, so we read
// their headers here, nine bytes of each, before nghttp2 gets them, and remember the last few streams that the peer has ended. Streams that
// only we have ended are none of them: there late frames are usual and right.
//
// DATA whose padding is longer than the frame. nghttp2 sees that, but not of DATA that it drops; it is an error of the connection whatever
// has become of the stream (RFC 9113 §6.1).
//
// PRIORITY that makes no sense. Since we announce that we do not use RFC 7540's priorities nghttp2 does not look at them, but a stream that
// depends on itself is an error all the same (§5.3.1), and so is a priority of stream 0 (RFC 9113 §6.3).
#pragma once
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "server/http2/limits.h"

namespace warren::http2 {

class frame_watch {
 public:
  enum class verdict : uint8_t { fine, stream_error, connection_error };
  struct finding {
    verdict what = verdict::fine;
    uint32_t code = NGHTTP2_NO_ERROR;
    int32_t id = 0;
    size_t at = 0;  // so many of the bytes belong to frames before, which are good
  };

  // Looks through what the peer sent, up to the first error. Call it again with the rest, from `at` on, to go on after that.
  finding look(std::string_view bytes) noexcept {
    size_t at = 0;
    while (at < bytes.size()) {
      if (skip_ != 0) {
        const size_t n = std::min(skip_, bytes.size() - at);
        skip_ -= n;
        at += n;
        continue;
      }
      const size_t begin = at;
      const char* head = bytes.data() + at;
      size_t taken = kHeader;
      if (have_ == 0 && bytes.size() - at >= kLongest) {  // nearly always
        taken += looked_at(head);
        at += taken;
      } else {
        head = head_.data();
        if (!collect(bytes, at, kHeader)) break;
        taken += looked_at(head);
        if (!collect(bytes, at, taken)) break;
        have_ = 0;
      }
      skip_ = length(head) - (taken - kHeader);
      finding f = judge(head);
      if (f.what != verdict::fine) {
        f.at = begin;
        skip_ += at - begin;  // what we have read of the frame comes again, with the rest
        return f;
      }
    }
    return {verdict::fine, NGHTTP2_NO_ERROR, 0, bytes.size()};
  }

 private:
  static constexpr size_t kHeader = 9;
  static constexpr size_t kPriorityLength = 5;
  static constexpr size_t kLongest = kHeader + 4;  // of a PRIORITY: up to what it depends on

  static uint32_t u32(const char* p) noexcept {
    uint32_t v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);  // as everywhere here: the machine is little-endian
  }
  static size_t length(const char* head) noexcept { return u32(head) >> 8; }
  static uint8_t type(const char* head) noexcept { return static_cast<uint8_t>(head[3]); }
  static bool has_dependency(const char* head) noexcept { return type(head) == NGHTTP2_PRIORITY && length(head) == kPriorityLength; }
  static bool padded_data(const char* head) noexcept { return type(head) == NGHTTP2_DATA && (head[4] & NGHTTP2_FLAG_PADDED) != 0; }
  // How much of the payload, from its beginning: what a PRIORITY depends on, or how much padding there is.
  static size_t looked_at(const char* head) noexcept {
    if (has_dependency(head)) return kLongest - kHeader;
    return padded_data(head) && length(head) != 0 ? 1 : 0;
  }

  // Completes head_ to n bytes; false: there are not so many yet.
  bool collect(std::string_view bytes, size_t& at, size_t n) noexcept {
    while (have_ < n && at < bytes.size()) head_[have_++] = bytes[at++];
    return have_ >= n;
  }

  finding judge(const char* head) noexcept {
    const uint8_t kind = type(head);
    if (kind > NGHTTP2_RST_STREAM) return {};
    const uint32_t id = u32(head + 5) & ~kReset;
    if (kind == NGHTTP2_PRIORITY) {
      // Of another length it is nghttp2's to answer.
      if (!has_dependency(head) || (id != 0 && (u32(head + kHeader) & ~kReset) != id)) return {};
      return {verdict::connection_error, NGHTTP2_PROTOCOL_ERROR, static_cast<int32_t>(id)};
    }
    if (id == 0) return {};  // likewise
    if (padded_data(head)) {
      if (length(head) == 0) return {verdict::connection_error, NGHTTP2_FRAME_SIZE_ERROR, static_cast<int32_t>(id)};
      if (static_cast<uint8_t>(head[kHeader]) >= length(head))
        return {verdict::connection_error, NGHTTP2_PROTOCOL_ERROR, static_cast<int32_t>(id)};
    }
    uint32_t before = 0;
    for (const uint32_t e : ended_) before |= (e & ~kReset) == id ? e : 0;
    if (kind == NGHTTP2_RST_STREAM) {
      if (before == 0) remember(id | kReset);  // a stream that is reset after its end remains one that was ended
      return {};
    }
    if (before != 0) {
      return {(before & kReset) != 0 ? verdict::stream_error : verdict::connection_error, NGHTTP2_STREAM_CLOSED, static_cast<int32_t>(id)};
    }
    if ((head[4] & NGHTTP2_FLAG_END_STREAM) != 0) remember(id);
    return {};
  }
  void remember(uint32_t e) noexcept { ended_[next_++ % ended_.size()] = e; }

  static constexpr uint32_t kReset = 1u << 31;

  size_t skip_ = NGHTTP2_CLIENT_MAGIC_LEN;  // bytes that are not looked at: first the preface, then payloads
  size_t have_ = 0;                         // of a header that came in pieces, in head_
  std::array<char, kLongest> head_{};
  std::array<uint32_t, kRememberedEnds> ended_{};  // ids, those that were reset with kReset; 0: none
  unsigned next_ = 0;
};

}  // namespace warren::http2
