// What somebody may do so often at once and so often a second from then on: each time takes a token, and time brings them back.
#pragma once
#include <algorithm>
#include <cstdint>

namespace warren::http2 {

// Full to begin with. Time is given and never goes back; only the owner of the session asks.
class token_bucket {
 public:
  token_bucket(int burst, int per_second) noexcept : tokens_(burst * kToken), burst_(burst), per_second_(per_second) {}

  // One token. False: there was none, and one is owed.
  bool take(int64_t now) noexcept {
    tokens_ = std::min(burst_ * kToken, tokens_ + (now - since_) * per_second_) - kToken;
    since_ = now;
    return tokens_ >= 0;
  }
  // Tokens that were missing when it was last asked.
  int64_t missing() const noexcept { return burst_ - tokens_ / kToken; }

 private:
  static constexpr int64_t kToken = 1'000'000'000;  // so that a nanosecond brings a whole number of parts of one

  int64_t tokens_;
  int64_t since_ = 0;
  int32_t burst_, per_second_;
};

}  // namespace warren::http2
