// stream_pool: a server's stream objects between two requests.
//
// They are lent to connections and come back when answers have left, in lists. So the objects of the connection served last, which are
// still in the cache, serve the next one. Had each connection its own, 10 connections of 100 calls would go round a thousand objects of
// nearly 2 KB, with their buffers: more than a processor's own cache. (10 × 100 empty calls in callgrind's model of a cache of 2 MiB: 29
// misses per call if each connection keeps its own, 1 with the pool; a third more calls per CPU second at 50 × 20.)
#pragma once
#include <atomic>
#include <utility>

#include "server/http2/limits.h"
#include "server/http2/stream.h"

namespace warren::http2 {

// A handful of slots, as in block_pool.h, each for one list (linked by batch_next_): whole lists change hands by one exchange, so no ABA.
// Any thread.
class stream_pool {
 public:
  stream_pool() = default;
  stream_pool(const stream_pool&) = delete;
  stream_pool& operator=(const stream_pool&) = delete;

  // nullptr: there is none.
  stream* take() noexcept {
    for (auto& s : slots_) {
      if (s.load(std::memory_order_relaxed) == nullptr) continue;
      // acquire pairs with the release in give(): the last accesses of the connection before come before ours.
      if (stream* list = s.exchange(nullptr, std::memory_order_acquire)) return list;
    }
    return nullptr;
  }

  // false: there is no room, the list stays the caller's.
  bool give(stream* list) noexcept {
    for (auto& s : slots_) {
      stream* empty = nullptr;
      if (s.load(std::memory_order_relaxed) == nullptr && s.compare_exchange_strong(empty, list, std::memory_order_release)) return true;
    }
    return false;
  }

  template <class F>
  void clear(F&& destroy) {
    while (stream* list = take()) {
      while (list != nullptr) destroy(std::exchange(list, list->batch_next_));
    }
  }

 private:
  std::atomic<stream*> slots_[kPooledLists] = {};
};

}  // namespace warren::http2
