#include "runtime/gc/mark.h"

#include <algorithm>
#include <array>

#include "runtime/gc/pointer_words.h"

namespace warren::rt {

// Slots that words point into, of one group of 64, and where the bits of the group are.
struct marker::edge {
  uint64_t* bits;   // alloc bits, mark bits
  uint64_t slots;   // a bit for each
  uintptr_t group;  // address of the group's first slot
  uint8_t span_class;

  // of the lowest of these slots
  uintptr_t object(uint64_t of_slots) const noexcept {
    return group + static_cast<size_t>(__builtin_ctzll(of_slots)) * kSlotShapes[span_class].size;
  }
};

namespace {
constexpr uint32_t groups_of(const slot_shape& shape) { return (shape.objects + 63u) / 64; }
// Can a grey_page be made of the page of such an object?
constexpr bool is_gathered(const slot_shape& shape) { return shape.size <= grey_page::kMostWords * sizeof(uintptr_t); }
// The pointer bits of ambiguous objects.
constexpr auto kAllWords = [] {
  std::array<uint64_t, grey_page::kBlocks> bits;
  bits.fill(~uint64_t{0});
  return bits;
}();
}  // namespace

// false: not into a slot of a small span. Reads the page's word only.
inline bool marker::find_small(uintptr_t word, edge* e) const noexcept {
  const reservation& r = heap_.space();
  const uintptr_t offset = word - r.base();
  const page_word page(__atomic_load_n(&r.page_words()[offset >> kPageShift], __ATOMIC_ACQUIRE));
  if (!page.small()) return false;
  const slot_shape& shape = kSlotShapes[page.span_class()];
  const uintptr_t first_page = (offset >> kPageShift) - page.pages_before();
  const uintptr_t span = first_page << kPageShift;
  const auto i = static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(offset - span)} * shape.magic) >> 32);
  if (i >= shape.objects) return false;  // the unused tail
  e->bits = r.object_bits(first_page, shape.bit_tier) + 2 * (i / 64);
  e->slots = uint64_t{1} << (i % 64);
  e->group = r.base() + span + size_t{i / 64 * 64} * shape.size;
  e->span_class = page.span_class();
  return true;
}

// Which of the slots hold objects that were white.
inline uint64_t marker::grey(const edge& e) noexcept {
  // As mspan::was_allocated, try_mark.
  const uint64_t allocated = __atomic_load_n(&e.bits[0], __ATOMIC_ACQUIRE) & e.slots;
  uint64_t white = allocated & ~__atomic_load_n(&e.bits[1], __ATOMIC_RELAXED);
  if (white == 0) return 0;
  white &= ~__atomic_fetch_or(&e.bits[1], white, __ATOMIC_SEQ_CST);
  const uint32_t n = count_bits(white);
  objects += n;
  bytes += uint64_t{n} * kSlotShapes[e.span_class].size;
  return white;
}

// Queues what this marker has made grey.
inline void marker::queue(const edge& e, uint64_t slots) noexcept {
  const slot_shape& shape = kSlotShapes[e.span_class];
  if (shape.kind == scan_kind::noscan) return;  // black at once
  if (!by_page_ || shape.pages != 1) {
    for (; slots != 0; slots &= slots - 1) queue_.push(e.object(slots));
  } else if (const size_t page = heap_.page_of(e.group); page_word::start_waiting(&heap_.space().page_words()[page])) {
    pages_.push(heap_.space().base() + (page << kPageShift));
  }
}

// Those of the slots, of a page of its own, that nobody else scans.
inline uint64_t marker::claim(const edge& e, uint64_t slots) const noexcept {
  const reservation& r = heap_.space();
  const slot_shape& shape = kSlotShapes[e.span_class];
  const size_t page = heap_.page_of(e.group);
  const ptrdiff_t group = (e.bits - r.object_bits(page, shape.bit_tier)) / 2;
  return slots & ~__atomic_fetch_or(&r.scan_bits(page, shape.bit_tier)[group], slots, __ATOMIC_RELAXED);
}

inline bool marker::settle(const edge& e) noexcept {
  const uint64_t white = grey(e);
  if (white == 0) return false;
  queue(e, white);
  return true;
}

bool marker::mark_word(uintptr_t word) noexcept {
  if (word - heap_.space().base() >= heap_.used_bytes()) return false;
  edge e;
  return find_small(word, &e) ? settle(e) : mark_large(word);
}

// REQUIRES: in the heap, not in a small span.
bool marker::mark_large(uintptr_t word) noexcept {
  mspan* const s = heap_.span_at(heap_.page_of(word));
  if (s == nullptr || s->magic != 0 || !s->was_allocated(0) || !s->try_mark(0)) return false;
  ++objects;
  bytes += s->elem_size;
  if (s->kind() != scan_kind::noscan) queue_.push(s->base);
  return true;
}

__attribute__((no_sanitize("address", "thread"))) void marker::mark_range(const void* lo, const void* hi) noexcept {
  constexpr uintptr_t w = sizeof(uintptr_t);
  auto* p = reinterpret_cast<const volatile uintptr_t*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  auto* const end = reinterpret_cast<const volatile uintptr_t*>(reinterpret_cast<uintptr_t>(hi) / w * w);
  for (; p < end; ++p) mark_word(*p);
}

// ---- drain: what is under way -----------------------------------------------------------------------------------------------------------
namespace {
// First in, first out.
template <class T, uint32_t N>
struct ring {
  static_assert((N & (N - 1)) == 0);
  T at[N];
  uint32_t in = 0, out = 0;
  bool empty() const noexcept { return in == out; }
  bool full() const noexcept { return in - out == N; }
  uint32_t room() const noexcept { return N - (in - out); }
  T& last() noexcept { return at[(in - 1) % N]; }
  void push(const T& t) noexcept { at[in++ % N] = t; }
  T& push() noexcept { return at[in++ % N]; }
  T& pop() noexcept { return at[out++ % N]; }
};
}  // namespace

// As deep as bench_gc's mark_rate gains by: a core has some 16 misses of its first cache under way at once.
struct marker::in_flight {
  ring<edge, WARREN_CAPACITY(32, 2)> edges;
  ring<uintptr_t, WARREN_CAPACITY(16, 2)> objects;
  // Pages with several grey objects, whose memory has been asked for.
  ring<grey_page, WARREN_CAPACITY(4, 1)> pages;

  // Of late most pages have led on to the larger part of themselves.
  bool leads_on() const noexcept { return led_on > kMostLedOn / 2; }
  void note(bool leads_on) noexcept {
    if (!leads_on) {
      led_on -= led_on != 0;
    } else if (led_on < kMostLedOn) {
      ++led_on;
    }
  }
  static constexpr uint32_t kMostLedOn = 8;
  uint32_t led_on = 0;
};

inline void marker::take_word(uintptr_t word, in_flight& f) noexcept {
  if (word - heap_.space().base() >= heap_.used_bytes()) return;
  edge e;
  if (!find_small(word, &e)) {
    mark_large(word);
    return;
  }
  if (!f.edges.empty() && f.edges.last().bits == e.bits) {
    f.edges.last().slots |= e.slots;
    return;
  }
  __builtin_prefetch(e.bits, 1);
  if (f.edges.full()) settle(f.edges.pop());
  f.edges.push(e);
}

// The same for edges for which to wait in a page would be to wait for nothing: where nothing else is grey, as far as this marker sees, or
// where a chain leads on within a page. A list would be followed by a visit of a page for each of its objects, at several times the price.
// So up to `most` objects are claimed, as who scans the page would, and scanned next. REQUIRES: room in f.objects for one.
inline void marker::settle_alone(const edge& e, uint32_t most, in_flight& f) noexcept {
  const slot_shape& shape = kSlotShapes[e.span_class];
  const uint64_t white = grey(e);
  if (white == 0) return;
  if (!by_page_ || shape.pages != 1 || shape.kind == scan_kind::noscan || count_bits(white) > most) {
    queue(e, white);
    return;
  }
  uint64_t claimed = claim(e, white);
  for (; claimed != 0; claimed &= claimed - 1) begin_scan(e.object(claimed), f);
}

// A word of an object that is scanned by itself. What it points to in its own page goes to `home`: the chain that leads on there, if it is
// one, is followed at once (scan).
inline void marker::take_word_near(uintptr_t word, uintptr_t from, edge& home, in_flight& f) noexcept {
  edge e;
  if (!by_page_ || heap_.page_of(word) != heap_.page_of(from) || !find_small(word, &e)) {
    take_word(word, f);
  } else if (home.bits == e.bits) {
    home.slots |= e.slots;
  } else {
    if (home.slots != 0) settle(home);
    home = e;
  }
}

inline void marker::begin_scan(uintptr_t entry, in_flight& f) noexcept {
  const reservation& r = heap_.space();
  __builtin_prefetch(reinterpret_cast<const void*>(entry));
  __builtin_prefetch(&r.pointer_bits()[(entry - r.base()) / sizeof(void*) / 64]);
  f.objects.push(entry);
}

// Not instrumented: as for_each_pointer_word.
__attribute__((no_sanitize("thread"))) size_t marker::scan(uintptr_t entry, in_flight& f) noexcept {
  const reservation& r = heap_.space();
  const page_word page(__atomic_load_n(&r.page_words()[heap_.page_of(entry)], __ATOMIC_RELAXED));
  size_t bytes_here;
  scan_kind kind;
  if (page.small()) {
    bytes_here = kSlotShapes[page.span_class()].size;
    kind = kSlotShapes[page.span_class()].kind;
  } else {
    const mspan* const s = heap_.span_at(heap_.page_of(entry));
    bytes_here = s->elem_size;
    kind = s->kind();
  }
  if (bytes_here > kObletBytes) {
    const mspan* const s = heap_.span_at(heap_.page_of(entry));
    const uintptr_t begin = s->magic == 0 ? s->base : s->slot(s->slot_index(entry));
    const uintptr_t end = begin + bytes_here;
    if (entry == begin)
      for (uintptr_t at = begin + kObletBytes; at < end; at += kObletBytes) queue_.push(at);
    bytes_here = end - entry < kObletBytes ? end - entry : kObletBytes;
  }
  const auto* const words = reinterpret_cast<const volatile uintptr_t*>(entry);
  const size_t n = bytes_here / sizeof(void*);
  edge home{};
  if (kind == scan_kind::ambiguous) {
    for (size_t i = 0; i < n; ++i) take_word_near(words[i], entry, home, f);
    return bytes_here + (home.slots != 0 ? scan_home(home, f) : 0);
  }
  const size_t first = (entry - r.base()) / sizeof(void*);
  for_each_pointer_word(reinterpret_cast<const volatile uintptr_t*>(r.base()), r.pointer_bits(), first, first + n,
                        [&](uintptr_t word) { take_word_near(word, entry, home, f); });
  return bytes_here + (home.slots != 0 ? scan_home(home, f) : 0);
}

// Objects of the page at `at`, a bit of `grey` for each, go their way one by one. Returns the bytes whose scan that has brought to an end,
// of whichever objects.
size_t marker::begin_scans(const uint64_t* grey, uintptr_t at, const slot_shape& shape, in_flight& f) noexcept {
  size_t done = 0;
  for (uint32_t group = 0; group < groups_of(shape); ++group)
    for (uint64_t slots = grey[group]; slots != 0; slots &= slots - 1) {
      while (f.objects.full()) done += scan(f.objects.pop(), f);  // which may put others in its place
      begin_scan(at + (size_t{group} * 64 + static_cast<size_t>(__builtin_ctzll(slots))) * shape.size, f);
    }
  return done;
}

inline grey_page marker::page_of(uintptr_t at, uint8_t span_class) const noexcept {
  const slot_shape& shape = kSlotShapes[span_class];
  const reservation& r = heap_.space();
  grey_page p;
  p.at = at;
  p.span_class = span_class;
  p.words = shape.size / sizeof(uintptr_t);
  p.groups = groups_of(shape);
  p.magic = shape.magic;
  p.pointers = shape.kind == scan_kind::ambiguous ? kAllWords.data() : &r.pointer_bits()[heap_.page_of(at) * grey_page::kBlocks];
  return p;
}

// Begins to scan what is grey there. Returns the bytes whose scan that has begun, or brought to an end.
size_t marker::scan_page(uintptr_t at, in_flight& f) noexcept {
  const reservation& r = heap_.space();
  const size_t page = heap_.page_of(at);
  const page_word word = page_word::stop_waiting(&r.page_words()[page]);
  const slot_shape& shape = kSlotShapes[word.span_class()];
  const uint64_t* bits = r.object_bits(page, shape.bit_tier);
  uint64_t* const scanned_bits = r.scan_bits(page, shape.bit_tier);
  grey_page p = page_of(at, word.span_class());
  size_t objects_here = 0;
  for (uint32_t group = 0; group < groups_of(shape); ++group, bits += 2) {
    const uint64_t marked = __atomic_load_n(&bits[1], __ATOMIC_SEQ_CST) & __atomic_load_n(&bits[0], __ATOMIC_RELAXED);
    uint64_t grey = marked & ~__atomic_load_n(&scanned_bits[group], __ATOMIC_RELAXED);
    if (grey == 0) continue;
    grey &= ~__atomic_fetch_or(&scanned_bits[group], grey, __ATOMIC_RELAXED);
    p.grey[group] = grey;
    objects_here += count_bits(grey);
  }
  if (!is_gathered(shape) || (objects_here < 2 && !f.leads_on())) return begin_scans(p.grey, at, shape, f);
  size_t done = objects_here * shape.size;
  if (f.pages.full()) done += scan_gathered(f.pages.pop(), f);
  for (size_t block = 0; block < grey_page::kBlocks; block += kCacheLine / sizeof(uint64_t)) __builtin_prefetch(&p.pointers[block]);
  if (f.leads_on()) {
    for (size_t i = 0; i < kPageSize; i += kCacheLine) __builtin_prefetch(reinterpret_cast<const void*>(at + i));
  } else {
    // One of each line.
    const uint64_t line = (uint64_t{1} << std::max<size_t>(1, kCacheLine / shape.size)) - 1;
    for (uint32_t group = 0; group < groups_of(shape); ++group)
      for (uint64_t grey = p.grey[group]; grey != 0;) {
        const int i = __builtin_ctzll(grey);
        __builtin_prefetch(reinterpret_cast<const void*>(at + (size_t{group} * 64 + static_cast<size_t>(i)) * shape.size));
        grey &= ~(line << i);
      }
  }
  f.pages.push(p);
  return done;
}

// Scans p's grey objects, which are claimed, and what they lead to in the page. Returns the bytes of the latter.
size_t marker::scan_gathered(grey_page& p, in_flight& f) noexcept {
  const reservation& r = heap_.space();
  const slot_shape& shape = kSlotShapes[p.span_class];
  const size_t page = heap_.page_of(p.at);
  uint64_t* const bits = r.object_bits(page, shape.bit_tier);
  page_bits before, white;
  for (size_t group = 0; group < p.groups; ++group) {
    // As grey().
    const uint64_t allocated = __atomic_load_n(&bits[2 * group], __ATOMIC_ACQUIRE);
    before[group] = white[group] = allocated & ~__atomic_load_n(&bits[2 * group + 1], __ATOMIC_RELAXED);
  }
  const page_closure closure(kernel_, r.base(), heap_.used_bytes());
  const size_t reached = closure.follow(p, white, [&](uintptr_t word) { take_word(word, f); });
  f.note(2 * reached > shape.objects);
  if (reached == 0) return 0;
  for (size_t group = 0; group < p.groups; ++group) {
    const uint64_t black = before[group] & ~white[group];
    if (black == 0) continue;
    __atomic_fetch_or(&r.scan_bits(page, shape.bit_tier)[group], black, __ATOMIC_RELAXED);
    const uint32_t n = count_bits(black & ~__atomic_fetch_or(&bits[2 * group + 1], black, __ATOMIC_SEQ_CST));
    objects += n;
    bytes += uint64_t{n} * shape.size;
  }
  return reached * shape.size;
}

// What an object that was scanned by itself has found in its own page.
size_t marker::scan_home(const edge& home, in_flight& f) noexcept {
  const slot_shape& shape = kSlotShapes[home.span_class];
  if (!is_gathered(shape)) {
    settle_alone(home, 1, f);
    return 0;
  }
  const uint64_t white = grey(home);
  if (white == 0) return 0;
  const uint64_t claimed = claim(home, white);
  if (claimed == 0) return 0;
  const uintptr_t at = heap_.space().base() + (heap_.page_of(home.group) << kPageShift);
  grey_page p = page_of(at, home.span_class);
  p.grey[(home.group - at) / shape.size / 64] = claimed;
  return count_bits(claimed) * shape.size + scan_gathered(p, f);
}

uint64_t marker::drain(uint64_t work) noexcept {
  in_flight f;
  f.led_on = led_on_.load(std::memory_order_relaxed);
  uint64_t done = 0;
  while (done < work) {
    if (!f.objects.full()) {
      if (const uintptr_t entry = by_page_ || queue_.has_near() ? queue_.pop() : 0; entry != 0) {
        begin_scan(entry, f);
        continue;
      }
      if (const uintptr_t page = by_page_ ? pages_.pop() : 0; page != 0) {
        done += scan_page(page, f);
        continue;
      }
    }
    if (!f.objects.empty()) {
      done += scan(f.objects.pop(), f);
    } else if (!f.pages.empty()) {
      done += scan_gathered(f.pages.pop(), f);
    } else if (!f.edges.empty()) {
      while (!f.edges.empty() && !f.objects.full()) settle_alone(f.edges.pop(), f.objects.room(), f);
    } else if (const uintptr_t entry = queue_.pop(); entry != 0) {
      begin_scan(entry, f);
    } else {
      break;
    }
  }
  while (!f.pages.empty()) done += scan_gathered(f.pages.pop(), f);
  while (!f.edges.empty()) settle(f.edges.pop());
  while (!f.objects.empty()) queue_.push(f.objects.pop());
  led_on_.store(f.led_on, std::memory_order_relaxed);
  scanned += done;
  return done;
}

}  // namespace warren::rt
