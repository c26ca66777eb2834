// The memory of one nghttp2 session: what it frees it gets back without asking malloc.
//
// nghttp2 makes and frees about eight blocks per request (stream, frames, header arrays). A batch of 100 requests makes all of them before
// it frees any, which overflows malloc's per-thread caches (7 blocks per size) and lands in its slow paths: 13 % of a small unary call's
// time, measured. Here a free block goes on a list of its size, and only the connection's owner touches it: no lock, no atomic.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace warren::http2 {

class session_memory {
 public:
  session_memory() noexcept : table_{this, &take, &give, &take_zeroed, &resize} {}
  session_memory(const session_memory&) = delete;
  session_memory& operator=(const session_memory&) = delete;
  ~session_memory() {
    for (list& l : lists_) {
      while (l.first != nullptr) {
        block* const b = l.first;
        l.first = b->next;
        std::free(b);
      }
    }
  }

  nghttp2_mem* table() noexcept { return &table_; }

 private:
  // Sizes are rounded up to whole steps; one list per number of steps. Larger blocks are malloc's.
  static constexpr size_t kStep = 64;
  static constexpr size_t kLists = 12;              // up to 768 bytes, which holds every per-request structure of nghttp2
  static constexpr uint32_t kKeptBytes = 64 << 10;  // per list: 100 streams' worth of the largest
  static constexpr size_t kHeader = 16;             // keeps malloc's alignment

  struct block {
    union {
      block* next;   // while free
      size_t steps;  // while in use: its list, or kLists for malloc's
    };
  };
  static_assert(sizeof(block) <= kHeader);
  struct list {
    block* first = nullptr;
    uint32_t bytes = 0;
  };

  static void* take(size_t n, void* self) {
    auto& lists = static_cast<session_memory*>(self)->lists_;
    const size_t steps = (n + kStep - 1) / kStep;
    if (steps == 0 || steps > kLists) {
      auto* b = static_cast<block*>(std::malloc(kHeader + n));
      if (b == nullptr) return nullptr;
      b->steps = kLists + 1;
      return reinterpret_cast<char*>(b) + kHeader;
    }
    list& l = lists[steps - 1];
    block* b = l.first;
    if (b != nullptr) {
      l.first = b->next;
      l.bytes -= static_cast<uint32_t>(steps * kStep);
    } else {
      b = static_cast<block*>(std::malloc(kHeader + steps * kStep));
      if (b == nullptr) return nullptr;
    }
    b->steps = steps;
    return reinterpret_cast<char*>(b) + kHeader;
  }

  static void give(void* p, void* self) {
    if (p == nullptr) return;
    auto* b = reinterpret_cast<block*>(static_cast<char*>(p) - kHeader);
    const size_t steps = b->steps;
    if (steps > kLists) {
      std::free(b);
      return;
    }
    list& l = static_cast<session_memory*>(self)->lists_[steps - 1];
    if (l.bytes >= kKeptBytes) {
      std::free(b);
      return;
    }
    l.bytes += static_cast<uint32_t>(steps * kStep);
    b->next = l.first;
    l.first = b;
  }

  static void* take_zeroed(size_t count, size_t size, void* self) {
    size_t n;
    if (__builtin_mul_overflow(count, size, &n)) return nullptr;
    void* p = take(n, self);
    if (p != nullptr) std::memset(p, 0, n);
    return p;
  }

  static void* resize(void* p, size_t n, void* self) {
    if (p == nullptr) return take(n, self);
    auto* b = reinterpret_cast<block*>(static_cast<char*>(p) - kHeader);
    if (b->steps > kLists) {
      // malloc's stays malloc's, even if it shrinks.
      b = static_cast<block*>(std::realloc(b, kHeader + n));
      return b == nullptr ? nullptr : reinterpret_cast<char*>(b) + kHeader;
    }
    const size_t had = b->steps * kStep;
    if (n <= had) return p;
    void* moved = take(n, self);
    if (moved == nullptr) return nullptr;
    std::memcpy(moved, p, had);
    give(p, self);
    return moved;
  }

  nghttp2_mem table_;
  list lists_[kLists];
};

}  // namespace warren::http2
