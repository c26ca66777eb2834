#include "memory.h"

#include <algorithm>
#include <cstring>

#include "execution.h"
#include "source_line.h"

namespace interleave {

namespace {
constexpr size_t kGranules = size_t{1} << 16;
constexpr size_t kSharedSlots = 4096;
constexpr size_t kBlockWords = size_t{1} << 18;

uint64_t memory_word(uintptr_t address, int size) noexcept {
  uint64_t v = 0;
  memcpy(&v, reinterpret_cast<const void*>(address), static_cast<size_t>(size));
  return v;
}
void set_memory_word(uintptr_t address, int size, uint64_t value) noexcept {
  memcpy(reinterpret_cast<void*>(address), &value, static_cast<size_t>(size));
}
size_t hash(uintptr_t key) noexcept { return (key * 0x9e3779b97f4a7c15u) >> 40; }

bool acquires(int order) noexcept { return order == 1 || order == 2 || order >= 4; }
bool releases(int order) noexcept { return order >= 3; }
constexpr int kSeqCst = 5;
}  // namespace

memory::memory() : table_(kGranules), shared_(kSharedSlots) {
  current_.resize(kMaxThreads);
  acq_.resize(kMaxThreads);
  rel_.resize(kMaxThreads);
  has_rel_.resize(kMaxThreads);
  locations_.resize(kMaxLocations);
}

void memory::reset(memory_model model) {
  model_ = model;
  threads_ = 1;
  const size_t dirty = count_ * sizeof(uint32_t);
  for (int t = 0; t < kMaxThreads; ++t)
    for (view* v : {&current_[t], &acq_[t], &rel_[t]}) {
      memset(v->clock, 0, sizeof v->clock);
      memset(v->seen, 0, dirty);
    }
  memset(&sc_, 0, sizeof sc_);
  std::fill(has_rel_.begin(), has_rel_.end(), false);
  count_ = 0;
  ++execution_;
  stores_ = 0;
  news_ = false;
  block_ = used_ = 0;
  tick(0);
}

int memory::fork(int parent) {
  if (threads_ == kMaxThreads) execution::get().fail(outcome::fatal, "the checker has room for 32 threads only");
  const int t = threads_++;
  join(current_[t], current_[parent]);
  tick(t);
  tick(parent);
  return t;
}

void memory::join(int into, int from) {
  join(current_[into], current_[from]);
  tick(into);
}

void memory::join(view& into, const view& from) noexcept {
  for (int t = 0; t < threads_; ++t) into.clock[t] = std::max(into.clock[t], from.clock[t]);
  for (uint32_t l = 0; l < count_; ++l) into.seen[l] = std::max(into.seen[l], from.seen[l]);
}

void memory::join(view& into, const baggage& from) noexcept {
  for (uint32_t t = 0; t < from.threads; ++t) into.clock[t] = std::max(into.clock[t], from.clock[t]);
  for (uint32_t l = 0; l < from.locations; ++l) into.seen[l] = std::max(into.seen[l], from.seen[l]);
}

// Memory that lives until the next reset.
uint32_t* memory::words(size_t n) {
  if (used_ + n > kBlockWords && !blocks_.empty()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.push_back(new uint32_t[kBlockWords]);
  uint32_t* p = blocks_[block_] + used_;
  used_ += (n + 1) & ~size_t{1};
  return p;
}

const baggage* memory::pack(const view& v, const baggage* also) {
  auto* b = new (words((sizeof(baggage) + 3) / 4)) baggage;
  b->threads = static_cast<uint32_t>(threads_);
  b->locations = count_;
  b->clock = words(b->threads);
  b->seen = words(b->locations);
  memcpy(b->clock, v.clock, b->threads * sizeof(uint32_t));
  memcpy(b->seen, v.seen, b->locations * sizeof(uint32_t));
  if (also != nullptr) {
    for (uint32_t t = 0; t < also->threads; ++t) b->clock[t] = std::max(b->clock[t], also->clock[t]);
    for (uint32_t l = 0; l < also->locations; ++l) b->seen[l] = std::max(b->seen[l], also->seen[l]);
  }
  return b;
}

void* memory::carry(int t) {
  void* b = const_cast<baggage*>(pack(current_[t], nullptr));
  tick(t);
  return b;
}

void memory::receive(int t, const void* carried) { join(current_[t], *static_cast<const baggage*>(carried)); }

// --- which variables ------------------------------------------------------------------------------------------------------------------

memory::granule& memory::granule_of(uintptr_t address) {
  const uintptr_t key = address >> 3;
  for (size_t i = hash(key) % kGranules;; i = (i + 1) % kGranules) {
    granule& g = table_[i];
    if (g.execution == execution_) {
      if (g.key == key) return g;
      continue;
    }
    g.key = key;
    g.execution = execution_;
    g.accesses = 0;
    g.locations = 0;
    g.freed = false;
    return g;
  }
}

memory::location& memory::location_of(int t, uintptr_t address, int size, source_place place) {
  granule& g = granule_of(address);
  const auto offset = static_cast<uint8_t>(address & 7);
  if (g.freed) execution::get().fail_at(outcome::use_after_free, "atomic access of memory that was freed", place, g.freed_at);
  if ((g.locations >> offset & 1) != 0) return locations_[g.location[offset]];
  // New: what is in memory is its first value, which the plain writes found here have made.
  if (count_ == kMaxLocations) execution::get().fail(outcome::fatal, "the checker has room for 1024 atomic variables only");
  (void)t;
  const uint32_t i = count_++;
  location& l = locations_[i];
  l.address = address;
  l.size = size;
  l.entries.clear();
  l.entries.push_back({memory_word(address, size), nullptr});
  memset(l.written, 0, sizeof l.written);
  memset(l.read, 0, sizeof l.read);
  l.first_user = 0;
  l.several = l.changed = false;
  for (int k = 0; k < kMaxThreads; ++k) current_[k].seen[i] = acq_[k].seen[i] = rel_[k].seen[i] = 0;
  sc_.seen[i] = 0;
  g.locations |= static_cast<uint8_t>(1u << offset);
  g.location[offset] = static_cast<uint16_t>(i);
  return l;
}

uint32_t memory::variable_number(uintptr_t address) const {
  for (uint32_t i = 0; i < count_; ++i)
    if (locations_[i].address == address) return i + 1;
  return 0;
}

bool memory::is_shared(uintptr_t address) const {
  for (size_t i = hash(address) % kSharedSlots; shared_[i] != 0; i = (i + 1) % kSharedSlots)
    if (shared_[i] == address) return true;
  return false;
}

void memory::forget_shared() { std::fill(shared_.begin(), shared_.end(), 0); }

void memory::used(int t, location& l, bool write) {
  if (t == 0) return;  // setup and end are ordered with everything
  if (l.first_user == 0) l.first_user = t;
  if (l.first_user != t) l.several = true;
  if (write) l.changed = true;
  if (!l.several || !l.changed || is_shared(l.address)) return;
  size_t i = hash(l.address) % kSharedSlots;
  while (shared_[i] != 0) i = (i + 1) % kSharedSlots;
  shared_[i] = l.address;
  news_ = true;
}

// Bookkeeping of every atomic access, and its race with plain ones.
void memory::touch(int t, location& l, bool write, source_place place) {
  used(t, l, write);
  const granule& g = granule_of(l.address);
  const uint32_t mask = ((1u << l.size) - 1) << (l.address & 7);
  for (int i = 0; i < g.accesses; ++i) {
    const access& a = g.list[i];
    if ((a.bytes & mask) == 0 || (!write && !a.write) || a.thread == t || a.clock <= current_[t].clock[a.thread]) continue;
    race(t, write, "atomically", place, a.thread, a.write, "plainly", a.place, l.address);
  }
  (write ? l.written : l.read)[t] = current_[t].clock[t];
  if (write) l.read[t] = current_[t].clock[t];
}

void memory::race(int t, bool write, const char* kind, source_place place, int other, bool other_write, const char* other_kind,
                  source_place other_place, uintptr_t address) {
  execution& e = execution::get();
  std::string s = "data race on " + e.describe_address(address) + ": " + e.thread_name(t) + (write ? " writes it " : " reads it ") + kind +
                  " at " + source_line(place).short_form() + ", " + e.thread_name(other) + (other_write ? " wrote it " : " read it ") +
                  other_kind + " at " + source_line(other_place).short_form() + ", and neither happens before the other";
  e.fail(outcome::data_race, std::move(s));
}

// --- atomic accesses ------------------------------------------------------------------------------------------------------------------

int memory::as_load(int order) const noexcept { return tso() && order < 2 ? 2 : order; }
int memory::as_store(int order) const noexcept { return tso() && order < 3 ? 3 : order; }

uint32_t memory::oldest_readable(int t, uint32_t l, int order) const noexcept {
  const uint32_t mine = current_[t].seen[l];
  return order == kSeqCst ? std::max(mine, sc_.seen[l]) : mine;
}

void memory::read_entry(int t, location& l, uint32_t which, int order) {
  const uint32_t i = index(l);
  current_[t].seen[i] = std::max(current_[t].seen[i], which);
  if (order == kSeqCst) sc_.seen[i] = std::max(sc_.seen[i], which);
  if (const baggage* b = l.entries[which].with; b != nullptr) join(acquires(order) ? current_[t] : acq_[t], *b);
  last_was_newest_[t] = which + 1 == l.entries.size();
}

void memory::append(int t, location& l, uint64_t value, int order, const baggage* inherited) {
  const uint32_t i = index(l);
  const auto which = static_cast<uint32_t>(l.entries.size());
  current_[t].seen[i] = which;
  if (order == kSeqCst) sc_.seen[i] = which;
  const baggage* with = inherited;
  if (releases(order)) {
    with = pack(current_[t], inherited);
  } else if (has_rel_[t]) {
    with = pack(rel_[t], inherited);
  }
  l.entries.push_back({value, with});
  execution::get().about_to_write(l.address, static_cast<size_t>(l.size));
  set_memory_word(l.address, l.size, value);
  ++stores_;
}

uint64_t memory::load(int t, uintptr_t address, int size, int order, source_place place) {
  location& l = location_of(t, address, size, place);
  order = as_load(order);
  touch(t, l, false, place);
  const uint32_t newest = static_cast<uint32_t>(l.entries.size()) - 1;
  const uint32_t oldest = oldest_readable(t, index(l), order);
  const uint32_t back = newest > oldest ? execution::get().pick_weak(newest - oldest + 1) : 0;
  const uint32_t which = newest - back;
  read_entry(t, l, which, order);
  tick(t);
  return l.entries[which].value;
}

void memory::store(int t, uintptr_t address, int size, uint64_t value, int order, source_place place) {
  location& l = location_of(t, address, size, place);
  touch(t, l, true, place);
  append(t, l, value, as_store(order), nullptr);
  tick(t);
  if (tso() && order == kSeqCst) full_fence(t, false);
}

uint64_t memory::modify(int t, uintptr_t address, int size, int order, source_place place, uint64_t (*change)(uint64_t, uint64_t),
                        uint64_t operand) {
  location& l = location_of(t, address, size, place);
  touch(t, l, true, place);
  if (tso()) {
    order = kSeqCst;
    full_fence(t, false);
  }
  const entry newest = l.entries.back();
  read_entry(t, l, static_cast<uint32_t>(l.entries.size()) - 1, order);
  uint64_t value = change(newest.value, operand);
  if (size < 8) value &= (uint64_t{1} << (size * 8)) - 1;
  append(t, l, value, order, newest.with);
  tick(t);
  if (tso()) full_fence(t, false);
  return newest.value;
}

bool memory::compare_exchange(int t, uintptr_t address, int size, uint64_t* expected, uint64_t desired, int order, int failure, bool weak,
                              source_place place) {
  location& l = location_of(t, address, size, place);
  const uint32_t newest = static_cast<uint32_t>(l.entries.size()) - 1;
  const bool equal = l.entries[newest].value == *expected;
  if (tso()) {
    touch(t, l, equal, place);
    order = failure = kSeqCst;
    full_fence(t, false);
  } else {
    // It may fail by an old value, or weakly for no reason.
    uint32_t options = 1 + (weak && equal ? 1 : 0);
    const uint32_t oldest = oldest_readable(t, index(l), failure);
    for (uint32_t i = oldest; i < newest; ++i)
      if (l.entries[i].value != *expected) ++options;
    const uint32_t taken = options > 1 ? execution::get().pick_weak(options) : 0;
    if (taken > 0) {
      touch(t, l, false, place);
      uint32_t which = newest;
      if (!(weak && equal && taken == options - 1)) {
        uint32_t left = taken;
        for (which = newest; left > 0;)
          if (l.entries[--which].value != *expected) --left;
      }
      read_entry(t, l, which, failure);
      *expected = l.entries[which].value;
      tick(t);
      return false;
    }
    touch(t, l, equal, place);
  }
  const entry old = l.entries[newest];
  read_entry(t, l, newest, equal ? order : failure);
  if (equal) {
    append(t, l, desired, order, old.with);
  } else {
    *expected = old.value;
  }
  tick(t);
  if (tso()) full_fence(t, false);
  return equal;
}

void memory::fence(int t, int order) {
  if (acquires(order)) join(current_[t], acq_[t]);
  if (order == kSeqCst) {
    for (uint32_t l = 0; l < count_; ++l) current_[t].seen[l] = sc_.seen[l] = std::max(current_[t].seen[l], sc_.seen[l]);
  }
  if (releases(order)) {
    memcpy(&rel_[t], &current_[t], sizeof rel_[t].clock);
    memcpy(rel_[t].seen, current_[t].seen, count_ * sizeof(uint32_t));
    has_rel_[t] = true;
  }
  tick(t);
}

void memory::full_fence(int t, bool orders_plain) {
  fence(t, kSeqCst);
  if (!orders_plain) return;
  // sc_'s clock is used by membarriers alone.
  for (int k = 0; k < threads_; ++k) current_[t].clock[k] = sc_.clock[k] = std::max(current_[t].clock[k], sc_.clock[k]);
  fence(t, kSeqCst);
}

void memory::begin_membarrier(int t) { full_fence(t, true); }
void memory::end_membarrier(int t) { full_fence(t, true); }

// --- plain accesses -------------------------------------------------------------------------------------------------------------------

void memory::plain(int t, uintptr_t address, size_t size, bool write, source_place place) {
  if (write) execution::get().about_to_write(address, size);
  while (size > 0) {
    const size_t offset = address & 7;
    const size_t n = std::min(size, 8 - offset);
    const auto mask = static_cast<uint8_t>(((1u << n) - 1) << offset);
    granule& g = granule_of(address);
    if (g.freed) execution::get().fail_at(outcome::use_after_free, "access of memory that was freed", place, g.freed_at);

    for (uint32_t bits = g.locations & mask; bits != 0; bits &= bits - 1) {
      const int at = __builtin_ctz(bits);
      location& l = locations_[g.location[at]];
      for (int k = 0; k < threads_; ++k) {
        if (k == t) continue;
        if (l.written[k] > current_[t].clock[k]) race(t, write, "plainly", place, k, true, "atomically", nullptr, l.address);
        if (write && l.read[k] > current_[t].clock[k]) race(t, write, "plainly", place, k, false, "atomically", nullptr, l.address);
      }
      // Another object begins to live here, or this one ends: its history is over. (Or it is shared by dark ways: then that was a race.)
      if (write) {
        g.locations &= static_cast<uint8_t>(~(1u << at));
        l.address = 0;
      }
    }

    const uint32_t now = current_[t].clock[t];
    uint8_t kept = 0;
    bool merged = false;
    for (int i = 0; i < g.accesses; ++i) {
      access a = g.list[i];
      if ((a.bytes & mask) != 0) {
        if (a.thread != t && (write || a.write) && a.clock > current_[t].clock[a.thread])
          race(t, write, "plainly", place, a.thread, a.write, "plainly", a.place, address);
        if (write || (a.thread == t && !a.write)) a.bytes &= static_cast<uint8_t>(~mask);  // what races with a races with this one
        if (a.bytes == 0) continue;
      }
      if (!merged && a.thread == t && a.write == write && a.clock == now && a.place == place) {
        a.bytes |= mask;
        merged = true;
      }
      g.list[kept++] = a;
    }
    g.accesses = kept;
    if (!merged) {
      if (g.accesses == std::size(g.list)) {  // forget the oldest
        memmove(&g.list[0], &g.list[1], sizeof g.list - sizeof g.list[0]);
        --g.accesses;
      }
      g.list[g.accesses++] = {now, static_cast<uint8_t>(t), mask, write, place};
    }
    address += n;
    size -= n;
  }
}

void memory::freed(int t, uintptr_t address, size_t size, source_place place) {
  plain(t, address, size, true, place);  // everybody must be through with it
  for (uintptr_t a = address & ~uintptr_t{7}; a < address + size; a += 8) {
    granule& g = granule_of(a);
    g.freed = true;
    g.freed_at = place;
  }
}

}  // namespace interleave
