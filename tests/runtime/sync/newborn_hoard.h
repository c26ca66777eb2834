// For tests of what happens when no goroutine can be made any more: takes all that there are. The process' address space must be limited
// before warren::run (limit_goroutines), so that they are some hundred thousand and not 67 million.
#pragma once
#include <sys/resource.h>

#include <cstdint>
#include <new>
#include <vector>

#include "runtime/sync/deferred_go.h"
#include "warren/go.h"

namespace warren::tests {

// False where a limit on address space cannot be had: with sanitizers, which take all of it.
inline bool limit_goroutines() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#else
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0) return false;
  limit.rlim_cur = rlim_t{4} << 30;
  return ::setrlimit(RLIMIT_AS, &limit) == 0;
#endif
}

// On a goroutine, and GOMAXPROCS is 1: a P's own list would escape.
class newborn_hoard {
 public:
  newborn_hoard() {
    taken_.reserve(1 << 21);
    // Goroutines of the runtime's own that have their end still before them would give theirs back meanwhile.
    for (size_t before = SIZE_MAX; before != taken_.size();) {
      before = taken_.size();
      take_all();
      yield();
    }
  }
  ~newborn_hoard() {
    while (!taken_.empty()) give_back();
  }
  newborn_hoard(const newborn_hoard&) = delete;
  newborn_hoard& operator=(const newborn_hoard&) = delete;
  void give_back() {
    detail::drop_deferred(taken_.back());
    taken_.pop_back();
  }

 private:
  void take_all() {
    for (;;) {
      try {
        taken_.push_back(detail::defer_goroutine(nullptr, [](void*) {}));
      } catch (const std::bad_alloc&) {
        return;
      }
    }
  }

  std::vector<detail::newborn*> taken_;
};

}  // namespace warren::tests
