// The page allocator: which pages of an arena (page_arena.h) are free, first fit by address.
//
// A bit per page (1 = free), 512 pages to a leaf, and over the leaves a radix tree of fan-out 8. An entry of the tree summarizes the free
// pages of its range in three numbers: how many at the start, the longest run, how many at the end. Two neighbours merge into their
// parent's entry by arithmetic alone, and a search goes down from the root without ever looking into a subtree whose longest run is too
// short:
//
//   find(n): walk the entries of a level from left to right, carrying the run of free pages that ends where the next entry begins.
//     run + entry.start >= n   found: it begins `run` pages before the entry (the leftmost possibility, since it began earlier)
//     entry.max >= n           the first fit lies inside: repeat with its eight children
//     otherwise                run = all free ? run + pages of the entry : entry.end
//
// Lowest address first keeps the used part dense, so that the top can be given back. Cost: one walk of 8 entries per level (6 levels for
// 512 GiB) and the bitmap of one leaf. Memory: 2 bits per page, 8/7 · 12 bytes and a bit per leaf, backed lazily.
//
// Scavenged pages. A second bit says of a free page that the system has its memory (or has never given any): it costs nothing, and who
// touches it finds zeros.
//     grow                   free and scavenged       free_bits   as the cache says, page by page
//     alloc, alloc_to_cache  clear the bit; the caller (the cache) learns of it: such pages need no zeroing
//     free                   free, not scavenged      hold_idle   in use, so that nobody takes it while its memory is being given back
//     release                free, scavenged if that went well
// The bit of a page in use is clear, always. Where there is something to give back is a bit per leaf, with an upper bound for the highest
// that is set: the search comes down from there and looks into one leaf, however large the reservation. Highest address first, since
// allocation takes the lowest: what is given back at the top is what would be used again last.
//
// Not done: to spare leaves that are nearly full, as Go does for the sake of the system's huge pages (a hole in one splits it). Such leaves
// are low ones, which the order above comes to last, when all that is free beyond the reserve of a tenth lies in them.
//
// Pure data structure: no locks (the arena's protects it), never touches the pages themselves, and does not ask how large one is.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/heap/tunables.h"

namespace warren::rt {

class page_cache;

struct page_run {
  size_t first = 0, n = 0;
};

class page_alloc {
 public:
  static constexpr size_t kNone = ~size_t{0};

  // For page numbers [0, pages). All in use until grown.
  explicit page_alloc(size_t pages);
  ~page_alloc();
  page_alloc(const page_alloc&) = delete;
  page_alloc& operator=(const page_alloc&) = delete;

  // Makes [first, first + n) free for the first time, scavenged.
  void grow(size_t first, size_t n) noexcept;
  // The lowest run of n free pages, now in use; kNone if there is none. n > 0. zero: were all of them scavenged?
  size_t alloc(size_t n, bool* zero = nullptr) noexcept;
  // REQUIRES: [first, first + n) in use (checked in debug builds).
  void free(size_t first, size_t n) noexcept;
  // All free pages of the lowest aligned group of 64 that has any, now in use and owned by the cache. Returns an empty cache if nothing is
  // free.
  page_cache alloc_to_cache() noexcept;
  // Gives back the pages of `bits` (bit i = page first + i), of which some may be scavenged. first: a multiple of 64.
  void free_bits(size_t first, uint64_t bits, uint64_t scavenged) noexcept;

  // The highest run of free pages that are not scavenged, within a group of 64 and in whole aligned units (a power of two up to 64: pages
  // that the system takes back at once); in use until released. n == 0 if there is none.
  page_run hold_idle(size_t unit) noexcept;
  void release(page_run r, bool scavenged) noexcept;

  size_t free_pages() const noexcept { return free_pages_; }
  size_t scavenged_pages() const noexcept { return scavenged_pages_; }
  bool scavenged(size_t page) const noexcept { return ((scavenged_[page / 64] >> (page % 64)) & 1) != 0; }
  bool in_use(size_t page) const noexcept { return ((bits_[page / 64] >> (page % 64)) & 1) == 0; }
  size_t longest_run() const noexcept;

 private:
  // Counts of free pages. Up to 2^26 pages (512 GiB) and more fit into 32 bits.
  struct summary {
    uint32_t start = 0, max = 0, end = 0;
  };
  static constexpr int kMaxLevels = 12;
  static constexpr size_t kFanout = 8;

  size_t pages_per_entry(int level) const noexcept { return kPagesPerChunk << (3 * level); }
  static summary merge(const summary* children, size_t n, size_t pages_each) noexcept;
  summary summarize_leaf(size_t leaf) const noexcept;
  void update(size_t first, size_t n) noexcept;
  void set_range(size_t first, size_t n, bool used) noexcept;
  template <class F>
  static void for_each_word(size_t first, size_t n, F&& f);
  void set_scavenged(size_t first, size_t n) noexcept;
  size_t clear_scavenged(size_t first, size_t n) noexcept;  // returns how many were
  void note_idle(size_t leaf) noexcept;
  size_t find(size_t n) const noexcept;
  size_t find_in_leaf(size_t leaf, size_t n) const noexcept;

  size_t pages_;
  size_t leaves_;
  uint64_t* bits_;  // 1 = free: what was never grown is zero in untouched memory
  uint64_t* scavenged_;
  uint64_t* idle_;       // a bit per leaf: it has pages that are free and not scavenged
  size_t idle_end_ = 0;  // no leaf from here on has
  int levels_;           // level 0 = leaves
  summary* level_[kMaxLevels];
  size_t entries_[kMaxLevels];
  size_t free_pages_ = 0;
  size_t scavenged_pages_ = 0;
  size_t hint_ = 0;  // no page below it is free
  void* mapping_;
  size_t mapping_bytes_;
};

// A word of pages that one P owns: it allocates small spans from it without a lock.
class page_cache {
 public:
  constexpr page_cache() = default;
  // scavenged: of the free ones.
  constexpr page_cache(size_t first, uint64_t free, uint64_t scavenged = 0) : first_(first), free_(free), scavenged_(scavenged) {}

  bool empty() const noexcept { return free_ == 0; }
  size_t first() const noexcept { return first_; }
  uint64_t free_bits() const noexcept { return free_; }
  uint64_t scavenged_bits() const noexcept { return scavenged_; }
  // The lowest run of n free pages, 0 < n <= 64; page_alloc::kNone if there is none. zero: were all of them scavenged?
  size_t alloc(size_t n, bool* zero = nullptr) noexcept {
    uint64_t runs = free_;  // bit i stays set while pages [i, i + k) are free, for growing k
    for (size_t k = 1; k < n && runs != 0;) {
      const size_t by = k < n - k ? k : n - k;
      runs &= runs >> by;
      k += by;
    }
    if (runs == 0) return page_alloc::kNone;
    const int at = __builtin_ctzll(runs);
    const uint64_t mask = (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << at;
    if (zero != nullptr) *zero = (scavenged_ & mask) == mask;
    free_ &= ~mask;
    scavenged_ &= ~mask;
    return first_ + static_cast<size_t>(at);
  }
  void flush(page_alloc& pages) noexcept {
    if (free_ != 0) pages.free_bits(first_, free_, scavenged_);
    free_ = scavenged_ = 0;
  }

 private:
  size_t first_ = 0;
  uint64_t free_ = 0;
  uint64_t scavenged_ = 0;
};

}  // namespace warren::rt
