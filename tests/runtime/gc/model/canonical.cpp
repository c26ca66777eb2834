#include "canonical.h"

#include <algorithm>
#include <utility>

namespace gcmodel {

namespace {

// Writes or reads every part of a state in a fixed order. One function, so that the two cannot disagree. Inlined and unrolled all positions
// are constants: a third of the search's time is spent here.
template <class Bits, class State>
[[gnu::always_inline]] inline void transfer(Bits& bits, State& s) {
#pragma GCC unroll 8
  for (auto& fields : s.field)
#pragma GCC unroll 8
    for (auto& word : fields) bits(word, 4);
#pragma GCC unroll 8
  for (auto& c : s.colour_of) bits(c, 2);
#pragma GCC unroll 8
  for (auto& g : s.g) {
#pragma GCC unroll 8
    for (auto& v : g.local) bits(v, 3);
    bits(g.ptr, 4);
    bits(g.op, 3);
    bits(g.pc, 3);
    bits(g.dst, 4);
    bits(g.fresh, 3);
    bits(g.old, 3);
    bits(g.made, 3);
    bits(g.buffered_slot, 4);
    bits(g.buffered_word, 4);
    bits(g.on, 1);
    bits(g.spared, 1);
    bits(g.alive, 1);
    bits(g.has_p, 1);
    bits(g.scanned, 1);
    bits(g.ran, 1);
  }
  for (auto& b : s.buffer) bits(b, 5);
  bits(s.cell, 3);
  bits(s.cell_scanned, 1);
  bits(s.scanning, 3);
  bits(s.scanned_fields, 2);
  bits(s.at, 2);
  bits(s.ragged, 2);
}

struct writer {
  packed& out;
  unsigned at = 0;
  template <class T>
  [[gnu::always_inline]] void operator()(const T& field, unsigned width) noexcept {
    const auto v = static_cast<uint64_t>(field);
    out[at / 64] |= v << (at % 64);
    if (at % 64 + width > 64) out[at / 64 + 1] |= v >> (64 - at % 64);
    at += width;
  }
};
struct reader {
  const packed& in;
  unsigned at = 0;
  template <class T>
  [[gnu::always_inline]] void operator()(T& field, unsigned width) noexcept {
    uint64_t v = in[at / 64] >> (at % 64);
    if (at % 64 + width > 64) v |= in[at / 64 + 1] << (64 - at % 64);
    field = static_cast<T>(v & ((uint64_t{1} << width) - 1));
    at += width;
  }
};

struct renaming {
  std::array<uint8_t, kMaxObjects + 1> to{};
  uint8_t next = 1;
  std::array<uint8_t, kMaxObjects> order{};  // old names in the order of new ones

  void visit(uint8_t v) noexcept {
    if (v == 0 || to[v] != 0) return;
    order[static_cast<size_t>(next - 1)] = v;
    to[v] = next++;
  }
  uint8_t word(uint8_t w) const noexcept { return static_cast<uint8_t>((w & kDead) | to[value_of(w)]); }
  uint8_t slot(uint8_t s) const noexcept {
    const uint8_t object = object_of(s);
    return object == 0 ? s : slot_of(to[object], s % kMaxSlots);
  }
};

state renamed(const state& s, const renaming& r) noexcept {
  state t = s;
  for (uint8_t v = 1; v <= kMaxObjects; ++v) {
    t.of(r.to[v]) = s.of(v);
    for (size_t i = 0; i < kMaxSlots; ++i) t.field[static_cast<size_t>(r.to[v] - 1)][i] = r.word(s.field[static_cast<size_t>(v - 1)][i]);
  }
  for (goroutine& g : t.g) {
    for (uint8_t& v : g.local) v = r.to[v];
    g.ptr = r.word(g.ptr);
    g.dst = r.slot(g.dst);
    g.fresh = r.to[g.fresh];
    g.old = r.to[g.old];
    g.made = r.to[g.made];
    g.buffered_slot = r.slot(g.buffered_slot);
    g.buffered_word = r.word(g.buffered_word);
  }
  for (size_t p = 0; p < kGoroutines; ++p) {
    t.buffer[p] = 0;
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if ((s.buffer[p] >> v & 1) != 0) t.buffer[p] |= static_cast<uint8_t>(1u << r.to[v]);
  }
  t.cell = r.to[s.cell];
  t.scanning = r.to[s.scanning];
  return t;
}

void follow(const state& s, renaming& r, uint8_t from) noexcept {
  for (uint8_t i = from; i < r.next; ++i)
    for (const uint8_t word : s.field[static_cast<size_t>(r.order[i - 1u] - 1)]) r.visit(value_of(word));
}

void consider(const state& s, packed& least, bool& first) noexcept {
  renaming r;
  for (const goroutine& g : s.g) {
    for (const uint8_t v : g.local) r.visit(v);
    r.visit(value_of(g.ptr));
    r.visit(g.fresh);
    r.visit(g.old);
    r.visit(g.made);
    r.visit(object_of(g.dst));
    r.visit(object_of(g.buffered_slot));
    r.visit(value_of(g.buffered_word));
  }
  r.visit(s.cell);
  r.visit(s.scanning);
  follow(s, r, 1);
  // Left: what only the queue or a buffer holds, and free names (all alike, so last). Every order of the former is tried.
  std::array<uint8_t, kMaxObjects> rest{};
  size_t n = 0;
  for (uint8_t v = 1; v <= kMaxObjects; ++v)
    if (r.to[v] == 0 && s.of(v) != colour::free) rest[n++] = v;
  do {
    renaming full = r;
    for (size_t i = 0; i < n; ++i) full.visit(rest[i]);
    for (uint8_t v = 1; v <= kMaxObjects; ++v) full.visit(v);
    packed p{};
    writer w{p};
    transfer(w, static_cast<const state&>(renamed(s, full)));
    if (first || p < least) least = p;
    first = false;
  } while (std::next_permutation(rest.begin(), rest.begin() + n));
}

}  // namespace

packed pack(const state& s) noexcept {
  packed p{};
  writer w{p};
  transfer(w, s);
  return p;
}

state unpack(const packed& p) noexcept {
  state s;
  reader r{p};
  transfer(r, s);
  return s;
}

packed canonical(const machine& m, const state& s) noexcept {
  // Goroutines and locals are put in the order of what they are apart from names. Where that leaves a tie, both orders are tried.
  const auto kind = [&s](uint8_t v) -> unsigned { return v == 0 ? 0 : 1 + static_cast<unsigned>(s.of(v)); };
  const auto kind_of_slot = [&](uint8_t slot) -> unsigned {
    return slot < kStackSlot ? 1 : slot == kNoSlot ? 0 : slot == kCellSlot ? 2 : 3;
  };
  const auto describe = [&](size_t i) {
    const goroutine& g = s.g[i];
    uint64_t d = 0;
    const auto add = [&d](unsigned x, unsigned width) { d = d << width | x; };
    add(static_cast<unsigned>(g.op), 3);
    add(g.pc, 3);
    add(kind(g.fresh), 3);
    add(kind(g.old), 3);
    add(kind(g.made), 3);
    add(kind_of_slot(g.dst), 2);
    add(kind_of_slot(g.buffered_slot), 2);
    add(kind(value_of(g.ptr)), 3);
    add(kind(value_of(g.buffered_word)), 3);
    add(live(g.ptr), 1);
    add(g.on, 1);
    add(g.has_p, 1);
    add(g.scanned, 1);
    add(g.ran, 1);
    add(m.size().one_buffer ? 0 : static_cast<unsigned>(__builtin_popcount(s.buffer[i])), 3);
    add(s.ragged >> i & 1, 1);
    const unsigned x = kind(g.local[0]), y = kind(g.local[1]);
    add(x < y ? x : y, 3);
    add(x < y ? y : x, 3);
    return d;
  };
  unsigned swaps = 1;  // bit 0: as it is; bit 1: exchanged
  if (!m.size().go && !m.size().foreign) {
    const uint64_t a = describe(0), b = describe(1);
    swaps = a < b ? 1 : a > b ? 2 : 3;
  }
  const bool locals_alike = m.size().locals == 2 && m.size().raw_capture == world_size::raw::none;
  packed least{};
  bool first = true;
  for (unsigned swap = 0; swap < 2; ++swap) {
    if ((swaps >> swap & 1) == 0) continue;
    state t = s;
    if (swap != 0) {
      std::swap(t.g[0], t.g[1]);
      if (!m.size().one_buffer) std::swap(t.buffer[0], t.buffer[1]);
      t.ragged = static_cast<uint8_t>((s.ragged >> 1) | ((s.ragged & 1) << 1));
      for (goroutine& g : t.g) {
        if (g.dst == kStackSlot || g.dst == kStackSlot + 1) g.dst ^= 1;
        if (g.buffered_slot == kStackSlot || g.buffered_slot == kStackSlot + 1) g.buffered_slot ^= 1;
      }
    }
    unsigned exchange[kGoroutines] = {1, 1};
    if (locals_alike) {
      for (size_t i = 0; i < kGoroutines; ++i) {
        const unsigned x = kind(t.g[i].local[0]), y = kind(t.g[i].local[1]);
        exchange[i] = x < y ? 1 : x > y ? 2 : t.g[i].local[0] == t.g[i].local[1] ? 1 : 3;
      }
    }
    for (unsigned a = 0; a < 4; ++a) {
      if ((exchange[0] >> (a & 1) & 1) == 0 || (exchange[1] >> (a >> 1) & 1) == 0) continue;
      state u = t;
      for (size_t i = 0; i < kGoroutines; ++i)
        if ((a >> i & 1) != 0) std::swap(u.g[i].local[0], u.g[i].local[1]);
      consider(u, least, first);
    }
  }
  return least;
}

}  // namespace gcmodel
