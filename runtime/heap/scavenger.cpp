#include "runtime/heap/scavenger.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/heap/mheap.h"
#include "runtime/os/clock.h"
#include "runtime/os/critical.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {
size_t system_unit() noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return page > kPageSize ? page / kPageSize : 1;
}
int ask_system(void* at, size_t bytes) { return madvise(at, bytes, MADV_DONTNEED) == 0 ? 0 : errno; }
}  // namespace

scavenger::scavenger(mheap& h) noexcept : heap_(h), unit_(system_unit()), advise_(&ask_system), clock_(&nanotime) {}

void scavenger::set_system_for_testing(int (*advise)(void*, size_t), int64_t (*clock)()) noexcept {
  advise_ = advise;
  clock_ = clock;
}

uint64_t scavenger::step() noexcept {
  const critical_section whole_step;
  const page_run r = heap_.hold_idle(unit_);
  if (r.n == 0) return 0;
  const size_t bytes = r.n << kPageShift;
  heap_.space().no_huge_pages(r.first << kPageShift, bytes);
  const int error = advise_(reinterpret_cast<void*>(heap_.space().base() + (r.first << kPageShift)), bytes);
  heap_.release_held(r, error == 0);
  if (error == 0) {
    total_.fetch_add(bytes, std::memory_order_relaxed);
    return bytes;
  }
  if (failures_.fetch_add(1, std::memory_order_relaxed) == 0)
    print_error(
        "warren: the system does not take free memory of the heap back (madvise of %zu KiB: %s); the program goes on and keeps it. Is its "
        "memory locked (mlockall)?\n",
        bytes >> 10, strerror(error));
  return 0;
}

uint64_t scavenger::give_back(uint64_t bytes) noexcept {
  uint64_t done = 0;
  while (done < bytes) {
    const uint64_t n = step();
    if (n == 0) break;
    done += n;
  }
  return done;
}

int64_t scavenger::tick(int64_t now) noexcept {
  const uint64_t goal = this->goal();
  if (goal == kNone || heap_.resident_bytes() <= goal || heap_.idle_resident_bytes() == 0) return INT64_MAX;
  if (now < next_) return next_ - now;
  const uint64_t failed = failures();
  int64_t end = now;
  while (heap_.resident_bytes() > goal && end - now < kSlice && step() != 0) end = clock_();
  if (failures() != failed) {
    next_ = now + kAfterFailure;
  } else {
    next_ = end + (end - now) * kRest;
  }
  return next_ > end ? next_ - end : 0;
}

}  // namespace warren::rt
