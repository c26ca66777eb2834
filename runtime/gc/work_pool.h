// Grey objects between those who find them and those who scan them.
//
// They travel in buffers of 254 (a full one is 2 KiB). A mark_queue is one participant's: two buffers, so that a participant which pushes
// and pops around a buffer's edge does not go to the shared lists every time. The work_pool has the lists: buffers with work, and empty
// ones. Both are lock-free stacks: a participant may lose its processor at any instant, and no other should wait for it.
//
// The head of a stack is the number of a buffer and a counter that every change raises. A slow pop that compares against an old head then
// fails although the same buffer is on top again (ABA); 2^32 changes between two instructions are not to be expected.
//
// Buffers of pages that wait to be scanned (mark.h) go in order of age instead, so that a page collects marks while it waits. Two more
// stacks: `young` takes what comes, `old` is taken from; when old is empty, all of young is moved there one by one, which turns it round.
// While one participant does that, another may find neither; it goes on to something else, as if it had come earlier.
//
// The memory is part of the heap's reservation: it never runs out (an object is grey once in a cycle) and nothing is allocated to mark.
// When a cycle is over all buffers are empty and in nobody's hands: reset() forgets them, in the pause, and give_back() returns what a
// large heap made of them to the system, when the world runs again.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/os/cpu.h"
#include "runtime/os/tiny.h"

namespace warren::rt {

struct work_buffer {
  static constexpr uint32_t kCapacity = WARREN_CAPACITY(254, 2);
  std::atomic<uint32_t> next{0};  // in a list: number of the next, 0: none
  uint32_t count = 0;
  uintptr_t entries[kCapacity];
};

class work_pool {
 public:
  work_pool(std::byte* memory, size_t bytes) noexcept;
  work_pool(const work_pool&) = delete;
  work_pool& operator=(const work_pool&) = delete;

  work_buffer* get_empty() noexcept;        // fatal if the memory is exhausted
  work_buffer* get_full() noexcept;         // some buffer with work; nullptr if there is none
  void put_empty(work_buffer* b) noexcept;  // REQUIRES: count == 0
  void put_full(work_buffer* b) noexcept;   // REQUIRES: count > 0
  void put_pages(work_buffer* b) noexcept;  // REQUIRES: count > 0
  work_buffer* get_pages() noexcept;        // as get_full
  // A participant's buffer, if it has one: to where `put` puts those with work, or to the empty ones.
  void take_back(work_buffer** b, void (work_pool::*put)(work_buffer*) noexcept) noexcept;
  bool has_work() const noexcept {
    for (const auto* list : {&full_, &young_, &old_})
      if (static_cast<uint32_t>(list->load(std::memory_order_acquire)) != 0) return true;
    return false;
  }
  // REQUIRES: nobody holds a buffer, none has work.
  void reset() noexcept;
  // REQUIRES: between two cycles.
  void give_back() noexcept;

  // What markers tell each other of the pages they have seen (marker::in_flight).
  std::atomic<uint32_t> led_on{0};

 private:
  void push(std::atomic<uint64_t>& head, work_buffer* b) noexcept;
  work_buffer* pop(std::atomic<uint64_t>& head) noexcept;
  work_buffer* at(uint32_t number) const noexcept { return reinterpret_cast<work_buffer*>(memory_) + (number - 1); }
  uint32_t number_of(const work_buffer* b) const noexcept {
    return static_cast<uint32_t>(b - reinterpret_cast<const work_buffer*>(memory_)) + 1;
  }

  std::byte* memory_;
  uint32_t most_;
  size_t used_ = 0;  // bytes of buffers of the cycles since give_back
  std::atomic<uint32_t> made_{0};
  alignas(kCacheLine) std::atomic<uint64_t> full_{0};
  alignas(kCacheLine) std::atomic<uint64_t> empty_{0};
  alignas(kCacheLine) std::atomic<uint64_t> young_{0};
  alignas(kCacheLine) std::atomic<uint64_t> old_{0};
};

// One participant's end. Holds buffers only between the first push or pop and flush.
class mark_queue {
 public:
  explicit mark_queue(work_pool& p) noexcept : pool_(p) {}
  ~mark_queue() { flush(); }
  mark_queue(const mark_queue&) = delete;
  mark_queue& operator=(const mark_queue&) = delete;

  void push(uintptr_t entry) noexcept {
    if (near_ == nullptr || near_->count == work_buffer::kCapacity) [[unlikely]]
      make_room();
    near_->entries[near_->count++] = entry;
  }
  // 0: neither here nor in the pool is anything left.
  uintptr_t pop() noexcept {
    if (near_ == nullptr || near_->count == 0) [[unlikely]]
      if (!fetch()) return 0;
    return near_->entries[--near_->count];
  }
  // The next pop() takes what was pushed here, without a look elsewhere.
  bool has_near() const noexcept { return near_ != nullptr && near_->count != 0; }
  // Work of its own, beside what the pool has.
  bool empty() const noexcept { return (near_ == nullptr || near_->count == 0) && (far_ == nullptr || far_->count == 0); }
  // Everything goes to the pool.
  void flush() noexcept;

 private:
  void make_room() noexcept;
  bool fetch() noexcept;

  work_pool& pool_;
  work_buffer* near_ = nullptr;
  work_buffer* far_ = nullptr;
};

// One participant's end of the pages that wait: first in, first out, as far as buffers allow.
class page_queue {
 public:
  explicit page_queue(work_pool& p) noexcept : pool_(p) {}
  ~page_queue() { flush(); }
  page_queue(const page_queue&) = delete;
  page_queue& operator=(const page_queue&) = delete;

  void push(uintptr_t page) noexcept {
    if (in_ == nullptr || in_->count == work_buffer::kCapacity) [[unlikely]]
      make_room();
    in_->entries[in_->count++] = page;
  }
  // 0: no page waits, here or in the pool.
  uintptr_t pop() noexcept {
    if (out_ == nullptr || out_->count == 0) [[unlikely]]
      if (!fetch()) return 0;
    return out_->entries[--out_->count];
  }
  void flush() noexcept;

 private:
  void make_room() noexcept;
  bool fetch() noexcept;

  work_pool& pool_;
  work_buffer* in_ = nullptr;
  work_buffer* out_ = nullptr;
};

}  // namespace warren::rt
