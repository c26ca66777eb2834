// A page of small objects some of which are grey, and the loops that gather the words to be followed from it.
//
// What a kernel does for each of the page's 1024 words: is the word part of a grey object, and may it hold a pointer, and does what it
// holds lie in the heap? Then the word goes to the caller's buffer, in the order of addresses. Kernels differ in how, and not in what they
// write (tests/runtime/gc/grey_page_test compares them for every size class):
//
//   portable   object by object, the pointer bits of each cut out of the page's, bit by bit
//   avx512     64 words at a time:
//                1. grey words      the bit of the object that word 64 b + j belongs to. One instruction looks up 64 bits of a 64-bit
//                                   window by their numbers (VPSHUFBITQMB): the window begins at the first object of the block, the
//                                   numbers are (r + j) / words of an object, r being how far into that object the block begins. For a
//                                   size all r's numbers are one row of bytes, read from its r-th byte on.
//                2. and pointers    64 pointer bits
//                3. for each of the eight lines that are left with a bit: load those words, compare with the heap's bounds, squeeze
//                   out the others (VPCOMPRESSQ, to a register: to memory it is slow on some processors), store
//
// Go's kernels expand the bits by a routine for each size (a matrix of bits and a shuffle of bytes: scan_amd64.s); here a size is a row of
// a table, which the compiler computes.
//
// Words are read while the program writes them. A word is read in one piece: they are aligned, and a load of a whole line has no smaller
// parts than its elements on any processor with these instructions. Go relies on the same.
//
// Objects of more than kMostWords words are not scanned in this way: they are few in a page, and each is long enough for itself.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/heap/mheap.h"

namespace warren::rt {

struct grey_page {
  static constexpr size_t kWords = kPageSize / sizeof(uintptr_t);
  static constexpr size_t kBlocks = kWords / 64;
  static constexpr size_t kMostWords = 64;  // of an object

  uintptr_t at = 0;
  const uint64_t* pointers = nullptr;  // kWords bits: which words may hold pointers
  uint32_t words = 0;                  // of an object
  uint32_t groups = 0;                 // of 64 objects
  uint32_t magic = 0;                  // division by an object's size
  uint8_t span_class = 0;
  uint64_t grey[kBlocks + 1] = {};  // a bit for each object, and a word of zeros
};

// Writes what is found in kGatherBlocks blocks of 64 words, from `block` on, to `out`, which has room for these words and a line more, and
// returns how many. heap, bytes: a word w is of interest if w - heap < bytes. REQUIRES: block % kGatherBlocks == 0. (Not a page at once:
// who assists does this on a goroutine's stack, and 8 KiB of words are too much for that.)
using gather_words = size_t(const grey_page& p, size_t block, uintptr_t heap, size_t bytes, uintptr_t* out) noexcept;
inline constexpr size_t kGatherBlocks = 2;
inline constexpr size_t kGatherRoom = kGatherBlocks * 64 + 8;

gather_words gather_portable;
#if defined(__x86_64__)
gather_words gather_avx512;  // REQUIRES: has_kernel(page_kernel::avx512)
#endif

// Does the processor, and the build, have it?
bool has_kernel(page_kernel k) noexcept;
// REQUIRES: has_kernel(k).
gather_words* kernel_of(page_kernel k) noexcept;
const char* to_string(page_kernel k) noexcept;
// False: text is none of them.
bool parse_page_kernel(const char* text, page_kernel* out) noexcept;

}  // namespace warren::rt
