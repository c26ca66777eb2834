#include "search.h"

#include <memory>
#include <vector>

#include "canonical.h"
#include "describe.h"

namespace gcmodel {

namespace {

uint64_t hash(const packed& p) noexcept {
  uint64_t h = 0x9e3779b97f4a7c15;
  for (const uint64_t w : p) {
    h = (h ^ w) * 0xff51afd7ed558ccd;
    h ^= h >> 32;
  }
  return h;
}

// States in the order they were found, each with the one it was found from; and an index of them. Half of a search was the wait for the
// memory of the two: so the index has a part of each state's hash, and a state is compared with no other than itself, nearly always; and
// all successors of a state are asked for before the first is looked up (a third less time for both).
class state_table {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  uint64_t size() const noexcept { return size_; }
  const packed& at(uint64_t i) const noexcept { return chunks_[i >> kChunkBits][i & (kChunk - 1)].key; }
  uint32_t parent(uint64_t i) const noexcept { return chunks_[i >> kChunkBits][i & (kChunk - 1)].parent; }

  void prefetch(uint64_t h) const noexcept {
    if (!index_.empty()) __builtin_prefetch(&index_[h & (index_.size() - 1)]);
  }
  // The state itself, of which nearly always the first place of the index knows. After prefetch().
  void prefetch_state(uint64_t h) const noexcept {
    const index_entry& e = index_[h & (index_.size() - 1)];
    if (e.state != kNone && e.tag == static_cast<uint32_t>(h >> 32)) __builtin_prefetch(&at(e.state));
  }
  // False if it is known. h: its hash.
  bool add(const packed& key, uint64_t h, uint32_t parent) {
    if ((size_ + 1) * 3 > index_.size() * 2) grow();
    const auto tag = static_cast<uint32_t>(h >> 32);
    size_t i = h & (index_.size() - 1);
    for (; index_[i].state != kNone; i = (i + 1) & (index_.size() - 1))
      if (index_[i].tag == tag && same(at(index_[i].state), key)) return false;
    index_[i] = {static_cast<uint32_t>(size_), tag};
    if ((size_ & (kChunk - 1)) == 0) chunks_.push_back(std::make_unique<entry[]>(kChunk));
    chunks_.back()[size_ & (kChunk - 1)] = {key, parent};
    ++size_;
    return true;
  }

 private:
  static constexpr unsigned kChunkBits = 16;
  static constexpr uint64_t kChunk = uint64_t{1} << kChunkBits;
  struct entry {
    packed key;
    uint32_t parent;
  };
  struct index_entry {
    uint32_t state = kNone;
    uint32_t tag = 0;  // the upper half of its hash
  };

  // operator== is a call of memcmp.
  static bool same(const packed& a, const packed& b) noexcept { return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0; }

  void grow() {
    std::vector<index_entry> bigger(index_.empty() ? 1 << 16 : index_.size() * 2);
    for (uint64_t n = 0; n < size_; ++n) {
      const uint64_t h = hash(at(n));
      size_t i = h & (bigger.size() - 1);
      while (bigger[i].state != kNone) i = (i + 1) & (bigger.size() - 1);
      bigger[i] = {static_cast<uint32_t>(n), static_cast<uint32_t>(h >> 32)};
    }
    index_.swap(bigger);
  }

  std::vector<std::unique_ptr<entry[]>> chunks_;
  std::vector<index_entry> index_;
  uint64_t size_ = 0;
};

// The way to `last`, told with one set of names: the search's own change names from state to state.
void tell(const machine& m, const state_table& t, uint64_t last, search_result& r) {
  std::vector<uint64_t> way;
  for (uint64_t i = last; i != state_table::kNone; i = t.parent(i)) way.push_back(i);
  state now = m.initial();
  std::vector<successor> next;
  for (size_t k = way.size() - 1; k-- > 0;) {
    next.clear();
    m.successors(now, next);
    for (successor& n : next) {
      state reduced = n.to;
      m.drop_garbage(reduced);
      if (canonical(m, reduced) != t.at(way[k])) continue;
      r.trace += describe(m, ++r.trace_steps, now, n);
      now = reduced;
      break;
    }
  }
}

}  // namespace

search_result search(const machine& m, const search_options& o) {
  search_result r;
  state_table table;
  state first = m.initial();
  m.drop_garbage(first);
  const packed root = canonical(m, first);
  table.add(root, hash(root), state_table::kNone);
  std::vector<successor> next;
  struct candidate {
    packed key;
    uint64_t hash;
    object_set unmarked;
  };
  std::vector<candidate> keys;  // of `next`
  uint64_t end_of_level = 1;
  for (uint64_t i = 0; i < table.size(); ++i) {
    if (i == end_of_level) {
      ++r.depth;
      end_of_level = table.size();
    }
    next.clear();
    keys.clear();
    m.successors(unpack(table.at(i)), next);
    r.steps += next.size();
    for (successor& n : next) {
      const object_set unmarked = m.drop_garbage(n.to);
      const packed key = canonical(m, n.to);
      keys.push_back({key, hash(key), unmarked});
      table.prefetch(keys.back().hash);
    }
    for (const candidate& c : keys) table.prefetch_state(c.hash);
    for (size_t k = 0; k < next.size(); ++k) {
      const successor& n = next[k];
      const object_set unmarked = keys[k].unmarked;
      if (!table.add(keys[k].key, keys[k].hash, static_cast<uint32_t>(i))) continue;
      std::string wrong;
      if (n.to.at == phase::lost) {
        wrong = "a reachable object is freed";
      } else {
        if (o.check.exact && unmarked != 0 && n.to.at == phase::mark)
          wrong = "an object of the snapshot became garbage before it was marked";
        if (wrong.empty() && (o.check.weak || o.check.strong)) wrong = violated(m, n.to, o.check);
      }
      if (!wrong.empty()) {
        r.what = search_result::outcome::violated;
        r.violation = wrong;
        r.states = table.size();
        tell(m, table, table.size() - 1, r);
        return r;
      }
      if (table.size() >= o.most_states) {
        r.states = table.size();
        return r;
      }
    }
  }
  r.what = search_result::outcome::holds;
  r.states = table.size();
  return r;
}

}  // namespace gcmodel
