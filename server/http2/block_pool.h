// The buffers of reads and writes, lent for the moment they are needed: an idle connection holds none.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "server/http2/limits.h"

namespace warren::http2 {

// A handful of slots, each taken and filled by one exchange or compare-exchange: no list, so no ABA. The search starts at slot 0 both
// ways, so the block given back last (and warm in the cache) is usually the one taken next. Any thread.
class block_pool {
 public:
  block_pool() = default;
  block_pool(const block_pool&) = delete;
  block_pool& operator=(const block_pool&) = delete;
  ~block_pool() {
    for (auto& s : slots_) std::free(s.load(std::memory_order_relaxed));
  }

  char* take() {
    for (auto& s : slots_) {
      if (s.load(std::memory_order_relaxed) == nullptr) continue;
      // acquire pairs with the release in give(): the giver's last accesses come before ours.
      if (char* b = s.exchange(nullptr, std::memory_order_acquire)) return b;
    }
    char* b = static_cast<char*>(std::malloc(kBlockSize));
    if (b == nullptr) throw std::bad_alloc();
    return b;
  }

  void give(char* b) noexcept {
    for (auto& s : slots_) {
      char* empty = nullptr;
      if (s.load(std::memory_order_relaxed) == nullptr && s.compare_exchange_strong(empty, b, std::memory_order_release)) return;
    }
    std::free(b);
  }

 private:
  std::atomic<char*> slots_[kPooledBlocks] = {};
};

}  // namespace warren::http2
