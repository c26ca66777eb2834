// The kernel of grey_page.h for AVX-512: the one function of the runtime that is compiled for more than the build's processor.
#include "runtime/gc/grey_page.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>

namespace warren::rt {

namespace {
// numbers[w][k]: which object of w words word k is of, counted from an object's beginning. A block reads 64 from r < w on.
struct alignas(64) object_numbers {
  uint8_t at[grey_page::kMostWords + 1][2 * grey_page::kMostWords] = {};
};
constexpr object_numbers kNumbers = [] {
  object_numbers t;
  for (size_t w = 1; w <= grey_page::kMostWords; ++w)
    for (size_t k = 0; k < 2 * grey_page::kMostWords; ++k) t.at[w][k] = static_cast<uint8_t>(k / w);
  return t;
}();
}  // namespace

[[gnu::target("avx512f,avx512bw,avx512vl,avx512bitalg,popcnt,bmi")]] __attribute__((no_sanitize("address", "thread"))) size_t gather_avx512(
    const grey_page& p, size_t block, uintptr_t heap, size_t bytes, uintptr_t* out) noexcept {
  const __m512i base = _mm512_set1_epi64(static_cast<long long>(heap));
  const __m512i size = _mm512_set1_epi64(static_cast<long long>(bytes));
  const uint8_t* const numbers = kNumbers.at[p.words];
  size_t n = 0;
  for (const size_t end = block + kGatherBlocks; block < end; ++block) {
    const uint64_t pointers = __atomic_load_n(&p.pointers[block], __ATOMIC_RELAXED);
    // The object that the block begins in, and how many words of that lie before. (Without a division.)
    const auto object = static_cast<uint32_t>((uint64_t{block} * 64 * sizeof(uintptr_t) * p.magic) >> 32);
    const uint32_t from = static_cast<uint32_t>(block) * 64 - object * p.words;
    const uint32_t shift = object % 64;
    const uint64_t window = p.grey[object / 64] >> shift | p.grey[object / 64 + 1] << 1 << (63 - shift);
    if (window == 0 || pointers == 0) continue;
    uint64_t left =
        _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64(static_cast<long long>(window)), _mm512_loadu_si512(numbers + from)) & pointers;
    const auto* const memory = reinterpret_cast<const uintptr_t*>(p.at) + block * 64;
    while (left != 0) {
      const auto line = static_cast<uint32_t>(__builtin_ctzll(left)) & ~7u;
      const auto wanted = static_cast<__mmask8>(left >> line);
      left &= ~(uint64_t{0xff} << line);
      const __m512i words = _mm512_maskz_loadu_epi64(wanted, memory + line);
      const __mmask8 inside = _mm512_mask_cmplt_epu64_mask(wanted, _mm512_sub_epi64(words, base), size);
      if (inside == 0) continue;  // leaves of a tree
      _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi64(inside, words));
      n += static_cast<size_t>(__builtin_popcount(inside));
    }
  }
  return n;
}

}  // namespace warren::rt
#endif
