// One script, four modes, every interleaving: the modes of the collector as each other's oracles (gc.md §3.7).
//
// Let S0 be what a scan of all stacks, registers and roots leads to when a collection begins; A what is allocated until it ends; R what the
// program can reach then. (S0 may be a little more than what the program can reach: a barrier under way holds the old value in a register.)
// What is marked is
//   stw                S0                  (begin and end are one instant)
//   yuasa              S0 ∪ A              exactly: a snapshot
//   dijkstra, hybrid   R ⊆ M ⊆ S0 ∪ A
// and so, of two collections with the same begin and end: R ⊆ marked(dijkstra), marked(hybrid) ⊆ marked(yuasa).
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "canonical.h"
#include "machine.h"

namespace gcmodel {
namespace {

constexpr mode kModes[] = {mode::stw, mode::dijkstra, mode::yuasa, mode::hybrid};

// What a script does next. Objects are numbered as they are allocated.
struct command {
  enum class kind : uint8_t { allocate, make, load_root, load_field, store_root, store_field_of_root, drop } what;

  // The step of goroutine `who` that it amounts to in this state.
  step in(const state& s, uint8_t who) const noexcept {
    const uint8_t x = s.g[who].local[0];
    const uint8_t free = first_free(s);
    switch (what) {
      case kind::allocate: return {action::allocate, who, 0, free, 0};
      case kind::make: return begin(operation::make, who, slot_of(free, 0), x);
      case kind::load_root: return {action::load, who, kCellSlot, 0, 0};
      case kind::load_field: return {action::load, who, x == 0 ? kNoSlot : slot_of(x, 0), 0, 0};
      case kind::store_root: return begin(operation::assign, who, kCellSlot, x);
      case kind::store_field_of_root: return begin(operation::assign, who, s.cell == 0 ? kNoSlot : slot_of(s.cell, 0), x);
      case kind::drop: return {action::drop, who, 0, 0, 0};
    }
    return {};
  }

 private:
  static uint8_t first_free(const state& s) noexcept {
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if (s.of(v) == colour::free) return v;
    return 0;
  }
  static step begin(operation op, uint8_t who, uint8_t slot, uint8_t value) noexcept {
    return {action::begin, who, static_cast<uint8_t>(op), slot, value};
  }
};
bool same(const step& a, const step& b) noexcept { return a.what == b.what && a.who == b.who && a.a == b.a && a.b == b.b && a.c == b.c; }

using script = std::array<std::vector<command>, kGoroutines>;

struct situation {
  state s;
  std::array<uint8_t, kGoroutines> done{};  // commands begun
  object_set snapshot = 0;                  // S0 ∪ A
  std::string began;                        // the program's state when the collection began, if nobody was within a command
};

// For each pair of begin and end: what was marked in some interleaving.
using outcomes = std::map<std::string, std::set<object_set>>;

class player {
 public:
  player(mode m, script text) : machine_(rules_of(m), {.objects = 4, .one_buffer = true}), text_(std::move(text)) {}

  void play() {
    situation first;
    first.s = machine_.initial();
    push(first);
    while (!open_.empty()) {
      const situation now = std::move(open_.back());
      open_.pop_back();
      std::vector<successor> next;
      machine_.successors(now.s, next);
      for (const successor& n : next) follow(now, n);
    }
  }
  size_t situations() const noexcept { return seen_.size(); }
  const outcomes& found() const noexcept { return found_; }
  size_t collections() const noexcept { return collections_; }

 private:
  static rules rules_of(mode m) {
    rules r{.mode = m};
    r.begin = rules::flip::everybody_stands;  // so that a collection begins at one instant
    return r;
  }

  static std::string program_state(const situation& t) {
    for (const goroutine& g : t.s.g)
      if (g.op != operation::none) return {};
    std::string key;
    for (const auto& fields : t.s.field)
      for (const uint8_t word : fields) key += static_cast<char>('0' + word);
    for (const goroutine& g : t.s.g) key += static_cast<char>('0' + g.local[0]);
    key += static_cast<char>('0' + t.s.cell);
    for (const uint8_t d : t.done) key += static_cast<char>('a' + d);
    return key;
  }

  void push(const situation& t) {
    const packed p = pack(t.s);
    std::string key(reinterpret_cast<const char*>(p.data()), sizeof p);
    for (const uint8_t d : t.done) key += static_cast<char>(d);
    key += static_cast<char>(t.snapshot);
    key += t.began;
    if (seen_.insert(std::move(key)).second) open_.push_back(t);
  }

  void follow(const situation& now, const successor& n) {
    situation to = now;
    to.s = n.to;
    switch (n.by.what) {
      case action::go_on: break;
      case action::set_flag:
        to.snapshot = machine_.found_by_scan(now.s);
        to.began = program_state(now);
        break;
      case action::collect:
        to.snapshot = machine_.found_by_scan(now.s);
        to.began = program_state(now);
        return ended(now, to);
      case action::terminate:
        if (n.to.at == phase::mark) break;
        return ended(now, to);
      default:
        if (n.by.what < action::collect) {
          const uint8_t who = n.by.who;
          if (now.done[who] == text_[who].size() || !same(text_[who][now.done[who]].in(now.s, who), n.by)) return;
          ++to.done[who];
          if (now.s.at != phase::off)
            for (uint8_t v = 1; v <= kMaxObjects; ++v)
              if (now.s.of(v) == colour::free && n.to.of(v) != colour::free) to.snapshot |= static_cast<object_set>(1u << v);
        }
    }
    push(to);
  }

  // One collection is looked at, not several: the situation is not followed further.
  void ended(const situation& now, const situation& to) {
    ++collections_;
    ASSERT_EQ(to.s.at, phase::off) << to_string(machine_.the_rules().mode) << " lost an object";
    object_set marked = 0;
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if (to.s.of(v) != colour::free) marked |= static_cast<object_set>(1u << v);
    const object_set reachable = machine_.reachable(now.s);
    const mode m = machine_.the_rules().mode;
    ASSERT_EQ(reachable & ~marked, 0) << to_string(m) << ": R ⊆ M";
    ASSERT_EQ(marked & ~to.snapshot, 0) << to_string(m) << ": M ⊆ S0 ∪ A";
    if (m == mode::stw || m == mode::yuasa) {
      ASSERT_EQ(marked, to.snapshot) << to_string(m);
    }
    const std::string ends = program_state(now);
    if (!to.began.empty() && !ends.empty()) found_[to.began + " " + ends].insert(marked);
  }

  machine machine_;
  script text_;
  std::vector<situation> open_;
  std::set<std::string> seen_;
  outcomes found_;
  size_t collections_ = 0;
};

TEST(GcModelModes, OneScriptInAllModes) {
  using k = command::kind;
  // G0 builds B -> A under the root, hangs C under B in A's place, then puts D into the root. G1 takes what it finds there, goes one down,
  // makes that the root, and forgets it.
  const script text = {{
      {{k::allocate}, {k::make}, {k::store_root}, {k::allocate}, {k::store_field_of_root}, {k::allocate}, {k::store_root}, {k::drop}},
      {{k::load_root}, {k::load_field}, {k::store_root}, {k::drop}},
  }};
  std::map<mode, outcomes> found;
  for (const mode m : kModes) {
    player p(m, text);
    p.play();
    ASSERT_FALSE(HasFatalFailure());
    printf("%s: %zu situations, %zu collections, %zu pairs of begin and end\n", to_string(m), p.situations(), p.collections(),
           p.found().size());
    EXPECT_GT(p.collections(), 0u);
    found[m] = p.found();
  }

  size_t compared = 0, smaller = 0, differ = 0;
  for (const auto& [key, snapshot] : found[mode::yuasa]) {
    ASSERT_EQ(snapshot.size(), 1u) << "yuasa marks one set, whatever the interleaving";
    for (const mode m : {mode::dijkstra, mode::hybrid}) {
      const auto it = found[m].find(key);
      if (it == found[m].end()) continue;
      for (const object_set marked : it->second) {
        EXPECT_EQ(marked & ~*snapshot.begin(), 0) << to_string(m) << " marked more than yuasa";
        ++compared;
        if (marked != *snapshot.begin()) ++smaller;
      }
    }
    if (found[mode::dijkstra].count(key) != 0 && found[mode::hybrid].count(key) != 0 &&
        found[mode::dijkstra][key] != found[mode::hybrid][key])
      ++differ;
  }
  printf("%zu collections compared with yuasa's, %zu marked less; %zu times dijkstra and hybrid differ\n", compared, smaller, differ);
  EXPECT_GT(compared, 0u);
  EXPECT_GT(smaller, 0u) << "the script must tell the modes apart";
  EXPECT_GT(differ, 0u) << "the script must tell the modes apart";
}

}  // namespace
}  // namespace gcmodel
