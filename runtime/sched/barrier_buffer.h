// What the write barrier has shaded on one thread, on its way to the collector.
//
// Each M has one, not each P as in Go: a goroutine may have lost its P and run on without (preempt.cpp), and its stores count like those of
// others. The thread that owns the buffer pushes, in a critical section (os/critical.h), so a stop of the world finds no push half done.
// Whoever holds the consumer's lock takes the words out: the owner when the buffer is full, or a worker of the collector, which thus looks
// at all buffers without stopping anybody. Words are as the program stored them; which of them mark anything is found out by who takes
// them.
//
// To find that out costs 15 to 30 instructions and three cache lines, and programs store the same few pointers again and again (the two
// ends of a queue, the nodes being relinked). So the owner remembers some of the words it has pushed since the marking began, and does not
// push them twice: what was shaded once stays shaded until the cycle ends, and memory is not used anew before. Likewise what it has made
// meanwhile, which is black from the start: a program that builds trees pushes next to nothing. At the beginning of a marking, the world
// stopped, all that is forgotten. (Rejected: to test the mark bit here instead; it is the same three cache lines.)
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/critical.h"
#include "runtime/os/tiny.h"

namespace warren::rt {

class barrier_buffer {
 public:
  static constexpr uint32_t kCapacity = WARREN_CAPACITY(256, 4);

  // By the owner: has this word been pushed or remembered in this cycle? A no may be wrong.
  bool pushed(uintptr_t word) const noexcept { return recent_[word / 16 % kRecent] == word; }
  // By the owner. false: full.
  bool push(uintptr_t word) noexcept {
    if (pushed(word)) return true;
    const uint32_t at = pushed_.load(std::memory_order_relaxed);
    if (at - taken_.load(std::memory_order_acquire) == kCapacity) [[unlikely]]
      return false;
    words_[at % kCapacity] = word;
    pushed_.store(at + 1, std::memory_order_release);
    remember(word);
    return true;
  }
  // By the owner, in a critical section or a bracket: this one is marked already, and need not be pushed.
  void remember(uintptr_t word) noexcept { recent_[word / 16 % kRecent] = word; }
  bool empty() const noexcept { return pushed_.load(std::memory_order_acquire) == taken_.load(std::memory_order_acquire); }

  // World stopped: a marking is about to begin.
  void forget() noexcept {
    for (uintptr_t& word : recent_) word = 0;
  }

  // Any thread. visit(word) for all that were pushed before the call.
  template <class F>
  void take(F&& visit) noexcept {
    consumer_.lock();
    const uint32_t end = pushed_.load(std::memory_order_acquire);
    for (uint32_t at = taken_.load(std::memory_order_relaxed); at != end; ++at) visit(words_[at % kCapacity]);
    taken_.store(end, std::memory_order_release);
    consumer_.unlock();
  }

 private:
  std::atomic<uint32_t> pushed_{0};
  std::atomic<uint32_t> taken_{0};
  critical_mutex consumer_;
  uintptr_t words_[kCapacity];
  static constexpr size_t kRecent = WARREN_CAPACITY(64, 2);
  uintptr_t recent_[kRecent] = {};  // pushed or remembered in this cycle; the owner's
};

}  // namespace warren::rt
