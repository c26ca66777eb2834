#include "server/client/attempt_plan.h"

#include <algorithm>
#include <utility>

#include "server/client/limits.h"

namespace warren::grpc::client {

namespace {

uint32_t bit_of(status_code code) noexcept {
  const auto n = static_cast<uint32_t>(code);
  return n < kStatusCodes ? 1u << n : 0;
}

}  // namespace

bool attempt_plan::take() noexcept {
  due_ = 0;
  return std::exchange(transparent_, false);
}

attempt_plan::kind attempt_plan::begun(bool transparent) noexcept {
  if (transparent) return kind::transparent;
  if (made_++ == 0) return kind::first;
  return hedging_ ? kind::hedge : kind::retry;
}

void attempt_plan::hedge(int64_t now) noexcept {
  if (made_ < hedging_->max_attempts && throttle_.allows()) due_ = now + hedging_->delay_ns;
}

void attempt_plan::again() noexcept {
  transparent_ = true;
  due_ = kAtOnce;
}

bool attempt_plan::refused() noexcept { return !std::exchange(refused_, true); }

attempt_plan::outcome attempt_plan::failed(status_code code, std::optional<int64_t> pushback, bool sendable, int64_t now,
                                           double random) noexcept {
  const bool unwanted = pushback && *pushback < 0;
  if (retry_) {
    if ((retry_->retryable & bit_of(code)) == 0) return {};
    const bool allowed = throttle_.failed();
    if (made_ >= retry_->max_attempts || !sendable || unwanted) return {};
    if (!allowed) return {.throttled = true};
    int64_t delay;
    if (pushback) {
      backoffs_ = 0;
      delay = *pushback * kMsNs;
    } else {
      double d = static_cast<double>(retry_->initial_backoff_ns);
      for (int i = 0; i < backoffs_; i++) d = std::min(d * retry_->multiplier, static_cast<double>(retry_->max_backoff_ns));
      backoffs_++;
      delay = static_cast<int64_t>(std::min(d, static_cast<double>(retry_->max_backoff_ns)) * (0.8 + 0.4 * random));  // A6's jitter
    }
    due_ = now + delay;
    return {.tolerated = true};
  }
  if (hedging_) {
    if ((hedging_->non_fatal & bit_of(code)) == 0) return {};
    const bool allowed = throttle_.failed();
    const bool more = allowed && made_ < hedging_->max_attempts && sendable && !unwanted;
    // Pushback moves the next one; otherwise a failure is a reason not to wait for the delay.
    due_ = !more ? 0 : pushback ? now + *pushback * kMsNs : kAtOnce;
    return {.tolerated = true, .throttled = !allowed};
  }
  return {};
}

}  // namespace warren::grpc::client
