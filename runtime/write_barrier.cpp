// What a store of a ptr does while a collection marks: from the call that <warren/ptr.h> makes to the buffer of the thread. Why it does so,
// and in this order: gc/barrier.h. It lies above the folders, since it needs the thread, its buffer and the bounds of heap and stacks.
//
// A program that makes objects while it is marked spends as much here as in the allocator. So most calls go no further than
// nothing_to_shade(), which calls nothing. The value is null, or this thread has shaded it in this cycle, or has made it, black
// (malloc.cpp says so to the buffer); and the ptr lies where one would expect it. Such a call needs no critical section although the
// thread may be held anywhere in it and a cycle end meanwhile: it changes nothing, the store was made before, and who is held after having
// read "shaded" is in the place of one who has read "off".
#include "runtime/write_barrier.h"

#include "runtime/gc/barrier.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stop.h"

namespace warren::rt {

constinit barriered_heap the_barriered_heap;

namespace {

const char* to_string(store_kind k) noexcept {
  switch (k) {
    case store_kind::construct: return "constructed";
    case store_kind::assign: return "assigned";
    case store_kind::destroy: return "destroyed";
  }
  return "?";
}

uint32_t flags() noexcept { return detail::barrier_flags.load(std::memory_order_relaxed); }

// Mode hybrid marks, and no test listens. (That every ptr is to be checked asks no more of a store than marking does.)
bool is_usual(uint32_t flags) noexcept { return (flags & ~uint32_t{detail::barrier_check}) == detail::barrier_marking; }

// Is addr where the collector looks? Roots are no matter here: they hold no ptr.
bool is_scanned(const void* addr) noexcept {
  return the_barriered_heap.contains(reinterpret_cast<uintptr_t>(addr)) || is_goroutine_memory(addr);
}

// The same for the two places where nearly all are, and while a collection marks. A stack is recognized by its distance from this frame:
// slots of stacks are aligned to their size, so what shares the smallest slot's bits with this frame is on the same stack.
inline bool is_near(const void* addr) noexcept {
  const auto a = reinterpret_cast<uintptr_t>(addr);
  return (a ^ reinterpret_cast<uintptr_t>(__builtin_frame_address(0))) < stack_slot_size(0) || the_barriered_heap.contains(a);
}

inline bool is_shaded(const m& mp, const volatile void* value) noexcept {
  return value == nullptr || mp.shaded.pushed(reinterpret_cast<uintptr_t>(value));
}

// Of a store that has been made. REQUIRES: is_usual(flags()).
inline bool nothing_to_shade(const volatile void* old, const volatile void* now) noexcept {
  const m* const mp = getm();
  return mp != nullptr && mp->current_p != nullptr && is_shaded(*mp, old) && is_shaded(*mp, now);
}

inline void push(m* mp, const volatile void* value) noexcept {
  const auto word = reinterpret_cast<uintptr_t>(value);
  if (word == 0 || mp->shaded.push(word)) return;
  the_barriered_heap.take.load(std::memory_order_relaxed)(mp->shaded);
  mp->shaded.push(word);
}

// False: this thread has no P.
bool shade(const volatile void* old, const volatile void* now) noexcept {
  m* const mp = getm();
  if (mp == nullptr || mp->current_p == nullptr) return false;
  // In a critical section the world does not stop. The thread may have been held since it tested the flag, and the marking be over: then
  // `old` and `now` were found in its registers.
  const uint32_t outer = enter_critical(mp);
  if ((flags() & detail::barrier_marking) != 0) {
    push(mp, old);
    push(mp, now);
  }
  leave_critical(mp, outer);
  return true;
}

[[gnu::noinline]] void pass(store_kind kind, const void* slot, const volatile void* old, const volatile void* now) noexcept {
  const uint32_t f = flags();
  if ((f & detail::barrier_record) != 0 && record_store != nullptr) record_store(kind, slot, old, now);
  if ((f & detail::barrier_marking) != 0 &&
      !shade((f & detail::barrier_new_only) != 0 ? nullptr : old, (f & detail::barrier_old_only) != 0 ? nullptr : now)) [[unlikely]] {
    fatal(
        "a warren::ptr at %p was %s during a collection by a thread without a P (a foreign thread, or inside warren::blocking): use "
        "warren::root there",
        slot, to_string(kind));
  }
  if ((f & (detail::barrier_check | detail::barrier_marking)) != 0 && kind != store_kind::destroy && now != nullptr && !is_scanned(slot)) {
    fatal(
        "a warren::ptr at %p was %s outside the collected heap and the goroutine stacks, where the collector does not look: use "
        "warren::root there",
        slot, to_string(kind));
  }
}

}  // namespace

}  // namespace warren::rt

namespace warren::detail {

using rt::store_kind;

// A null hides nothing and publishes nothing. (To ask for it in the header costs more than these calls: it makes every function that holds
// a ptr larger, and less of it is inlined.)
void barrier_construct(void* slot, const volatile void* now) noexcept {
  if (now == nullptr) return;
  if (rt::is_usual(rt::flags()) && rt::nothing_to_shade(nullptr, now) && rt::is_near(slot)) [[likely]]
    return;
  rt::pass(store_kind::construct, slot, nullptr, now);
}

void barrier_assign(void* slot, const volatile void* old, const volatile void* now) noexcept {
  if (rt::is_usual(rt::flags()) && rt::nothing_to_shade(old, now) && rt::is_near(slot)) [[likely]]
    return;
  rt::pass(store_kind::assign, slot, old, now);
}

void barrier_destroy(void* slot) noexcept {
  void* const old = __atomic_load_n(static_cast<void**>(slot), __ATOMIC_RELAXED);
  if (old == nullptr) return;
  const uint32_t flags = rt::flags();
  if ((flags & barrier_marking) != 0) __atomic_store_n(static_cast<void**>(slot), nullptr, __ATOMIC_RELAXED);
  if (rt::is_usual(flags) && rt::nothing_to_shade(old, nullptr)) [[likely]]
    return;
  rt::pass(store_kind::destroy, slot, old, nullptr);
}

void barrier_words_slow(const void* from, size_t bytes) noexcept {
  const auto* const words = static_cast<void* const*>(from);
  const size_t n = bytes / sizeof(void*);
  const auto word = [&](size_t i) -> const void* { return i < n ? __atomic_load_n(&words[i], __ATOMIC_RELAXED) : nullptr; };
  for (size_t i = 0; i < n; i += 2)
    if (!rt::shade(word(i), word(i + 1))) return;
}

}  // namespace warren::detail
