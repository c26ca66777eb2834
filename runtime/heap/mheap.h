// mheap: all pages, all spans. The last of the levels an allocation can fall through:
//
//   tiny   mcache.tiny block → as small, 16 bytes
//   small  mcache's span → the next group of its slots → mcentral (a swept span with room, or one swept for the purpose)
//          → pages → mcache's new span
//   large  pages
//   pages  the P's page cache (spans up to 16 pages) → page_alloc under the lock → sweep for it → grow into the reservation
//          → a collection (the caller) → std::bad_alloc (the caller)
// Memory of free pages goes back to the system in the background, on demand, and when too much is resident (scavenger.h).
//
// Sweeping is lazy: a collection only raises sweepgen. A span is swept when a refill wants it, when pages run out, by sweep_one, and at the
// latest before the next collection marks. The heap knows what mark bits mean and nothing of how they come about: runtime/gc does that.
//
// Out of memory: alloc functions return 0, after sweeping all there is. malloc.cpp then collects, tries again, and throws std::bad_alloc.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/heap_counters.h"
#include "runtime/heap/mcache.h"
#include "runtime/heap/mcentral.h"
#include "runtime/heap/page_arena.h"
#include "runtime/heap/page_word.h"
#include "runtime/heap/reservation.h"
#include "runtime/heap/scavenger.h"
#include "runtime/os/critical.h"

namespace warren::rt {

// With which loop a marker gathers the pointers of a page (runtime/gc/grey_page.h).
enum class page_kernel : uint8_t { portable, avx512 };

struct heap_options {
  size_t reserve = kDefaultReserve;
  bool poison = false;        // fill swept slots with kPoisonByte
  bool scan_by_page = false;  // markers queue pages, not objects (runtime/gc/mark.h)
  page_kernel kernel = page_kernel::portable;
};
inline constexpr unsigned char kPoisonByte = 0xdb;

// What an address means. span == nullptr: nothing.
struct object_ref {
  mspan* span = nullptr;
  uint32_t index = 0;
  uintptr_t address() const noexcept { return span->slot(index); }
  explicit operator bool() const noexcept { return span != nullptr; }
};

class mheap {
 public:
  explicit mheap(const heap_options& options);
  ~mheap();
  mheap(const mheap&) = delete;
  mheap& operator=(const mheap&) = delete;

  // ---- allocation: called by the owner of c ----
  // Puts a span with at least one free slot into c.alloc[span_class]. false: out of memory.
  bool refill(mcache& c, uint8_t span_class) noexcept;
  // A span of one object. Its memory is not zeroed if needzero. nullptr: out of memory.
  mspan* alloc_large(mcache& c, size_t bytes, scan_kind kind) noexcept;

  // ---- mcaches ----
  mcache* new_mcache();
  void delete_mcache(mcache* c) noexcept;
  // Hands all spans of c to their mcentrals and its pages back, and forgets the tiny block. Owner, or world stopped.
  void flush(mcache& c) noexcept;

  // ---- what an address means. World stopped, or the caller knows that the object stays ----
  // The object that holds this address, if that slot is allocated: interior addresses count, free slots and tails do not.
  object_ref find_object(uintptr_t a) const noexcept {
    if (a - reserved_.base() >= used_bytes_.load(std::memory_order_relaxed)) return {};
    return find_in_range(a);
  }
  bool contains(uintptr_t a) const noexcept { return reserved_.contains(a); }

  // The same as a marker sees it while others allocate: by what was allocated when the marking began (mspan.h). Any thread, while a
  // collection marks.
  object_ref find_for_mark(uintptr_t a) const noexcept {
    if (a - reserved_.base() >= used_bytes_.load(std::memory_order_relaxed)) return {};
    mspan* const s = span_at(page_of(a));
    if (s == nullptr) return {};
    const uint32_t i = s->magic == 0 ? 0 : s->slot_index(a);
    if (i >= s->nelems || !s->was_allocated(i)) return {};
    return {s, i};
  }

  // ---- allocating black ----
  // World stopped, mcaches flushed. on: from now on new objects are marked, in every mcache there is or will be; their number starts at 0.
  void set_allocate_black(bool on) noexcept;
  // World stopped, mcaches flushed: bytes and objects made black since.
  void read_black(uint64_t* bytes, uint64_t* objects) noexcept;

  // ---- sweeping ----
  uint32_t sweepgen() const noexcept { return sweepgen_.load(std::memory_order_relaxed); }
  // REQUIRES: world stopped, mcaches flushed, everything swept, live bytes and trigger set. From here on all spans want to be swept; those
  // who take spans sweep in proportion, so that all is swept when the live bytes come to the trigger.
  void begin_sweep() noexcept;
  // Sweeps one span; false if none is left unswept in the lists (another thread may still be at work on one).
  bool sweep_one() noexcept;
  bool sweep_done() const noexcept { return unswept_.load(std::memory_order_acquire) == 0; }

  // ---- collection's accounts ----
  // Bytes allocated since the last collection and left by it; spans in mcaches count as full.
  uint64_t live_bytes() const noexcept { return static_cast<uint64_t>(live_.load(std::memory_order_relaxed)); }
  void set_live_bytes(uint64_t n) noexcept { live_.store(static_cast<int64_t>(n), std::memory_order_relaxed); }
  // Memory of malloc behind collected objects, as external_bytes (warren/gc.h) was told. Returns what it is now.
  uint64_t add_external(int64_t n) noexcept { return not_negative(external_.fetch_add(n, std::memory_order_relaxed) + n); }
  uint64_t external_bytes() const noexcept { return not_negative(external_.load(std::memory_order_relaxed)); }
  // What is compared with the trigger.
  uint64_t paced_bytes() const noexcept { return live_bytes() + external_bytes(); }
  void set_trigger(uint64_t bytes) noexcept { trigger_.store(bytes, std::memory_order_relaxed); }
  uint64_t trigger() const noexcept { return trigger_.load(std::memory_order_relaxed); }
  bool should_collect() const noexcept { return paced_bytes() >= trigger(); }

  // ---- memory given back to the system ----
  scavenger& scavenging() noexcept { return scavenger_; }
  // Of the data range. Pages used so far, less what the system has back; pages in caches of Ps count as resident.
  uint64_t resident_bytes() const noexcept { return arena_.resident() << kPageShift; }
  size_t released_bytes() const noexcept { return arena_.released() << kPageShift; }
  // Free and resident: what could be given back.
  size_t idle_resident_bytes() const noexcept { return arena_.idle() << kPageShift; }
  // Tables and descriptors. The tables' pages are taken to be touched for every page of data ever used: at most 5 % of these, and never
  // given back.
  uint64_t metadata_bytes() const noexcept;
  uint64_t span_bytes() const noexcept { return static_cast<uint64_t>(span_pages_.load(std::memory_order_relaxed)) << kPageShift; }

  // ---- looking at all of it ----
  // REQUIRES: world stopped.
  template <class F>
  void for_each_span(F&& visit) const {
    const size_t end = used_bytes_.load(std::memory_order_relaxed) >> kPageShift;
    for (size_t page = 0; page < end;) {
      mspan* const s = span_at(page);
      if (s != nullptr) visit(s);
      page += s != nullptr ? s->npages : 1;
    }
  }
  struct totals {
    uint64_t objects = 0, bytes = 0, mallocs = 0, frees = 0, total_bytes = 0;
    uint64_t class_mallocs[kSizeClasses] = {}, class_frees[kSizeClasses] = {};
    uint64_t tiny_hits = 0, tiny_blocks = 0, refills = 0, mcentral_hits = 0, page_cache_hits = 0, mheap_hits = 0, large = 0, grows = 0;
    uint64_t spans_in_use = 0, span_bytes = 0, used_bytes = 0, released_bytes = 0, metadata_bytes = 0;
  };
  // Sums all counters. Stops nobody.
  totals read_totals() noexcept;

  const reservation& space() const noexcept { return reserved_; }
  // Before a collection: what is to be done once in a while for the sake of marking (reservation.h).
  void gather_tables() noexcept { reserved_.gather_tables(used_bytes()); }
  size_t used_bytes() const noexcept { return used_bytes_.load(std::memory_order_relaxed); }
  // Markers use the scan bits of spans of one page, and the sweep clears them.
  bool scan_by_page() const noexcept { return scan_by_page_; }
  page_kernel kernel() const noexcept { return kernel_; }
  bool poison() const noexcept { return poison_; }
  void set_poison(bool on) noexcept { poison_ = on; }
  mspan* span_at(size_t page) const noexcept { return __atomic_load_n(&reserved_.spans()[page], __ATOMIC_ACQUIRE); }
  size_t page_of(uintptr_t a) const noexcept { return (a - reserved_.base()) >> kPageShift; }

  // Prints a span and its slots to standard error, for reports of corruption.
  void print_span(const mspan& s) const noexcept;

 private:
  friend struct mcache;
  friend struct mheap_test;

  // Who takes away before another has added sees less than nothing for a moment.
  static uint64_t not_negative(int64_t n) noexcept { return n > 0 ? static_cast<uint64_t>(n) : 0; }
  object_ref find_in_range(uintptr_t a) const noexcept {
    mspan* const s = span_at(page_of(a));
    if (s == nullptr) return {};
    const uint32_t i = s->magic == 0 ? 0 : s->slot_index(a);
    if (i >= s->nelems || !s->is_allocated(i)) return {};
    return {s, i};
  }

  mspan* cache_span(mcache& c, uint8_t span_class) noexcept;
  mspan* span_with_room(uint8_t span_class) noexcept;
  void uncache(mcache& c, mspan* s) noexcept;
  mspan* new_span(mcache& c, size_t pages, uint8_t span_class) noexcept;
  size_t alloc_pages(mcache& c, size_t n, bool* zero) noexcept;
  size_t take_pages(mcache& c, size_t n, bool* zero) noexcept;  // REQUIRES: arena_.lock
  bool grow(size_t pages) noexcept;                             // REQUIRES: arena_.lock
  void keep_limit(size_t pages) noexcept;
  mspan* descriptor(mcache& c) noexcept;
  void take_descriptors(span_list* to, size_t n) noexcept;  // REQUIRES: arena_.lock
  void free_span(mspan* s) noexcept;
  enum class empty_span : uint8_t { give_back, keep };
  // REQUIRES: s is out of all lists, sweepgen is sg - 2. Returns the freed pages (0: the span lives on, in the caller's hands).
  size_t sweep(mspan* s, empty_span what) noexcept;
  void sweep_and_file(mspan* s, size_t* freed) noexcept;
  void pay_for_sweep(size_t bytes) noexcept;
  mspan* pop_unswept(size_t* cursor) noexcept;
  size_t reclaim(size_t pages) noexcept;

  reservation reserved_;
  bool poison_;
  const bool scan_by_page_;
  const page_kernel kernel_;

  alignas(kCacheLine) page_arena arena_;  // the data
  // Guarded by arena_.lock.
  span_list free_descriptors_;
  std::byte* descriptor_chunk_ = nullptr;  // the rest of the chunk descriptors are cut from
  size_t descriptor_left_ = 0;
  struct chunk {
    chunk* next;
    size_t bytes;
  };
  chunk* chunks_ = nullptr;
  mcache* caches_ = nullptr;
  std::array<uint64_t, kSizeClasses> mallocs_read_{};  // the most that read_totals has seen
  bool black_ = false;
  uint64_t retired_black_bytes_ = 0, retired_black_objects_ = 0;  // of mcaches that are gone

  alignas(kCacheLine) std::atomic<size_t> used_bytes_{0};  // of the data range: grown so far
  std::atomic<uint64_t> descriptor_bytes_{0};
  std::atomic<uint32_t> sweepgen_{2};
  std::atomic<size_t> sweep_cursor_{0};
  std::atomic<int64_t> unswept_{0};              // spans that wait for the sweep or are in it
  std::atomic<uint64_t> swept_pages_{0};         // in this cycle
  std::atomic<double> sweep_pages_per_byte_{0};  // 0: nothing is owed
  uint64_t sweep_from_ = 0;                      // live bytes when the sweep began
  std::atomic<int64_t> spans_in_use_{0}, span_pages_{0};

  alignas(kCacheLine) std::atomic<int64_t> live_{0};
  std::atomic<int64_t> external_{0};
  std::atomic<uint64_t> trigger_{~uint64_t{0}};
  scavenger scavenger_{&arena_};
  heap_counters counters_;
  mcentral central_[kSpanClasses];
};

}  // namespace warren::rt
