#include "invariant.h"

namespace gcmodel {

namespace {
constexpr object_set bit(uint8_t v) noexcept { return static_cast<object_set>(1u << v); }
std::string name(uint8_t v) { return std::string(1, static_cast<char>('A' + v - 1)); }
}  // namespace

claims claims_of(mode m) noexcept {
  switch (m) {
    case mode::stw: return {};
    case mode::dijkstra: return {.weak = true, .strong = true};
    case mode::yuasa: return {.weak = true, .exact = true};
    case mode::hybrid: return {.weak = true, .strong = true};
  }
  return {};
}

std::string violated(const machine& m, const state& s, const claims& c) {
  if (s.at == phase::off) {
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if (s.of(v) == colour::grey || s.of(v) == colour::black) return name(v) + " is marked although no collection runs";
    return {};
  }
  if (s.at != phase::mark || (!c.weak && !c.strong)) return {};

  // What is grey but for objects in the queue: the white objects it leads to directly.
  object_set in_flight = s.buffer[0] | s.buffer[1];
  for (int i = 0; i < kGoroutines; ++i)
    if (s.g[static_cast<size_t>(i)].alive) m.for_each_pending(s, i, [&](uint8_t v) { in_flight |= bit(v); });
  object_set protects = in_flight;
  for (int i = 0; i < kGoroutines; ++i) {
    const goroutine& g = s.g[static_cast<size_t>(i)];
    if (g.alive && (!g.scanned || m.grey_for_ever())) m.for_each_scanned(s, i, [&](uint8_t v) { protects |= bit(v); });
  }
  if (!s.cell_scanned) protects |= bit(s.cell);
  for (uint8_t v = 1; v <= kMaxObjects; ++v)
    if (s.of(v) == colour::grey)
      for (const uint8_t word : s.field[v - 1]) protects |= bit(value_of(word));
  for (bool more = true; more;) {
    more = false;
    for (uint8_t v = 1; v <= kMaxObjects; ++v) {
      if ((protects & bit(v)) == 0 || !s.white(v)) continue;
      for (const uint8_t word : s.field[v - 1]) {
        if ((protects & bit(value_of(word))) != 0) continue;
        protects |= bit(value_of(word));
        more = true;
      }
    }
  }

  const auto bad = [&](uint8_t v) { return s.white(v) && (protects & bit(v)) == 0; };
  for (uint8_t x = 1; x <= kMaxObjects; ++x) {
    if (s.of(x) != colour::black) continue;
    for (int i = 0; i < m.size().slots; ++i) {
      const uint8_t word = s.field[x - 1][static_cast<size_t>(i)];
      if (!live(word)) continue;
      if (c.weak && bad(word)) return "black " + name(x) + " points to white " + name(word) + ", which nothing grey leads to";
      if (c.strong && s.white(word) && (in_flight & bit(word)) == 0)
        return "black " + name(x) + " points to white " + name(word) + ", which no barrier under way will shade";
    }
  }
  if (!c.weak) return {};
  if (s.cell_scanned && bad(s.cell)) return "the scanned root cell points to white " + name(s.cell) + ", which nothing grey leads to";
  std::string found;
  for (int i = 0; i < kGoroutines; ++i) {
    const goroutine& g = s.g[static_cast<size_t>(i)];
    if (!g.alive || !g.scanned) continue;
    m.for_each_usable(s, i, [&](uint8_t v) {
      if (bad(v)) found = "the black stack of G" + std::to_string(i) + " points to white " + name(v) + ", which nothing grey leads to";
    });
  }
  return found;
}

}  // namespace gcmodel
