#include "runtime/heap/scavenger.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>

#include "runtime/os/critical.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

int scavenger::ask_system(void* at, size_t bytes) { return madvise(at, bytes, MADV_DONTNEED) == 0 ? 0 : errno; }

void scavenger::set_system_for_testing(int (*advise)(void*, size_t), int64_t (*clock)()) noexcept {
  advise_ = advise;
  clock_ = clock;
}

void scavenger::add(page_arena& stacks) noexcept {
  const std::lock_guard guard(lock_);
  page_arena** const end = std::find(arenas_, arenas_ + kMostStacks, nullptr);
  if (end == arenas_ + kMostStacks) fatal("more than %zu arenas of stacks: this is a bug in the runtime", kMostStacks);
  *end = &stacks;
  stacks.count_in(&stacks_);
}

void scavenger::remove(page_arena& stacks) noexcept {
  {
    const std::lock_guard guard(lock_);
    std::remove(arenas_, arenas_ + kMostStacks, &stacks)[0] = nullptr;
    stacks.count_in(nullptr);
  }
  for (bool busy = true; busy;) {  // what was held before
    stacks.lock.lock();
    busy = stacks.held != 0;
    stacks.lock.unlock();
    if (busy) sched_yield();
  }
}

page_run scavenger::hold(bool of_stacks, bool of_heap, page_arena** from) noexcept {
  page_run r;
  if (of_stacks && stacks_are_due()) {
    const std::lock_guard guard(lock_);
    for (size_t i = 0; i < kMostStacks && arenas_[i] != nullptr; ++i)
      if (arenas_[i]->idle() != 0 && (r = arenas_[i]->hold_idle()).n != 0) {
        *from = arenas_[i];
        return r;
      }
  }
  if (of_heap && heap_ != nullptr) r = (*from = heap_)->hold_idle();
  return r;
}

uint64_t scavenger::step(bool of_stacks, bool of_heap) noexcept {
  const critical_section whole_step;
  page_arena* from;
  const page_run r = hold(of_stacks, of_heap, &from);
  if (r.n == 0) return 0;
  from->no_huge_pages(r);
  const int error = advise_(from->address(r.first), r.n * from->at.stride);
  from->release_held(r, error == 0);
  const uint64_t bytes = r.n << kPageShift;
  if (error == 0) {
    total_.fetch_add(bytes, std::memory_order_relaxed);
    return bytes;
  }
  if (failures_.fetch_add(1, std::memory_order_relaxed) == 0)
    print_error(
        "warren: the system does not take free memory of the heap back (madvise of %zu KiB: %s); the program goes on and keeps it. Is its "
        "memory locked (mlockall)?\n",
        r.n * from->at.stride >> 10, strerror(error));
  return 0;
}

uint64_t scavenger::give_back(uint64_t bytes) noexcept {
  uint64_t done = 0;
  while (done < bytes) {
    const uint64_t n = step(true, true);
    if (n == 0) break;
    done += n;
  }
  return done;
}

bool scavenger::heap_is_due() const noexcept {
  const uint64_t goal = this->goal();
  return heap_ != nullptr && goal != kNone && heap_->idle() != 0 && heap_->resident() << kPageShift > goal;
}

int64_t scavenger::tick(int64_t now) noexcept {
  if (!stacks_are_due() && !heap_is_due()) return INT64_MAX;
  if (now < next_) return next_ - now;
  const uint64_t failed = failures();
  int64_t end = now;
  while (end - now < kSlice && step(stacks_are_due(), heap_is_due()) != 0) end = clock_();
  if (failures() != failed) {
    next_ = now + kAfterFailure;
  } else {
    next_ = end + (end - now) * kRest;
  }
  return next_ > end ? next_ - end : 0;
}

}  // namespace warren::rt
