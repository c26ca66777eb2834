// The memory of one nghttp2 session: what it frees it gets back without asking malloc.
//
// nghttp2 makes and frees about eight blocks per request (stream, frames, header arrays). A batch of 100 requests makes all of them before
// it frees any, which overflows malloc's per-thread caches (7 blocks per size) and lands in its slow paths: 13 % of a small unary call's
// time, measured. Here a free block goes on a list of its size, and only the connection's owner touches it: no lock, no atomic. The lists
// are lent (free_blocks), so that an idle connection need not hold any; without them blocks come from malloc and go there.
//
// The large blocks of a session lie in a session_room, whose pages trim() gives back: the frame buffer and the table of streams, which hold
// nothing then, and the CORE, what nghttp2 makes with the session and keeps to its end (the session, and the rings of the two HPACK
// tables). Of the core the words that are not zero are kept (nonzero_words.h): the session SLEEPS, until wake() puts them back at the same
// addresses. nghttp2 cannot tell, since nobody calls it meanwhile; a call all the same would find zeros (and ASan's poison) where its
// pointers were. So a connection without a call takes 1.3 kB for its session, where it took 5.1.
//
// Rejected: to end an idle session and make another (HPACK's tables are state that the peer relies on); a smaller table for our encoder
// (its ring has 128 places whatever the table's size); a limit of our own on the ring (nghttp2 has no option for it).
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "runtime/heap/asan.h"
#include "server/http2/nonzero_words.h"
#include "server/http2/session_room.h"

namespace warren::http2 {

// What comes before every block.
struct block_head {
  union {
    block_head* next;  // while free
    size_t steps;      // while in use: its size, see session_memory
  };
  size_t bytes;  // of a block of the core
};

// Free blocks by size.
class free_blocks {
 public:
  free_blocks() = default;
  free_blocks(const free_blocks&) = delete;
  free_blocks& operator=(const free_blocks&) = delete;
  ~free_blocks() {
    for (list& l : lists_) {
      while (l.first != nullptr) {
        block_head* const b = l.first;
        l.first = b->next;
        std::free(b);
      }
    }
  }

 private:
  friend class session_memory;
  static constexpr size_t kLists = 12;  // up to 768 bytes, which holds every per-request structure of nghttp2
  struct list {
    block_head* first = nullptr;
    uint32_t bytes = 0;
  };
  list lists_[kLists];
};

class session_memory {
 public:
  session_memory() noexcept : table_{this, &take, &give, &take_zeroed, &resize} {}
  session_memory(const session_memory&) = delete;
  session_memory& operator=(const session_memory&) = delete;
  // REQUIRES: not asleep.
  ~session_memory() {
    if (room_ != nullptr) session_room::give(room_);
  }

  nghttp2_mem* table() noexcept { return &table_; }

  // Blocks are taken from f and given back there until the next lend; nullptr: from malloc and to it.
  void lend(free_blocks* f) noexcept { free_ = f; }

  // What nghttp2 has made so far is the core.
  void seal() noexcept { sealed_ = true; }

  // Gives back the pages of large blocks. The session is asleep then, unless something stood against it. REQUIRES: sealed, not asleep;
  // nghttp2 has nothing to send, nor a part of it.
  void trim() noexcept {
    if (room_ == nullptr || !session_room::can_trim()) return;
    // The frame buffer is dead then: nghttp2 packs a frame from its beginning and reads no more than that. The table must be empty, that
    // is, zero as after a trim; its last bytes lie on the page where the frame begins.
    for (size_t i = 0; streams_held_ && i < kStreams; i += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, room_ + kStreamsAt + kHeader + i, sizeof word);
      if (word != 0) return;
    }
    if (core_used_ == 0 || !core_.keep(room_, core_used_)) return;
    session_room::trim(room_, kRoomUsed);
    rt::heap_poison(room_, kRoomUsed);
  }
  bool asleep() const noexcept { return !core_.empty(); }
  // Before nghttp2 is called again.
  void wake() noexcept {
    rt::heap_unpoison(room_, kRoomUsed);
    core_.put_back(room_);
  }

 private:
  // Sizes are rounded up to whole steps; one list per number of steps. Larger blocks are malloc's, but for those in the room: see
  // take_large.
  static constexpr size_t kStep = 64;
  static constexpr size_t kLists = free_blocks::kLists;
  static constexpr uint32_t kKeptBytes = 64 << 10;  // per list: 100 streams' worth of the largest
  static constexpr size_t kHeader = 16;             // keeps malloc's alignment
  static_assert(sizeof(block_head) <= kHeader);
  static constexpr size_t kMallocs = kLists + 1;  // as steps
  static constexpr size_t kCores = kLists + 2;    // as steps
  static constexpr size_t kRooms = 0;             // as steps: what a trimmed page says

  // The core comes first, then the table of streams as nghttp2 makes it (256 entries), and the frame buffer: a frame's largest payload and
  // what surrounds it.
  static constexpr size_t kStreams = 4096;
  static constexpr size_t kFrame = 16 << 10;
  static constexpr size_t kFrameMost = kFrame + 64;
  static constexpr size_t kCore = 8 << 10;
  static constexpr size_t kStreamsAt = kCore;
  static constexpr size_t kFrameAt = kStreamsAt + kHeader + kStreams;
  static constexpr size_t kRoomUsed = kFrameAt + kHeader + kFrameMost;
  static_assert(kRoomUsed <= session_room::kBytes);

  static block_head* head_of(void* p) noexcept { return reinterpret_cast<block_head*>(static_cast<char*>(p) - kHeader); }

  static void* take(size_t n, void* self) {
    const size_t steps = (n + kStep - 1) / kStep;
    if (steps == 0 || steps > kLists) return static_cast<session_memory*>(self)->take_large(n, false);
    block_head* b = nullptr;
    if (free_blocks* const f = static_cast<session_memory*>(self)->free_) {
      free_blocks::list& l = f->lists_[steps - 1];
      b = l.first;
      if (b != nullptr) {
        l.first = b->next;
        l.bytes -= static_cast<uint32_t>(steps * kStep);
      }
    }
    if (b == nullptr) {
      b = static_cast<block_head*>(std::malloc(kHeader + steps * kStep));
      if (b == nullptr) return nullptr;
    }
    b->steps = steps;
    return reinterpret_cast<char*>(b) + kHeader;
  }

  // The table and the buffer are known by their sizes, which nothing else of a session has. (Should that change, the room holds something
  // else, or nothing: trim looks whether the one is zero, and the other has the size of the buffer that frames are packed in.) What is made
  // before seal() and is neither is the core's.
  void* take_large(size_t n, bool zeroed) {
    const bool streams = zeroed && n == kStreams && !streams_held_;
    const bool frame = !zeroed && n >= kFrame && n <= kFrameMost && !frame_held_;
    const size_t whole = (kHeader + n + kHeader - 1) / kHeader * kHeader;
    const bool core = !streams && !frame && !sealed_ && whole <= kCore - core_used_;
    if ((streams || frame || core) && room_ == nullptr) room_ = session_room::take();
    if ((streams || frame || core) && room_ != nullptr) {
      size_t at = core_used_;
      if (core) {
        core_used_ += whole;
      } else {
        (streams ? streams_held_ : frame_held_) = true;
        at = streams ? kStreamsAt : kFrameAt;
      }
      auto* const b = reinterpret_cast<block_head*>(room_ + at);
      b->steps = core ? kCores : kRooms;
      if (core) {
        b->bytes = whole - kHeader;
        std::memset(reinterpret_cast<char*>(b) + kHeader, 0, b->bytes);  // what the room's last user left would be kept, too
      }
      return reinterpret_cast<char*>(b) + kHeader;
    }
    auto* b = static_cast<block_head*>(std::malloc(kHeader + n));
    if (b == nullptr) return nullptr;
    b->steps = kMallocs;
    return reinterpret_cast<char*>(b) + kHeader;
  }

  static void give(void* p, void* self) {
    if (p == nullptr) return;
    auto& m = *static_cast<session_memory*>(self);
    block_head* const b = head_of(p);
    const size_t steps = b->steps;
    if (steps == kCores) return;  // its place is not used again
    if (steps == kRooms) {
      (p == m.room_ + kStreamsAt + kHeader ? m.streams_held_ : m.frame_held_) = false;
      return;
    }
    if (m.free_ == nullptr || steps > kLists) {
      std::free(b);
      return;
    }
    free_blocks::list& l = m.free_->lists_[steps - 1];
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
    void* p = n > kLists * kStep ? static_cast<session_memory*>(self)->take_large(n, true) : take(n, self);
    if (p != nullptr) std::memset(p, 0, n);
    return p;
  }

  static void* resize(void* p, size_t n, void* self) {
    if (p == nullptr) return take(n, self);
    block_head* b = head_of(p);
    if (b->steps == kMallocs) {
      // malloc's stays malloc's, even if it shrinks.
      b = static_cast<block_head*>(std::realloc(b, kHeader + n));
      return b == nullptr ? nullptr : reinterpret_cast<char*>(b) + kHeader;
    }
    size_t had = b->steps * kStep;
    if (b->steps == kCores) had = b->bytes;
    if (b->steps == kRooms) had = p == static_cast<session_memory*>(self)->room_ + kStreamsAt + kHeader ? kStreams : kFrameMost;
    if (n <= had) return p;
    void* moved = take(n, self);
    if (moved == nullptr) return nullptr;
    std::memcpy(moved, p, had);
    give(p, self);
    return moved;
  }

  nghttp2_mem table_;
  free_blocks* free_ = nullptr;
  char* room_ = nullptr;
  size_t core_used_ = 0;  // bytes of the room
  nonzero_words core_;    // not empty: the session sleeps
  bool sealed_ = false;
  bool streams_held_ = false;
  bool frame_held_ = false;
};

}  // namespace warren::http2
