// What the processor offers: pauses and cache lines.
#pragma once
#include <cstddef>

namespace warren::rt {

// Two fields written by different threads lie this far apart. 64 on every x86-64 and most aarch64 parts;
// 128 would also separate the pairs that the adjacent-line prefetcher pulls in, at twice the memory.
inline constexpr size_t kCacheLine = 64;

inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace warren::rt
