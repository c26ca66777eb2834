#include "runtime/heap/page_alloc.h"

#include <sys/mman.h>

#include "runtime/os/fatal.h"

namespace warren::rt {

page_alloc::page_alloc(size_t pages) : pages_(pages), leaves_((pages + kPagesPerChunk - 1) / kPagesPerChunk) {
  const size_t bitmap = leaves_ * kPagesPerChunk / 8;
  const size_t idle_bytes = (leaves_ + 63) / 64 * 8;
  size_t bytes = 2 * bitmap + idle_bytes;
  levels_ = 0;
  for (size_t n = leaves_;; n = (n + kFanout - 1) / kFanout) {
    entries_[levels_++] = n;
    bytes += n * sizeof(summary);
    if (n <= kFanout) break;
  }
  mapping_bytes_ = bytes;
  mapping_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED)
    fatal("cannot map %zu KiB for the page allocator: raise the limit (ulimit -v) or set WARREN_HEAP_RESERVE lower", bytes >> 10);
  bits_ = static_cast<uint64_t*>(mapping_);
  scavenged_ = bits_ + bitmap / 8;
  idle_ = scavenged_ + bitmap / 8;
  auto* at = reinterpret_cast<std::byte*>(idle_) + idle_bytes;
  for (int l = 0; l < levels_; ++l) {
    level_[l] = reinterpret_cast<summary*>(at);
    at += entries_[l] * sizeof(summary);
  }
  hint_ = pages_;
}

page_alloc::~page_alloc() { munmap(mapping_, mapping_bytes_); }

page_alloc::summary page_alloc::merge(const summary* c, size_t n, size_t pages_each) noexcept {
  summary s;
  uint32_t run = 0;  // free pages that end where child i begins
  bool all_free = true;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t across = run + c[i].start;
    if (across > s.max) s.max = across;
    if (c[i].max > s.max) s.max = c[i].max;
    if (all_free) s.start = across;
    if (c[i].start == pages_each) {
      run = across;
    } else {
      run = c[i].end;
      all_free = false;
    }
  }
  s.end = run;
  if (s.end > s.max) s.max = s.end;
  return s;
}

page_alloc::summary page_alloc::summarize_leaf(size_t leaf) const noexcept {
  const uint64_t* w = bits_ + leaf * (kPagesPerChunk / 64);
  summary s;
  uint32_t run = 0;
  bool leading = true;
  for (size_t i = 0; i < kPagesPerChunk / 64; ++i) {
    uint64_t free = w[i];
    if (free == ~uint64_t{0}) {
      run += 64;
    } else {
      // The run that enters the word, the runs inside, the run that leaves it.
      const uint32_t low = free == 0 ? 0 : static_cast<uint32_t>(__builtin_ctzll(~free));
      if (run + low > s.max) s.max = run + low;
      if (leading) {
        s.start = run + low;
        leading = false;
      }
      uint32_t longest = 0;
      for (uint64_t r = free; r != 0; r &= r >> 1) ++longest;
      if (longest > s.max) s.max = longest;
      run = free == 0 ? 0 : static_cast<uint32_t>(__builtin_clzll(~free));
    }
  }
  if (leading) s.start = run;
  s.end = run;
  if (run > s.max) s.max = run;
  return s;
}

// f(number of the word, mask) for the words of a bitmap that hold [first, first + n).
template <class F>
void page_alloc::for_each_word(size_t first, size_t n, F&& f) {
  size_t page = first;
  size_t left = n;
  while (left > 0) {
    const size_t bit = page % 64;
    const size_t here = left < 64 - bit ? left : 64 - bit;
    f(page / 64, (here == 64 ? ~uint64_t{0} : (uint64_t{1} << here) - 1) << bit);
    page += here;
    left -= here;
  }
}

void page_alloc::set_range(size_t first, size_t n, bool used) noexcept {
  for_each_word(first, n, [&](size_t i, uint64_t mask) {
    uint64_t& w = bits_[i];
#ifndef NDEBUG
    if ((used ? w & mask : ~w & mask) != mask)
      fatal("page allocator: pages %zu+%zu are %s already: the heap is corrupt", i * 64 + static_cast<size_t>(__builtin_ctzll(mask)),
            static_cast<size_t>(__builtin_popcountll(mask)), used ? "in use" : "free");
#endif
    w = used ? w & ~mask : w | mask;
  });
}

void page_alloc::set_scavenged(size_t first, size_t n) noexcept {
  for_each_word(first, n, [&](size_t i, uint64_t mask) { scavenged_[i] |= mask; });
  scavenged_pages_ += n;
}

size_t page_alloc::clear_scavenged(size_t first, size_t n) noexcept {
  size_t were = 0;
  for_each_word(first, n, [&](size_t i, uint64_t mask) {
    were += static_cast<size_t>(__builtin_popcountll(scavenged_[i] & mask));
    scavenged_[i] &= ~mask;
  });
  scavenged_pages_ -= were;
  return were;
}

void page_alloc::note_idle(size_t leaf) noexcept {
  constexpr size_t kWords = kPagesPerChunk / 64;
  uint64_t idle = 0;
  for (size_t i = leaf * kWords; i < (leaf + 1) * kWords; ++i) idle |= bits_[i] & ~scavenged_[i];
  const uint64_t bit = uint64_t{1} << (leaf % 64);
  if (idle == 0) {
    idle_[leaf / 64] &= ~bit;
  } else {
    idle_[leaf / 64] |= bit;
    if (idle_end_ <= leaf) idle_end_ = leaf + 1;
  }
}

void page_alloc::update(size_t first, size_t n) noexcept {
  size_t lo = first / kPagesPerChunk;
  size_t hi = (first + n - 1) / kPagesPerChunk;
  for (size_t leaf = lo; leaf <= hi; ++leaf) {
    level_[0][leaf] = summarize_leaf(leaf);
    note_idle(leaf);
  }
  for (int l = 1; l < levels_; ++l) {
    lo /= kFanout;
    hi /= kFanout;
    for (size_t e = lo; e <= hi; ++e) {
      const size_t child = e * kFanout;
      const size_t children = entries_[l - 1] - child < kFanout ? entries_[l - 1] - child : kFanout;
      summary s = merge(level_[l - 1] + child, children, pages_per_entry(l - 1));
      if (children < kFanout) s.end = 0;  // the range ends before the entry does
      level_[l][e] = s;
    }
  }
}

void page_alloc::grow(size_t first, size_t n) noexcept {
  set_range(first, n, false);
  set_scavenged(first, n);
  update(first, n);
  free_pages_ += n;
  if (first < hint_) hint_ = first;
}

size_t page_alloc::find_in_leaf(size_t leaf, size_t n) const noexcept {
  const uint64_t* w = bits_ + leaf * (kPagesPerChunk / 64);
  size_t run = 0;
  for (size_t i = 0; i < kPagesPerChunk / 64; ++i) {
    const uint64_t free = w[i];
    const size_t low = free == ~uint64_t{0} ? 64 : static_cast<size_t>(__builtin_ctzll(~free));
    if (run + low >= n) return leaf * kPagesPerChunk + i * 64 - run;
    if (free == ~uint64_t{0}) {
      run += 64;
      continue;
    }
    if (n <= 64) {
      page_cache word(leaf * kPagesPerChunk + i * 64, free);
      const size_t at = word.alloc(n);
      if (at != kNone) return at;
    }
    run = free == 0 ? 0 : static_cast<size_t>(__builtin_clzll(~free));
  }
  return kNone;
}

size_t page_alloc::find(size_t n) const noexcept {
  int l = levels_ - 1;
  size_t first = 0;
  size_t count = entries_[l];
  for (;;) {
    const size_t each = pages_per_entry(l);
    // Entries that lie below the hint altogether have nothing.
    const size_t skip = hint_ / each;
    size_t run = 0;
    size_t e = skip > first ? skip : first;
    bool descend = false;
    for (; e < first + count; ++e) {
      const summary& s = level_[l][e];
      if (run + s.start >= n) return e * each - run;
      if (s.max >= n) {
        descend = true;
        break;
      }
      run = s.start == each ? run + each : s.end;
    }
    if (!descend) return kNone;
    if (l == 0) return find_in_leaf(e, n);
    --l;
    first = e * kFanout;
    count = entries_[l] - first < kFanout ? entries_[l] - first : kFanout;
  }
}

size_t page_alloc::longest_run() const noexcept {
  const int top = levels_ - 1;
  return merge(level_[top], entries_[top], pages_per_entry(top)).max;
}

size_t page_alloc::alloc(size_t n, bool* zero) noexcept {
  const size_t first = find(n);
  if (first == kNone) return kNone;
  set_range(first, n, true);
  const size_t scavenged = clear_scavenged(first, n);
  if (zero != nullptr) *zero = scavenged == n;
  update(first, n);
  free_pages_ -= n;
  // For one page the first fit is the lowest free page at all: what lies below is taken.
  if (n == 1) hint_ = first + 1;
  return first;
}

void page_alloc::free(size_t first, size_t n) noexcept {
  set_range(first, n, false);
  update(first, n);
  free_pages_ += n;
  if (first < hint_) hint_ = first;
}

page_cache page_alloc::alloc_to_cache() noexcept {
  const size_t page = find(1);
  if (page == kNone) return {};
  const size_t first = page / 64 * 64;
  const uint64_t free = bits_[first / 64];
  const uint64_t scavenged = scavenged_[first / 64];
  bits_[first / 64] = 0;
  scavenged_[first / 64] = 0;
  update(first, 64);
  free_pages_ -= static_cast<size_t>(__builtin_popcountll(free));
  scavenged_pages_ -= static_cast<size_t>(__builtin_popcountll(scavenged));
  hint_ = first + 64;
  return page_cache(first, free, scavenged);
}

void page_alloc::free_bits(size_t first, uint64_t bits, uint64_t scavenged) noexcept {
#ifndef NDEBUG
  if ((bits_[first / 64] & bits) != 0) fatal("page allocator: pages of the group at %zu are free already: the heap is corrupt", first);
#endif
  bits_[first / 64] |= bits;
  scavenged_[first / 64] |= scavenged;
  update(first, 64);
  free_pages_ += static_cast<size_t>(__builtin_popcountll(bits));
  scavenged_pages_ += static_cast<size_t>(__builtin_popcountll(scavenged));
  if (first < hint_) hint_ = first;
}

// ---- giving back ------------------------------------------------------------------------------------------------------------------------
page_run page_alloc::hold_idle(size_t unit) noexcept {
  constexpr size_t kWords = kPagesPerChunk / 64;
  bool highest = true;  // of the leaves whose bit is set
  for (size_t leaf = idle_end_; leaf-- > 0;) {
    const uint64_t up_to = idle_[leaf / 64] << (63 - leaf % 64);  // this leaf and lower ones of the word, this one on top
    if (up_to == 0) {
      leaf -= leaf % 64;
      continue;
    }
    leaf -= static_cast<size_t>(__builtin_clzll(up_to));
    if (highest) idle_end_ = leaf + 1;
    highest = false;
    for (size_t i = (leaf + 1) * kWords; i-- > leaf * kWords;) {
      uint64_t idle = bits_[i] & ~scavenged_[i];
      for (size_t half = 1; half < unit; half *= 2) {
        // Units of `half` pages are all ones or all zeros; now those of twice the size.
        const uint64_t low = half == 1    ? 0x5555555555555555u
                             : half == 2  ? 0x3333333333333333u
                             : half == 4  ? 0x0f0f0f0f0f0f0f0fu
                             : half == 8  ? 0x00ff00ff00ff00ffu
                             : half == 16 ? 0x0000ffff0000ffffu
                                          : 0x00000000ffffffffu;
        const uint64_t both = idle & (idle >> half) & low;
        idle = both | both << half;
      }
      if (idle == 0) continue;
      const auto end = static_cast<size_t>(64 - __builtin_clzll(idle));
      const uint64_t taken_below = ~idle & (end == 64 ? ~uint64_t{0} : (uint64_t{1} << end) - 1);
      const size_t first = taken_below == 0 ? 0 : static_cast<size_t>(64 - __builtin_clzll(taken_below));
      const page_run r{i * 64 + first, end - first};
      set_range(r.first, r.n, true);
      update(r.first, r.n);
      free_pages_ -= r.n;
      return r;
    }
  }
  if (highest) idle_end_ = 0;
  return {};
}

void page_alloc::release(page_run r, bool scavenged) noexcept {
  set_range(r.first, r.n, false);
  if (scavenged) set_scavenged(r.first, r.n);
  update(r.first, r.n);
  free_pages_ += r.n;
  if (r.first < hint_) hint_ = r.first;
}

}  // namespace warren::rt
