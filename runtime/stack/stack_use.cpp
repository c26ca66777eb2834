#include "runtime/stack/stack_use.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace warren::rt {

namespace {
size_t page_size() noexcept {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::byte* page_of(const std::byte* p) noexcept {
  return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(p) & ~(page_size() - 1));
}
}  // namespace

void clear_stack(std::byte* low, std::byte* high) noexcept {
  std::byte* const top = page_of(high);
  if (top > low) madvise(low, static_cast<size_t>(top - low), MADV_DONTNEED);
  std::byte* const from = top > low ? top : low;
  memset(from, 0, static_cast<size_t>(high - from));
}

// Reads stacks of others, below what they use: nothing a sanitizer could follow.
#if defined(__clang__)
__attribute__((no_sanitize("address", "thread")))
#else
__attribute__((no_sanitize_address, no_sanitize_thread))
#endif
size_t
stack_depth(const std::byte* low, const std::byte* high) noexcept {
  constexpr size_t kPages = 512;
  const size_t page = page_size();
  unsigned char exists[kPages];
  for (const std::byte* at = low; at < high;) {
    const size_t bytes = std::min(kPages * page, (static_cast<size_t>(high - at) + page - 1) / page * page);
    if (mincore(const_cast<std::byte*>(at), bytes, exists) != 0) return 0;
    for (size_t i = 0; i < bytes / page; ++i, at += page) {
      if ((exists[i] & 1) == 0) continue;
      const auto* const end = reinterpret_cast<const volatile uint64_t*>(std::min(at + page, high));
      for (const auto* w = reinterpret_cast<const volatile uint64_t*>(at); w < end; ++w)
        if (*w != 0) return static_cast<size_t>(high - reinterpret_cast<const std::byte*>(const_cast<const uint64_t*>(w)));
    }
  }
  return 0;
}

void stack_use_table::record(const void* pc, size_t depth, size_t limit) noexcept {
  site* s = &others_;
  if (pc != nullptr) {
    const auto hash = static_cast<size_t>((reinterpret_cast<uintptr_t>(pc) * UINT64_C(0x9E3779B97F4A7C15)) >> 55);
    for (size_t i = 0; i < kSites; ++i) {
      site& candidate = sites_[(hash + i) % kSites];
      const void* holds = candidate.pc.load(std::memory_order_relaxed);
      if (holds == nullptr && candidate.pc.compare_exchange_strong(holds, pc, std::memory_order_relaxed)) holds = pc;
      if (holds != pc) continue;
      s = &candidate;
      break;
    }
  }
  uint64_t deepest = s->deepest.load(std::memory_order_relaxed);
  while (depth > deepest && !s->deepest.compare_exchange_weak(deepest, depth, std::memory_order_relaxed)) {
  }
  s->limit.store(limit, std::memory_order_relaxed);
  s->sum.fetch_add(depth, std::memory_order_relaxed);
  s->samples.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace warren::rt
