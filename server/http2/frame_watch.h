// frame_watch: errors of the peer that nghttp2 lets pass, because it has forgotten what it would need to know, or does not look.
//
// Frames on a stream that the peer itself has ended. nghttp2 answers them on a half-closed stream; once the stream is closed it has
// forgotten it (we ask it to: what it keeps of closed streams, one per call, is memory for nothing), takes DATA that comes then for data on
// its way from before our reset, drops it and calls nobody. RFC 7540 §5.1 wants an error if it was the peer that ended the stream: of the
// stream if by RST_STREAM, of the connection if by END_STREAM. The difference shows only in the order of the peer's own frames, so we read
// their headers here, nine bytes of each, before nghttp2 gets them, and remember the last few streams that the peer has ended. Streams that
// only we have ended are none of them: there late frames are usual and right.
//
// PRIORITY that makes no sense. Since we announce that we do not use RFC 7540's priorities nghttp2 does not look at them, but a stream that
// depends on itself is an error all the same (§5.3.1), and so is a priority of stream 0 (RFC 9113 §6.3).
#pragma once
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
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
      while (have_ < want_ && at < bytes.size()) head_[have_++] = static_cast<uint8_t>(bytes[at++]);
      if (have_ < want_) break;
      const size_t length = static_cast<size_t>(head_[0]) << 16 | static_cast<size_t>(head_[1]) << 8 | head_[2];
      if (head_[3] == NGHTTP2_PRIORITY && length == kPriorityLength && want_ == kHeader) {
        want_ = head_.size();
        while (have_ < want_ && at < bytes.size()) head_[have_++] = static_cast<uint8_t>(bytes[at++]);
        if (have_ < want_) break;
      }
      skip_ = length - (want_ - kHeader);
      have_ = 0;
      want_ = kHeader;
      finding f = judge(length);
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

  uint32_t u31(size_t at) const noexcept {
    return (static_cast<uint32_t>(head_[at]) & 0x7f) << 24 | static_cast<uint32_t>(head_[at + 1]) << 16 |
           static_cast<uint32_t>(head_[at + 2]) << 8 | head_[at + 3];
  }

  finding judge(size_t length) noexcept {
    const uint8_t type = head_[3];
    if (type > NGHTTP2_RST_STREAM) return {};
    const auto id = static_cast<int32_t>(u31(5));
    switch (type) {
      case NGHTTP2_PRIORITY:
        // Of another length it is nghttp2's to answer.
        if (length == kPriorityLength && (id == 0 || u31(kHeader) == static_cast<uint32_t>(id))) {
          return {verdict::connection_error, NGHTTP2_PROTOCOL_ERROR, id};
        }
        return {};
      case NGHTTP2_RST_STREAM: remember(-id); return {};
      default: break;
    }
    if (id == 0) return {};  // nghttp2's to answer
    for (const int32_t e : ended_) {
      if (e == id) return {verdict::connection_error, NGHTTP2_STREAM_CLOSED, id};
      if (e == -id) return {verdict::stream_error, NGHTTP2_STREAM_CLOSED, id};
    }
    if ((head_[4] & NGHTTP2_FLAG_END_STREAM) != 0) remember(id);
    return {};
  }
  // A stream that is reset after its end remains one that was ended.
  void remember(int32_t id) noexcept {
    if (std::find(ended_.begin(), ended_.end(), -id) == ended_.end()) ended_[next_++ % ended_.size()] = id;
  }

  size_t skip_ = NGHTTP2_CLIENT_MAGIC_LEN;  // bytes that are not looked at: first the preface, then payloads
  size_t have_ = 0;                         // of what is, in head_
  size_t want_ = kHeader;                   // so many of it; more for PRIORITY, whose payload begins with what it depends on
  std::array<uint8_t, kHeader + 4> head_{};
  std::array<int32_t, kRememberedEnds> ended_{};  // ids; those that were reset, negated; 0: none
  unsigned next_ = 0;
};

}  // namespace warren::http2
