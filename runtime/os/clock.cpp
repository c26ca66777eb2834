#include "runtime/os/clock.h"

#include <time.h>

namespace warren::rt {

namespace {
int64_t read_clock(clockid_t id) noexcept {
  timespec ts;
  clock_gettime(id, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}
}  // namespace

int64_t nanotime() noexcept { return read_clock(CLOCK_MONOTONIC); }
int64_t walltime() noexcept { return read_clock(CLOCK_REALTIME); }

}  // namespace warren::rt
