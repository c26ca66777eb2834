#include "runtime/gc/barrier.h"

#include "runtime/os/critical.h"
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

void slow(store_kind kind, const void* slot, const volatile void* old, const volatile void* now) noexcept {
  const uint32_t flags = detail::barrier_flags.load(std::memory_order_relaxed);
  const barrier_hooks& h = the_barrier_hooks;
  if ((flags & detail::barrier_record) != 0 && h.record != nullptr) h.record(kind, slot, old, now);
  if ((flags & detail::barrier_check) != 0 && kind != store_kind::destroy && now != nullptr && h.is_scanned != nullptr &&
      !h.is_scanned(slot)) {
    fatal(
        "a warren::ptr at %p was %s outside the collected heap and the goroutine stacks, where the collector does not look: use "
        "warren::root there",
        slot, to_string(kind));
  }
  if ((flags & detail::barrier_marking) != 0) {
    if (h.has_p != nullptr && !h.has_p()) {
      fatal(
          "a warren::ptr at %p was %s during a collection by a thread without a P (a foreign thread, or inside warren::blocking): use "
          "warren::root there",
          slot, to_string(kind));
    }
    if (h.shade == nullptr) return;
    // Here the world does not stop. The thread may have been held since the flag was tested, and the marking be over: then `old` and `now`
    // were found in its registers.
    const critical_section undisturbed;
    const uint32_t mode = detail::barrier_flags.load(std::memory_order_relaxed);
    if ((mode & detail::barrier_marking) == 0) return;
    if (old != nullptr && (mode & detail::barrier_new_only) == 0) h.shade(const_cast<const void*>(old));
    if (now != nullptr && (mode & detail::barrier_old_only) == 0) h.shade(const_cast<const void*>(now));
  }
}
}  // namespace

}  // namespace warren::rt

namespace warren::detail {

void barrier_construct(void* slot, const volatile void* now) noexcept { rt::slow(rt::store_kind::construct, slot, nullptr, now); }
void barrier_assign(void* slot, const volatile void* old, const volatile void* now) noexcept {
  rt::slow(rt::store_kind::assign, slot, old, now);
}
void barrier_words_slow(const void* from, size_t bytes) noexcept {
  const rt::barrier_hooks& h = rt::the_barrier_hooks;
  if (h.shade == nullptr || (h.has_p != nullptr && !h.has_p())) return;
  const auto* const words = static_cast<void* const*>(from);
  const rt::critical_section undisturbed;
  if ((barrier_flags.load(std::memory_order_relaxed) & barrier_marking) == 0) return;
  for (size_t i = 0; i < bytes / sizeof(void*); ++i)
    if (const void* const word = __atomic_load_n(&words[i], __ATOMIC_RELAXED); word != nullptr) h.shade(word);
}
void barrier_destroy(void* slot) noexcept {
  void* const old = __atomic_load_n(static_cast<void**>(slot), __ATOMIC_RELAXED);
  if ((barrier_flags.load(std::memory_order_relaxed) & barrier_marking) != 0)
    __atomic_store_n(static_cast<void**>(slot), nullptr, __ATOMIC_RELAXED);
  rt::slow(rt::store_kind::destroy, slot, old, nullptr);
}

}  // namespace warren::detail
