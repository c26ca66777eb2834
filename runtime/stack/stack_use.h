// How deep stacks are used, by who spawned the goroutine.
//
// Measured on samples. A sampled goroutine begins on a stack that was cleared: pages given back, the rest of the top page zeroed. When it
// ends, or has been parked for long, the lowest byte that is not zero tells how deep it went: the kernel says which pages exist, and only
// these are read. What a frame reserved and never wrote does not count, nor what was written as zero: the figure is a lower bound, close
// in practice. Rejected: a watermark in every switch (sees only where goroutines park), filling stacks with a pattern (touches every page),
// userfaultfd (refused in most containers).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace warren::rt {

// Makes [low, high) read as zeros; whole pages of it are given back to the system.
void clear_stack(std::byte* low, std::byte* high) noexcept;

// high minus the lowest address in [low, high) that is not zero, 0 if all are. low is the beginning of a page. Reads only pages that exist.
size_t stack_depth(const std::byte* low, const std::byte* high) noexcept;

// The figures. Fixed size; sites beyond it are counted together under nullptr. Any thread, no locks.
class stack_use_table {
 public:
  static constexpr size_t kSites = 512;

  struct site {
    std::atomic<const void*> pc{nullptr};  // the call of warren::go
    std::atomic<uint64_t> samples{0};
    std::atomic<uint64_t> deepest{0};  // bytes
    std::atomic<uint64_t> sum{0};      // of all samples, for the mean
    std::atomic<uint64_t> limit{0};    // bytes of the stack that was sampled last
  };

  void record(const void* pc, size_t depth, size_t limit) noexcept;

  // Calls visit(pc, site) for each with at least one sample.
  template <class F>
  void for_each(F&& visit) const {
    for (const site& s : sites_)
      if (s.samples.load(std::memory_order_relaxed) != 0) visit(s.pc.load(std::memory_order_relaxed), s);
    if (others_.samples.load(std::memory_order_relaxed) != 0) visit(static_cast<const void*>(nullptr), others_);
  }

 private:
  site sites_[kSites];
  site others_;
};

}  // namespace warren::rt
