#include "runtime/gc/barrier.h"

#include "runtime/os/fatal.h"

namespace warren::detail {

#ifdef NDEBUG
constinit std::atomic<uint32_t> barrier_flags{0};
#else
constinit std::atomic<uint32_t> barrier_flags{barrier_check};
#endif

}  // namespace warren::detail

namespace warren::rt {

constinit barrier_hooks the_barrier_hooks;

void set_barrier_flag(detail::barrier_flag bit, bool on) noexcept {
  if (on) {
    detail::barrier_flags.fetch_or(bit, std::memory_order_seq_cst);
  } else {
    detail::barrier_flags.fetch_and(~uint32_t{bit}, std::memory_order_seq_cst);
  }
}

namespace {
const char* to_string(store_kind k) noexcept {
  switch (k) {
    case store_kind::construct: return "constructed";
    case store_kind::assign: return "assigned";
    case store_kind::destroy: return "destroyed";
  }
  return "?";
}

[[gnu::noinline]] void slow(store_kind kind, const void* slot, const volatile void* old, const volatile void* now) noexcept {
  const uint32_t flags = detail::barrier_flags.load(std::memory_order_relaxed);
  const barrier_hooks& h = the_barrier_hooks;
  if ((flags & detail::barrier_record) != 0 && h.record != nullptr) h.record(kind, slot, old, now);
  if ((flags & detail::barrier_marking) != 0) {
    const volatile void* const gone = (flags & detail::barrier_new_only) != 0 ? nullptr : old;
    const volatile void* const come = (flags & detail::barrier_old_only) != 0 ? nullptr : now;
    if (h.shade != nullptr && !h.shade(nullptr, const_cast<const void*>(gone), const_cast<const void*>(come))) [[unlikely]] {
      fatal(
          "a warren::ptr at %p was %s during a collection by a thread without a P (a foreign thread, or inside warren::blocking): use "
          "warren::root there",
          slot, to_string(kind));
    }
  }
  if ((flags & (detail::barrier_check | detail::barrier_marking)) != 0 && kind != store_kind::destroy && now != nullptr &&
      h.is_scanned != nullptr && !h.is_scanned(slot)) {
    fatal(
        "a warren::ptr at %p was %s outside the collected heap and the goroutine stacks, where the collector does not look: use "
        "warren::root there",
        slot, to_string(kind));
  }
}
}  // namespace

}  // namespace warren::rt

namespace warren::detail {

namespace {
// Usually it is for mode hybrid that one comes here, and for nothing else.
inline void shade(rt::store_kind kind, const void* slot, const volatile void* old, const volatile void* now) noexcept {
  if (barrier_flags.load(std::memory_order_relaxed) == barrier_marking && rt::the_barrier_hooks.shade != nullptr &&
      rt::the_barrier_hooks.shade(slot, const_cast<const void*>(old), const_cast<const void*>(now))) [[likely]]
    return;
  rt::slow(kind, slot, old, now);
}
}  // namespace

void barrier_construct(void* slot, const volatile void* now) noexcept { shade(rt::store_kind::construct, slot, nullptr, now); }
void barrier_assign(void* slot, const volatile void* old, const volatile void* now) noexcept {
  shade(rt::store_kind::assign, slot, old, now);
}
void barrier_words_slow(const void* from, size_t bytes) noexcept {
  const rt::barrier_hooks& h = rt::the_barrier_hooks;
  if (h.shade == nullptr) return;
  const auto* const words = static_cast<void* const*>(from);
  const size_t n = bytes / sizeof(void*);
  const auto word = [&](size_t i) -> const void* { return i < n ? __atomic_load_n(&words[i], __ATOMIC_RELAXED) : nullptr; };
  for (size_t i = 0; i < n; i += 2)
    if (!h.shade(nullptr, word(i), word(i + 1))) return;
}
void barrier_destroy(void* slot) noexcept {
  void* const old = __atomic_load_n(static_cast<void**>(slot), __ATOMIC_RELAXED);
  if ((barrier_flags.load(std::memory_order_relaxed) & barrier_marking) != 0)
    __atomic_store_n(static_cast<void**>(slot), nullptr, __ATOMIC_RELAXED);
  shade(rt::store_kind::destroy, slot, old, nullptr);
}

}  // namespace warren::detail
