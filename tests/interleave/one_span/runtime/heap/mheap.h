// A heap of one span, in place of the real one, for what only asks whose object an address is (is_dead): all slots were allocated when the
// marking began.
#pragma once
#include "runtime/heap/mspan.h"

namespace warren::rt {

struct object_ref {
  mspan* span = nullptr;
  uint32_t index = 0;
  explicit operator bool() const noexcept { return span != nullptr; }
};

class mheap {
 public:
  static constexpr uint32_t kSlots = 4;

  mheap() {
    span_.nelems = kSlots;
    span_.elem_size = span_.elem_size32 = 16;
    span_.object_bits = bits_;
  }
  void* object(uint32_t i) noexcept { return &memory_[2 * i]; }
  object_ref find_for_mark(uintptr_t a) const noexcept {
    const auto base = reinterpret_cast<uintptr_t>(memory_);
    if (a - base >= sizeof memory_) return {};
    const auto i = static_cast<uint32_t>((a - base) / 16);
    return span_.was_allocated(i) ? object_ref{&span_, i} : object_ref{};
  }
  void mark(void* object) noexcept {
    if (const object_ref o = find_for_mark(reinterpret_cast<uintptr_t>(object))) o.span->try_mark(o.index);
  }

 private:
  uint64_t bits_[2] = {(1 << kSlots) - 1, 0};
  mutable mspan span_;
  uint64_t memory_[2 * kSlots] = {};
};

}  // namespace warren::rt
