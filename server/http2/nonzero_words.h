// nonzero_words: memory that is mostly zero, kept in little, while its pages are given back.
//
// One bit for each word of 8 bytes, then the words that are not zero. Five kilobytes of a session of which a fifth is in use become one; a
// compressor proper would make that half, and cost a library and a hundred times the time.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace warren::http2 {

class nonzero_words {
 public:
  nonzero_words() = default;
  nonzero_words(const nonzero_words&) = delete;
  nonzero_words& operator=(const nonzero_words&) = delete;
  ~nonzero_words() { std::free(kept_); }

  bool empty() const noexcept { return kept_ == nullptr; }

  // Remembers what lies there. false: no memory for it. REQUIRES: empty(), bytes > 0 and a multiple of 8.
  bool keep(const char* from, size_t bytes) noexcept {
    const size_t words = bytes / kWord;
    size_t used = 0;
    for (size_t i = 0; i < words; i++) used += word_at(from, i) != 0;
    const size_t masks = (words + 63) / 64;
    kept_ = static_cast<uint64_t*>(std::malloc((masks + used) * kWord));
    if (kept_ == nullptr) return false;
    masks_ = masks;
    uint64_t* next = kept_ + masks;
    for (size_t m = 0; m < masks; m++) {
      uint64_t mask = 0;
      for (size_t i = m * 64; i < words && i < m * 64 + 64; i++) {
        const uint64_t w = word_at(from, i);
        if (w == 0) continue;
        mask |= uint64_t{1} << (i - m * 64);
        *next++ = w;
      }
      kept_[m] = mask;
    }
    return true;
  }

  // Puts it back, to where there are zeros now or what was there then, and is empty. REQUIRES: not empty().
  void put_back(char* to) noexcept {
    const uint64_t* next = kept_ + masks_;
    for (size_t m = 0; m < masks_; m++)
      for (uint64_t mask = kept_[m]; mask != 0; mask &= mask - 1)
        std::memcpy(to + (m * 64 + static_cast<size_t>(std::countr_zero(mask))) * kWord, next++, kWord);
    std::free(kept_);
    kept_ = nullptr;
  }

 private:
  static constexpr size_t kWord = sizeof(uint64_t);

  static uint64_t word_at(const char* from, size_t i) noexcept {
    uint64_t w;
    std::memcpy(&w, from + i * kWord, kWord);
    return w;
  }

  uint64_t* kept_ = nullptr;  // the masks, then the words
  size_t masks_ = 0;
};

}  // namespace warren::http2
