// The clocks the runtime reads.
#pragma once
#include <cstdint>

namespace warren::rt {

// Nanoseconds of CLOCK_MONOTONIC: timers, deadlines, slices. Never goes back, knows no wall time.
int64_t nanotime() noexcept;

// Nanoseconds since the Unix epoch (CLOCK_REALTIME): for metrics and logs only.
int64_t walltime() noexcept;

}  // namespace warren::rt
