// spare: what a connection keeps for its next calls, and lends others while it has none: stream objects, the session's free blocks, and
// buffers for messages.
//
// The buffers are apart from the streams: a stream is live from its headers to its last byte, a buffer is needed from when its handler is
// about to run. Of 10 connections with 100 calls of 10 KiB each, a thousand are live and a handful run: with the stream's own buffers these
// would go round 20 MB, with buffers taken last in, first out, round a hundred kilobytes.
//
// A connection that is idle would hold 5 KB for calls that may never come; so it gives its spare back with its last call, in one exchange,
// and takes one when bytes come. Since the slots are gone through in one order, that is the spare of the connection served last, which is
// still in the cache: had each connection its own, 10 connections of 100 calls would go round a thousand objects of nearly 2 KB, with their
// buffers, more than a processor's own cache (10 × 100 empty calls in callgrind's model of a cache of 2 MiB: 29 misses a call, against 1
// with what is lent).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "server/http2/byte_buffer.h"
#include "server/http2/limits.h"
#include "server/http2/session_memory.h"
#include "server/http2/stream.h"

namespace warren::http2 {

struct spare {
  free_blocks blocks;
  stream* streams = nullptr;  // linked by batch_next_, unused
  uint32_t count = 0;
  uint32_t buffer_count = 0;
  byte_buffer buffers[kSpareBuffers];
};

// A few slots, as in block_pool. Any thread. What it holds in the end its owner takes out, since only that can destroy streams.
class spare_pool {
 public:
  spare_pool() = default;
  spare_pool(const spare_pool&) = delete;
  spare_pool& operator=(const spare_pool&) = delete;

  // nullptr: there is none.
  spare* take() noexcept {
    for (auto& s : slots_) {
      if (s.load(std::memory_order_relaxed) == nullptr) continue;
      // acquire pairs with the release in give(): the giver's last accesses come before ours.
      if (spare* p = s.exchange(nullptr, std::memory_order_acquire)) return p;
    }
    return nullptr;
  }

  // false: all slots are full.
  bool give(spare* p) noexcept {
    for (auto& s : slots_) {
      spare* empty = nullptr;
      if (s.load(std::memory_order_relaxed) == nullptr && s.compare_exchange_strong(empty, p, std::memory_order_release)) return true;
    }
    return false;
  }

 private:
  std::atomic<spare*> slots_[kSpares] = {};
};

}  // namespace warren::http2
