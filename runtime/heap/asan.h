// Free slots are poisoned under AddressSanitizer: a use after the sweep is reported where it happens.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define WARREN_HEAP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WARREN_HEAP_ASAN 1
#endif
#endif

#ifdef WARREN_HEAP_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace warren::rt {

inline void heap_poison([[maybe_unused]] const void* p, [[maybe_unused]] size_t n) noexcept {
#ifdef WARREN_HEAP_ASAN
  __asan_poison_memory_region(p, n);
#endif
}
inline void heap_unpoison([[maybe_unused]] const void* p, [[maybe_unused]] size_t n) noexcept {
#ifdef WARREN_HEAP_ASAN
  __asan_unpoison_memory_region(p, n);
#endif
}

}  // namespace warren::rt
