#include "runtime/gc/cleanup.h"

#include <string.h>

#include <mutex>
#include <new>

#include "runtime/os/fatal.h"

namespace warren::rt {

uint64_t cleanup_set::add(const void* object, detail::root_cell* arguments) {
  std::lock_guard guard(lock_);
  if (free_ == kNone) {
    if (records_.size() >= kNone || !records_.push({0, nullptr, 1, kNone, record_state::free, false})) throw std::bad_alloc();
    free_ = static_cast<uint32_t>(records_.size() - 1);
  }
  const uint32_t i = free_;
  record& r = records_[i];
  free_ = r.next;
  r = {reinterpret_cast<uintptr_t>(object), arguments, r.generation, kNone, record_state::waiting, false};
  waiting_count_.fetch_add(1, std::memory_order_relaxed);
  return uint64_t{r.generation} << 32 | i;
}

void cleanup_set::release(uint32_t i) noexcept {
  record& r = records_[i];
  r = {0, nullptr, r.generation + 1 == 0 ? 1 : r.generation + 1, free_, record_state::free, false};
  free_ = i;
}

detail::root_cell* cleanup_set::stop(uint64_t id) noexcept {
  std::lock_guard guard(lock_);
  const auto i = static_cast<uint32_t>(id);
  if (i >= records_.size() || records_[i].generation != id >> 32 || records_[i].state != record_state::waiting) return nullptr;
  detail::root_cell* const cell = records_[i].arguments;
  waiting_count_.fetch_sub(1, std::memory_order_relaxed);
  release(i);
  return cell;
}

detail::root_cell* cleanup_set::take() noexcept {
  std::lock_guard guard(lock_);
  if (first_ready_ == kNone) return nullptr;
  const uint32_t i = first_ready_;
  first_ready_ = records_[i].next;
  if (first_ready_ == kNone) last_ready_ = kNone;
  detail::root_cell* const cell = records_[i].arguments;
  release(i);
  ready_count_.fetch_sub(1, std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_relaxed);
  return cell;
}

bool cleanup_set::find_unreachable(const mheap& h, size_t* at, size_t most, size_t* all_found) noexcept {
  std::lock_guard guard(lock_);
  size_t found = 0;
  const size_t end = records_.size() - *at < most ? records_.size() : *at + most;
  for (auto i = static_cast<uint32_t>(*at); i < end; ++i) {
    record& r = records_[i];
    if (r.state != record_state::waiting || !is_dead(h, r.object)) continue;
    r.state = record_state::ready;
    r.next = kNone;
    if (last_ready_ == kNone) {
      first_ready_ = i;
    } else {
      records_[last_ready_].next = i;
    }
    last_ready_ = i;
    ++found;
  }
  *at = end;
  *all_found += found;
  waiting_count_.fetch_sub(found, std::memory_order_relaxed);
  ready_count_.fetch_add(found, std::memory_order_relaxed);
  return end < records_.size();
}

void cleanup_set::report_hopeless(const mheap& h) noexcept {
  std::lock_guard guard(lock_);
  int left = kChecksPerCollection;
  for (uint32_t i = 0; i < records_.size() && left > 0; ++i) {
    record& r = records_[i];
    if (r.state != record_state::waiting || r.checked) continue;
    r.checked = true;
    --left;
    const void* const arguments = detail::root_get(r.arguments);
    if (!leads_to(h, arguments, r.object)) continue;
    print_error(
        "warren: a cleanup of the object at %p will never run: what its function captures or is called with leads back to the object and "
        "keeps it; pass what the cleanup needs (a number, a name, another object), not a way to the object\n",
        reinterpret_cast<void*>(r.object));
  }
}

bool leads_to(const mheap& h, const void* from, uintptr_t to) noexcept {
  const reservation& r = h.space();
  auto bits_of = [&](const mspan* s) { return r.check_bits() + h.page_of(s->base) * kBitmapWordsPerPage; };
  const object_ref wanted = h.find_object(to);
  if (!wanted) return false;
  h.for_each_span([&](mspan* s) { memset(bits_of(s), 0, s->groups() * 8); });
  mapped_array<uintptr_t> stack;
  bool found = false;
  auto visit = [&](uintptr_t word) {
    const object_ref o = h.find_object(word);
    if (!o) return;
    uint64_t& bits = bits_of(o.span)[o.index / 64];
    const uint64_t bit = uint64_t{1} << (o.index % 64);
    if ((bits & bit) != 0) return;
    bits |= bit;
    if (o.span == wanted.span && o.index == wanted.index) found = true;
    if (o.span->kind() != scan_kind::noscan) stack.push(o.address());  // out of memory: a report less
  };
  visit(reinterpret_cast<uintptr_t>(from));
  while (stack.size() > 0 && !found) {
    const uintptr_t object = stack.pop();
    const mspan* const s = h.span_at(h.page_of(object));
    for (uintptr_t a = object; a + sizeof(void*) <= object + s->elem_size; a += sizeof(void*)) {
      const size_t bit = (a - r.base()) / sizeof(void*);
      if (s->kind() == scan_kind::precise && ((r.pointer_bits()[bit / 64] >> (bit % 64)) & 1) == 0) continue;
      visit(__atomic_load_n(reinterpret_cast<const uintptr_t*>(a), __ATOMIC_RELAXED));
    }
  }
  return found;
}

}  // namespace warren::rt
