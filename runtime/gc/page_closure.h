// What the grey objects of a page lead to within the page: all of it is scanned while the page is in the first cache. Of what was made one
// after the other most edges are short, and a page of a tree is entered through a handful of its objects; were each object queued when it
// is found, the page would be visited once for each level of the tree.
//
// In a private copy of the page's colours, without a locked instruction: who calls takes the white objects down, and afterwards publishes
// those that are missing there, 64 at a time, first as scanned, then as marked. Meanwhile they are still white to everybody else. So
//   - an object may be found by two at once, and is then scanned by both. That costs time only; who counts it is who sets its mark bit
//   - it is scanned before it is grey. What the program stores into it after that passes the barrier like any store, and the barrier asks
//     for no colour (barrier.h); what it deletes from it before is shaded as it is deleted
//   - a marker that takes the page off the queue between the two sees a scan bit without a mark, which is nothing to it
//
// Round by round: the words of the objects that the last round has found, by the gathering kernel if they are many, one by one if they are
// few. (bench_gc's trees of depth 20, a whole collection: 38 ms as it was, each level a visit and two locked instructions an object; 20 ms
// so, when the page's memory has been asked for, which is the caller's business: marker::scan_page.)
//
// Where what a round finds goes, is a word in memory for each 64 objects, and what lies side by side is found by words that lie side by
// side: one is written to over and over, and each time waits for the last. So it is kept in a register until a word leads to another group.
// (With the two small savings in the kernel's loop 6 % of the time of marking in binary_trees/16; the three apart are lost in the noise.)
//
// Rejected: to follow a page group by group, upwards and downwards by turns, each until it leads nowhere, instead of round by round: fewer
// rounds, and each is too short for the processor to guess its end. binary_trees/16 took a tenth more. Once per round and group, taking
// along what groups before it have found in the same round: no gain.
//
// Rejected: one object after the other, depth first, its words looked at in place. Whether a word is null, in the page, white is for the
// processor to guess, three times an object, and it guesses wrong: slower than the rounds. And one pass of a kernel over the page that says
// for each word which slot it leads to, then a search in that array of small numbers: faster by a sixteenth, for a second kernel and 4 KiB
// of an assisting goroutine's stack.
#pragma once
#include <algorithm>
#include <array>

#include "runtime/gc/grey_page.h"

namespace warren::rt {

// A bit for each object of a page.
using page_bits = std::array<uint64_t, grey_page::kBlocks>;

class page_closure {
 public:
  page_closure(gather_words* kernel, uintptr_t heap, size_t bytes) noexcept : kernel_(kernel), heap_(heap), bytes_(bytes) {}

  // What p.grey lead to is taken out of `white`, and `elsewhere` is called with each word of all these that points into the heap outside
  // the page. p.grey is used up. Returns how many objects were taken out.
  template <class Elsewhere>
  size_t follow(grey_page& p, page_bits& white, const Elsewhere& elsewhere) const noexcept;

 private:
  // From one object in so many on, the words of a round are gathered by the kernel.
  static constexpr size_t kDense = 64;

  template <class Take>
  void each_word(const grey_page& p, const Take& take) const noexcept;
  template <class Take>
  void gather(const grey_page& p, const Take& take) const noexcept;

  gather_words* kernel_;
  uintptr_t heap_;
  size_t bytes_;
};

// Not instrumented, and a walk of its own: for_each_pointer_word has why.
template <class Take>
__attribute__((no_sanitize("thread"))) inline void page_closure::each_word(const grey_page& p, const Take& take) const noexcept {
  const auto* const memory = reinterpret_cast<const volatile uintptr_t*>(p.at);
  for (size_t group = 0; group < p.groups; ++group)
    for (uint64_t grey = p.grey[group]; grey != 0; grey &= grey - 1) {
      const size_t first = (group * 64 + static_cast<size_t>(__builtin_ctzll(grey))) * p.words;
      const size_t end = first + p.words;
      for (size_t i = first; i < end;) {
        const size_t bit = i % 64;
        const size_t here = std::min(end - i, 64 - bit);
        uint64_t map = __atomic_load_n(&p.pointers[i / 64], __ATOMIC_RELAXED) >> bit;
        if (here < 64) map &= (uint64_t{1} << here) - 1;
        for (; map != 0; map &= map - 1) {
          const uintptr_t word = memory[i + static_cast<size_t>(__builtin_ctzll(map))];
          if (word - heap_ < bytes_) take(word);
        }
        i += here;
      }
    }
}

template <class Take>
inline void page_closure::gather(const grey_page& p, const Take& take) const noexcept {
  std::array<uintptr_t, kGatherRoom> words;
  for (size_t block = 0; block < grey_page::kBlocks; block += kGatherBlocks) {
    const size_t n = kernel_(p, block, heap_, bytes_, words.data());
    for (size_t i = 0; i < n; ++i) take(words[i]);
  }
}

template <class Elsewhere>
size_t page_closure::follow(grey_page& p, page_bits& white, const Elsewhere& elsewhere) const noexcept {
  // In registers: for all the compiler knows, `found` lies over p.
  const uintptr_t at = p.at;
  const uint64_t magic = p.magic;
  size_t now = 0, reached = 0;
  for (size_t group = 0; group < p.groups; ++group) now += count_bits(p.grey[group]);
  for (;;) {
    page_bits found{};
    size_t last = 0;  // the group that of_last belongs to
    uint64_t of_last = 0;
    const auto take = [&](uintptr_t word) {
      const uintptr_t offset = word - at;
      if (offset >= kPageSize) return elsewhere(word);
      const uint64_t slot = (offset * magic) >> 32;
      if (slot / 64 != last) {
        found[last] |= of_last;
        last = slot / 64;
        of_last = 0;
      }
      of_last |= uint64_t{1} << (slot % 64);
    };
    if (now * p.words * kDense >= grey_page::kWords) {
      gather(p, take);
    } else {
      each_word(p, take);
    }
    found[last] |= of_last;
    now = 0;
    for (size_t group = 0; group < p.groups; ++group) {
      p.grey[group] = found[group] & white[group];
      white[group] ^= p.grey[group];
      now += count_bits(p.grey[group]);
    }
    if (now == 0) return reached;
    reached += now;
  }
}

}  // namespace warren::rt
