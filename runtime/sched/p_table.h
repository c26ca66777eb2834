// All Ps of a scheduler. Ps are made and never destroyed before it; how many of them are in use changes (resize.cpp).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/sched/p.h"

namespace warren::rt {

class p_table {
 public:
  static constexpr uint32_t kMost = 1024;  // GOMAXPROCS' upper limit here

  // Those that exist, the unused ones (status dead) included. Any thread, any time.
  const std::unique_ptr<p>* begin() const noexcept { return ps_.get(); }
  const std::unique_ptr<p>* end() const noexcept { return ps_.get() + made_.load(std::memory_order_acquire); }
  uint32_t made() const noexcept { return made_.load(std::memory_order_acquire); }
  const std::unique_ptr<p>& operator[](uint32_t i) const noexcept { return ps_[i]; }

  // GOMAXPROCS: the first so many are in use.
  uint32_t in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

  // One thread at a time.
  p* append(std::unique_ptr<p> pp) noexcept {
    const uint32_t n = made_.load(std::memory_order_relaxed);
    ps_[n] = std::move(pp);
    made_.store(n + 1, std::memory_order_release);
    return ps_[n].get();
  }
  // REQUIRES: the world is stopped or has not begun; n ≤ made().
  void use(uint32_t n) noexcept { in_use_.store(n, std::memory_order_seq_cst); }

 private:
  std::unique_ptr<std::unique_ptr<p>[]> ps_ = std::make_unique<std::unique_ptr<p>[]>(kMost);
  std::atomic<uint32_t> made_{0};
  std::atomic<uint32_t> in_use_{0};
};

}  // namespace warren::rt
