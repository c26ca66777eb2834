#include "runtime/heap/mheap.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "runtime/heap/asan.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {
constexpr size_t kDescriptorChunk = 256 * 1024;
constexpr size_t kDescriptorsPerTake = 8;

// Full for ever: an mcache without a span of a class finds this one, and refills. Never written.
constinit mspan no_span;

size_t system_unit() noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return page > kPageSize ? page / kPageSize : 1;
}

size_t pages_for(size_t bytes) noexcept { return (bytes + kPageSize - 1) >> kPageShift; }
}  // namespace

// ---- mcache -----------------------------------------------------------------------------------------------------------------------------
mcache::mcache(mheap& h) noexcept : heap(h) {
  for (auto& s : alloc) s.store(&no_span, std::memory_order_relaxed);
}

mcache* mheap::new_mcache() {
  mcache* const c = new mcache(*this);
  arena_.lock.lock();
  c->next = caches_;
  caches_ = c;
  c->black = black_;
  arena_.lock.unlock();
  return c;
}

void mheap::set_allocate_black(bool on) noexcept {
  arena_.lock.lock();
  black_ = on;
  if (on) retired_black_bytes_ = retired_black_objects_ = 0;
  for (mcache* c = caches_; c != nullptr; c = c->next) {
    c->black = on;
    if (on) c->black_bytes = c->black_objects = c->charged_bytes = 0, c->mark_credit = 0;
  }
  arena_.lock.unlock();
}

void mheap::read_black(uint64_t* bytes, uint64_t* objects) noexcept {
  arena_.lock.lock();
  *bytes = retired_black_bytes_;
  *objects = retired_black_objects_;
  for (const mcache* c = caches_; c != nullptr; c = c->next) {
    *bytes += c->black_bytes;
    *objects += c->black_objects;
  }
  arena_.lock.unlock();
}

void mheap::delete_mcache(mcache* c) noexcept {
  flush(*c);
  arena_.lock.lock();
  while (mspan* s = c->spare_spans.pop()) free_descriptors_.push(s);
  mcache** at = &caches_;
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  retired_black_bytes_ += c->black_bytes;
  retired_black_objects_ += c->black_objects;
  cache_counters& r = counters_.retired;
  r.tiny_hits.add(c->counts.tiny_hits.read());
  r.tiny_blocks.add(c->counts.tiny_blocks.read());
  r.refills.add(c->counts.refills.read());
  r.mcentral_hits.add(c->counts.mcentral_hits.read());
  r.page_cache_hits.add(c->counts.page_cache_hits.read());
  r.mheap_hits.add(c->counts.mheap_hits.read());
  r.large.add(c->counts.large.read());
  arena_.lock.unlock();
  delete c;
}

void mheap::flush(mcache& c) noexcept {
  for (auto& at : c.alloc) {
    mspan* const s = at.load(std::memory_order_relaxed);
    if (s == &no_span) continue;
    uncache(c, s);
    at.store(&no_span, std::memory_order_relaxed);
  }
  c.tiny = 0;
  if (c.pages.empty()) return;
  arena_.lock.lock();
  c.pages.flush(arena_.pages);
  arena_.publish();
  arena_.lock.unlock();
}

// ---- life -------------------------------------------------------------------------------------------------------------------------------
mheap::mheap(const heap_options& options)
    : reserved_(options.reserve),
      poison_(options.poison),
      scan_by_page_(options.scan_by_page),
      kernel_(options.kernel),
      arena_({.base = reserved_.base(), .count = reserved_.pages(), .unit = system_unit(), .space = &reserved_}) {}

mheap::~mheap() {
  while (caches_ != nullptr) delete_mcache(caches_);
  heap_unpoison(reinterpret_cast<void*>(reserved_.base()), used_bytes_.load());
  while (chunks_ != nullptr) {
    chunk* const c = chunks_;
    chunks_ = c->next;
    munmap(c, c->bytes);
  }
}

// ---- span descriptors
// ----------------------------------------------------------------------------------------------------------------------- Descriptors are
// never unmapped while the heap lives: a reader of statistics may hold one that was freed meanwhile.
void mheap::take_descriptors(span_list* to, size_t n) noexcept {
  while (n-- > 0) {
    if (mspan* s = free_descriptors_.pop()) {
      to->push(s);
      continue;
    }
    if (descriptor_left_ < sizeof(mspan)) {
      void* const p = mmap(nullptr, kDescriptorChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) return;
      descriptor_bytes_.fetch_add(kDescriptorChunk, std::memory_order_relaxed);
      chunks_ = new (p) chunk{chunks_, kDescriptorChunk};
      constexpr size_t head = (sizeof(chunk) + kCacheLine - 1) / kCacheLine * kCacheLine;
      descriptor_chunk_ = static_cast<std::byte*>(p) + head;
      descriptor_left_ = kDescriptorChunk - head;
    }
    constexpr size_t each = (sizeof(mspan) + kCacheLine - 1) / kCacheLine * kCacheLine;
    to->push(new (descriptor_chunk_) mspan);
    descriptor_chunk_ += each;
    descriptor_left_ = descriptor_left_ >= each ? descriptor_left_ - each : 0;
  }
}

mspan* mheap::descriptor(mcache& c) noexcept {
  if (c.spare_spans.head == nullptr) {
    arena_.lock.lock();
    take_descriptors(&c.spare_spans, kDescriptorsPerTake);
    arena_.lock.unlock();
  }
  return c.spare_spans.pop();
}

// ---- pages
// --------------------------------------------------------------------------------------------------------------------------------
bool mheap::grow(size_t pages) noexcept {
  const size_t first = used_bytes_.load(std::memory_order_relaxed) >> kPageShift;
  size_t n = (pages + kPagesPerChunk - 1) / kPagesPerChunk * kPagesPerChunk;
  if (n > reserved_.pages() - first) return false;
  heap_poison(reinterpret_cast<void*>(reserved_.base() + (first << kPageShift)), n << kPageShift);
  arena_.grow(first, n);
  reserved_.advise_huge_pages(first << kPageShift, n << kPageShift);
  used_bytes_.store((first + n) << kPageShift, std::memory_order_relaxed);
  counters_.grows.add();
  return true;
}

// zero: the pages are as the system gave them.
size_t mheap::alloc_pages(mcache& c, size_t n, bool* zero) noexcept {
  if (n <= kMaxCachedSpanPages) {
    const size_t page = c.pages.alloc(n, zero);
    if (page != page_alloc::kNone) {
      c.counts.page_cache_hits.add();
      return page;
    }
  }
  arena_.lock.lock();
  size_t page = take_pages(c, n, zero);
  if (page == page_alloc::kNone && !sweep_done()) {
    // Rather than grow while garbage waits to be swept, sweep until this fits.
    arena_.lock.unlock();
    reclaim(n);
    arena_.lock.lock();
    page = take_pages(c, n, zero);
  }
  if (page == page_alloc::kNone && grow(n)) page = take_pages(c, n, zero);
  while (page == page_alloc::kNone && arena_.held != 0) {
    // What is missing may be in the scavenger's hands, for a moment.
    arena_.lock.unlock();
    sched_yield();
    arena_.lock.lock();
    page = take_pages(c, n, zero);
  }
  arena_.publish();
  arena_.lock.unlock();
  if (page == page_alloc::kNone) return page;
  c.counts.mheap_hits.add();
  if (scavenger_.resident_bytes() > scavenger_.limit()) keep_limit(n);
  return page;
}

// So many pages have been taken, and more is resident than may be.
void mheap::keep_limit(size_t pages) noexcept {
  // A call is bounded by what it is for; with some more at each the heap comes down to a limit that was set lower.
  constexpr uint64_t kMore = 1 << 20;
  const uint64_t most = (static_cast<uint64_t>(pages) << kPageShift) + kMore;
  const uint64_t resident = scavenger_.resident_bytes();
  const uint64_t limit = scavenger_.limit();
  if (resident <= limit) return;
  const uint64_t bytes = resident - limit < most ? resident - limit : most;
  const uint64_t done = scavenger_.give_back(bytes);
  if (done >= bytes || sweep_done()) return;
  reclaim((bytes - done) >> kPageShift);
  scavenger_.give_back(bytes - done);
}

size_t mheap::take_pages(mcache& c, size_t n, bool* zero) noexcept {
  if (n <= kMaxCachedSpanPages) {
    // A new cache, if the lowest free group has room for this; what the old one still has goes back, so that neighbours can join.
    page_cache fresh = arena_.pages.alloc_to_cache();
    const size_t page = fresh.alloc(n, zero);
    if (page != page_alloc::kNone) {
      c.pages.flush(arena_.pages);
      c.pages = fresh;
      return page;
    }
    fresh.flush(arena_.pages);
  }
  return arena_.pages.alloc(n, zero);
}

uint64_t mheap::metadata_bytes() const noexcept {
  constexpr uint64_t kTables =
      sizeof(mspan*) + sizeof(uint32_t) + 3 * kBitmapBytesPerPage;  // of a page: span, word, two bits per slot, pointer bits
  return descriptor_bytes_.load(std::memory_order_relaxed) + (used_bytes() >> kPageShift) * kTables;
}

mspan* mheap::new_span(mcache& c, size_t pages, uint8_t span_class) noexcept {
  mspan* const s = descriptor(c);
  if (s == nullptr) return nullptr;
  bool zero = false;
  const size_t page = alloc_pages(c, pages, &zero);
  if (page == page_alloc::kNone) {
    c.spare_spans.push(s);
    return nullptr;
  }
  s->needzero = !zero;
  const size_t sc = size_class_in(span_class);
  s->base = reserved_.base() + (page << kPageShift);
  s->npages = static_cast<uint32_t>(pages);
  s->span_class = span_class;
  if (sc == 0) {
    s->elem_size = s->bytes();
    s->elem_size32 = 0;
    s->nelems = 1;
    s->magic = 0;
  } else {
    const size_class& k = size_class_at(sc);
    s->elem_size = s->elem_size32 = k.size;
    s->nelems = k.objects;
    s->magic = k.magic;
  }
  s->bits_of = nullptr;
  s->object_bits = reserved_.object_bits(page, bit_tier_of(s->elem_size));
  memset(s->object_bits, 0, 2 * s->groups() * 8);
  s->alloc_count.store(0, std::memory_order_relaxed);
  s->count_when_cached.store(0, std::memory_order_relaxed);
  s->load_group(0);
  s->sweepgen.store(sweepgen(), std::memory_order_relaxed);
  heap_poison(reinterpret_cast<void*>(s->base), s->bytes());
  // Release: a marker that comes here by an invented address finds a complete span, without objects.
  for (size_t i = 0; i < pages; ++i) {
    __atomic_store_n(&reserved_.spans()[page + i], s, __ATOMIC_RELEASE);
    if (sc != 0) __atomic_store_n(&reserved_.page_words()[page + i], page_word(span_class, i).bits(), __ATOMIC_RELEASE);
  }
  spans_in_use_.fetch_add(1, std::memory_order_relaxed);
  span_pages_.fetch_add(static_cast<int64_t>(pages), std::memory_order_relaxed);
  return s;
}

void mheap::free_span(mspan* s) noexcept {
  const size_t page = page_of(s->base);
  const size_t n = s->npages;
  for (size_t i = 0; i < n; ++i) {
    __atomic_store_n(&reserved_.spans()[page + i], nullptr, __ATOMIC_RELAXED);
    __atomic_store_n(&reserved_.page_words()[page + i], 0, __ATOMIC_RELAXED);
  }
  heap_poison(reinterpret_cast<void*>(s->base), s->bytes());
  spans_in_use_.fetch_sub(1, std::memory_order_relaxed);
  span_pages_.fetch_sub(static_cast<int64_t>(n), std::memory_order_relaxed);
  arena_.lock.lock();
  arena_.pages.free(page, n);
  arena_.publish();
  free_descriptors_.push(s);
  arena_.lock.unlock();
}

// ---- refill -----------------------------------------------------------------------------------------------------------------------------
// Moves a span's new objects from its own count to the heap's, and hands it to its mcentral.
void mheap::uncache(mcache& c, mspan* s) noexcept {
  if (c.black) s->whiten_rest();
  s->record_allocated();
  s->uncount_group();
  const uint32_t count = s->alloc_count.load(std::memory_order_relaxed);
  const uint32_t before = s->count_when_cached.load(std::memory_order_relaxed);
  s->count_when_cached.store(count, std::memory_order_relaxed);
  counters_.mallocs[size_class_in(s->span_class)].add(count - before);
  if (c.black) {
    c.black_objects += count - before;
    c.black_bytes += (count - before) * s->elem_size;
  }
  live_.fetch_sub(static_cast<int64_t>((s->nelems - count) * s->elem_size), std::memory_order_relaxed);
  const uint32_t sg = sweepgen();
  s->sweepgen.store(sg, std::memory_order_relaxed);
  mcentral& m = central_[s->span_class];
  m.lock.lock();
  (count == s->nelems ? m.full : m.partial)[mcentral::swept(sg)].push(s);
  m.lock.unlock();
}

mspan* mheap::cache_span(mcache& c, uint8_t span_class) noexcept {
  const size_t pages = size_class_at(size_class_in(span_class)).pages;
  // What this class has left is taken before what is owed is swept: else that sweeping would take its empty spans apart, page by page, for
  // new ones to be made of them here.
  mspan* const s = span_with_room(span_class);
  pay_for_sweep(pages << kPageShift);
  if (s == nullptr) return new_span(c, pages, span_class);
  c.counts.mcentral_hits.add();
  return s;
}

mspan* mheap::span_with_room(uint8_t span_class) noexcept {
  mcentral& m = central_[span_class];
  const uint32_t sg = sweepgen();
  m.lock.lock();
  mspan* s = m.partial[mcentral::swept(sg)].pop();
  // Sweep for it: spans that had room are likeliest to have more.
  for (int tries = kSweepTriesPerRefill; s == nullptr && tries > 0; --tries) {
    s = m.partial[mcentral::unswept(sg)].pop();
    if (s == nullptr) s = m.full[mcentral::unswept(sg)].pop();
    if (s == nullptr) break;
    m.lock.unlock();
    sweep(s, empty_span::keep);
    m.lock.lock();
    if (s->alloc_count.load(std::memory_order_relaxed) == s->nelems) {
      m.full[mcentral::swept(sg)].push(s);
      s = nullptr;
    }
  }
  m.lock.unlock();
  return s;
}

bool mheap::refill(mcache& c, uint8_t span_class) noexcept {
  mspan* const old = c.alloc[span_class].load(std::memory_order_relaxed);
  if (old != &no_span && old->next_group()) {
    old->count_group();
    if (c.black) old->blacken_group();
    return true;
  }
  c.counts.refills.add();
  if (old != &no_span) {
    uncache(c, old);
    c.alloc[span_class].store(&no_span, std::memory_order_relaxed);
  }
  mspan* const s = cache_span(c, span_class);
  if (s == nullptr) return false;
  s->sweepgen.store(sweepgen() + 3, std::memory_order_relaxed);
  s->next_group();
  if (c.black) s->blacken_group();
  const uint32_t count = s->alloc_count.load(std::memory_order_relaxed);
  s->count_when_cached.store(count, std::memory_order_relaxed);
  const size_t bytes = (s->nelems - count) * s->elem_size;
  live_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  c.charged_bytes += bytes;
  s->count_group();
  c.alloc[span_class].store(s, std::memory_order_relaxed);
  return true;
}

mspan* mheap::alloc_large(mcache& c, size_t bytes, scan_kind kind) noexcept {
  if (bytes > reserved_.bytes()) return nullptr;
  const size_t n = pages_for(bytes);
  pay_for_sweep(n << kPageShift);
  mspan* const s = new_span(c, n, span_class_of(0, kind));
  if (s == nullptr) return nullptr;
  __atomic_store_n(&s->alloc_cache, 0, __ATOMIC_RELAXED);
  if (c.black) {  // and unseen by markers until the sweep
    s->try_mark(0);
    c.black_bytes += s->elem_size;
    ++c.black_objects;
  } else {
    __atomic_store_n(&s->alloc_bits(0), 1, __ATOMIC_RELAXED);
  }
  s->alloc_count.store(1, std::memory_order_relaxed);
  s->count_when_cached.store(1, std::memory_order_relaxed);
  heap_unpoison(reinterpret_cast<void*>(s->base), s->bytes());
  live_.fetch_add(static_cast<int64_t>(s->bytes()), std::memory_order_relaxed);
  c.charged_bytes += s->bytes();
  counters_.mallocs[0].add();
  counters_.large_bytes_allocated.add(s->bytes());
  c.counts.large.add();
  const uint32_t sg = sweepgen();
  mcentral& m = central_[s->span_class];
  m.lock.lock();
  m.full[mcentral::swept(sg)].push(s);
  m.lock.unlock();
  return s;
}

// ---- statistics
// ---------------------------------------------------------------------------------------------------------------------------
mheap::totals mheap::read_totals() noexcept {
  totals t;
  auto add = [&](const cache_counters& c) {
    t.tiny_hits += c.tiny_hits.read();
    t.tiny_blocks += c.tiny_blocks.read();
    t.refills += c.refills.read();
    t.mcentral_hits += c.mcentral_hits.read();
    t.page_cache_hits += c.page_cache_hits.read();
    t.mheap_hits += c.mheap_hits.read();
    t.large += c.large.read();
  };
  for (size_t i = 0; i < kSizeClasses; ++i) {
    t.class_mallocs[i] = counters_.mallocs[i].read();
    t.class_frees[i] = counters_.frees[i].read();
  }
  arena_.lock.lock();
  add(counters_.retired);
  for (mcache* c = caches_; c != nullptr; c = c->next) {
    add(c->counts);
    for (size_t i = 0; i < kSpanClasses; ++i) {
      const mspan* const s = c->alloc[i].load(std::memory_order_relaxed);
      const uint32_t before = s->count_when_cached.load(std::memory_order_relaxed);
      const uint32_t now = s->taken_so_far();
      if (now > before) t.class_mallocs[i / kScanKinds] += now - before;
    }
  }
  // A span that left its mcache, or came to its next group, between two of these loads was missed; a counter never goes back.
  for (size_t i = 0; i < kSizeClasses; ++i)
    t.class_mallocs[i] = mallocs_read_[i] = t.class_mallocs[i] < mallocs_read_[i] ? mallocs_read_[i] : t.class_mallocs[i];
  arena_.lock.unlock();
  const uint64_t large_freed = counters_.large_bytes_freed.read();
  t.total_bytes = counters_.large_bytes_allocated.read();
  t.bytes = t.total_bytes - (large_freed < t.total_bytes ? large_freed : t.total_bytes);
  for (size_t i = 0; i < kSizeClasses; ++i) {
    if (t.class_frees[i] > t.class_mallocs[i]) t.class_frees[i] = t.class_mallocs[i];  // read apart: a moment's lag
    t.mallocs += t.class_mallocs[i];
    t.frees += t.class_frees[i];
    t.total_bytes += t.class_mallocs[i] * size_class_at(i).size;
    t.bytes += (t.class_mallocs[i] - t.class_frees[i]) * size_class_at(i).size;
  }
  t.objects = t.mallocs - t.frees;
  t.grows = counters_.grows.read();
  t.spans_in_use = static_cast<uint64_t>(spans_in_use_.load(std::memory_order_relaxed));
  t.span_bytes = static_cast<uint64_t>(span_pages_.load(std::memory_order_relaxed)) << kPageShift;
  t.used_bytes = used_bytes_.load(std::memory_order_relaxed);
  t.released_bytes = released_bytes();
  t.metadata_bytes = metadata_bytes();
  return t;
}

void mheap::print_span(const mspan& s) const noexcept {
  print_error("span %p: %u pages, class %u (%zu bytes × %u, %s), sweepgen %u of %u, %u taken, group %u\n", reinterpret_cast<void*>(s.base),
              s.npages, s.span_class, s.elem_size, s.nelems,
              s.kind() == scan_kind::noscan    ? "noscan"
              : s.kind() == scan_kind::precise ? "precise"
                                               : "ambiguous",
              s.sweepgen.load(std::memory_order_relaxed), sweepgen(), s.alloc_count.load(std::memory_order_relaxed), s.free_group);
  uint32_t printed = 0;
  for (uint32_t i = 0; i < s.nelems && printed < 64; ++i) {
    const bool taken = s.is_allocated(i);
    const bool marked = s.is_marked(i);
    if (!taken && !marked) continue;
    ++printed;
    print_error("  slot %u at %p: %s, %s%s\n", i, reinterpret_cast<void*>(s.slot(i)), taken ? "taken" : "free",
                marked ? "marked" : "unmarked", !taken && marked ? "   <-- ZOMBIE" : "");
  }
}

}  // namespace warren::rt
