#include "runtime/heap/page_arena.h"

#include <mutex>

#include "runtime/heap/reservation.h"

namespace warren::rt {

void page_arena::grow(size_t first, size_t n) noexcept {
  pages.grow(first, n);  // scavenged: they count as resident once they are taken
  grown_.fetch_add(n, std::memory_order_relaxed);
  publish();
}

void page_arena::publish() noexcept {
  released_.store(pages.scavenged_pages(), std::memory_order_relaxed);
  idle_.store(pages.free_pages() - pages.scavenged_pages(), std::memory_order_relaxed);
  if (sums_ == nullptr) return;
  // Unsigned: a difference that is less than nothing wraps, and the sum back again.
  sums_->resident.fetch_add(resident() - resident_in_sums_, std::memory_order_relaxed);
  sums_->idle.fetch_add(idle() - idle_in_sums_, std::memory_order_relaxed);
  resident_in_sums_ = resident();
  idle_in_sums_ = idle();
}

void page_arena::count_in(arena_sums* sums) noexcept {
  const std::lock_guard guard(lock);
  if (sums_ != nullptr) {
    sums_->resident.fetch_sub(resident_in_sums_, std::memory_order_relaxed);
    sums_->idle.fetch_sub(idle_in_sums_, std::memory_order_relaxed);
  }
  sums_ = sums;
  resident_in_sums_ = idle_in_sums_ = 0;
  publish();
}

page_run page_arena::hold_idle() noexcept {
  const std::lock_guard guard(lock);
  const page_run r = pages.hold_idle(at.unit);
  if (r.n == 0) return r;
  ++held;
  publish();
  return r;
}

void page_arena::release_held(page_run r, bool scavenged) noexcept {
  const std::lock_guard guard(lock);
  pages.release(r, scavenged);
  --held;
  if (scavenged) given_back_.fetch_add(r.n, std::memory_order_relaxed);
  publish();
}

void page_arena::no_huge_pages(page_run r) const noexcept {
  if (at.space != nullptr) at.space->no_huge_pages(r.first * at.stride, r.n * at.stride);
}

}  // namespace warren::rt
