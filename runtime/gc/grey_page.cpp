#include "runtime/gc/grey_page.h"

#include <string.h>

#include <algorithm>

#include "runtime/gc/pointer_words.h"

namespace warren::rt {

size_t gather_portable(const grey_page& p, size_t block, uintptr_t heap, size_t bytes, uintptr_t* out) noexcept {
  const auto* const memory = reinterpret_cast<const volatile uintptr_t*>(p.at);
  const size_t begin = block * 64, end = begin + kGatherBlocks * 64;  // of the words
  size_t n = 0;
  for (size_t object = begin / p.words; object * p.words < end;) {
    const uint64_t grey = p.grey[object / 64] >> (object % 64);
    if (grey == 0) {
      object = (object / 64 + 1) * 64;
      continue;
    }
    object += static_cast<size_t>(__builtin_ctzll(grey));
    const size_t last = std::min(end, (object + 1) * p.words);
    for_each_pointer_word(memory, p.pointers, std::max(begin, object * p.words), last, [&](uintptr_t word) {
      out[n] = word;
      n += word - heap < bytes ? 1 : 0;
    });
    ++object;
  }
  return n;
}

bool has_kernel(page_kernel k) noexcept {
  if (k == page_kernel::portable) return true;
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bitalg");
#else
  return false;
#endif
}

gather_words* kernel_of([[maybe_unused]] page_kernel k) noexcept {
#if defined(__x86_64__)
  if (k == page_kernel::avx512) return &gather_avx512;
#endif
  return &gather_portable;
}

const char* to_string(page_kernel k) noexcept { return k == page_kernel::portable ? "portable" : "avx512"; }

bool parse_page_kernel(const char* text, page_kernel* out) noexcept {
  for (const page_kernel k : {page_kernel::portable, page_kernel::avx512}) {
    if (strcmp(text, to_string(k)) != 0) continue;
    *out = k;
    return true;
  }
  return false;
}

}  // namespace warren::rt
