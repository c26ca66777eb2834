// add_cleanup: a function to call after an object is gone.
//
//   int fd = open(…);
//   warren::ptr<file> f = warren::make<file>(fd);
//   warren::add_cleanup(f, [](int fd) { close(fd); }, fd);
//
// As Go's AddCleanup. The function is called once, with the arguments (copied or moved in now), on a goroutine of the runtime, some time
// after a collection found the object unreachable; the object itself is not there any more, and its memory may be in use again. Any number
// of cleanups may be added to one object, of any type; they run in no particular order, several at a time.
//
// Compared with `using collected = warren::finalized`: the object needs no destructor and is freed at once, not a collection later; cycles
// do not matter; a base class, a container and a stranger can add one. Prefer cleanups.
//
// Function and arguments must not lead to the object, or it stays reachable for ever. If they hold its address themselves, that is a fatal
// error at once; if they lead to it through other objects, debug builds (and WARREN_GCCHECKMARK=1) say so in the next collection.
//
// There is no promise that a cleanup runs at all: not before the process ends, and not for an object below 16 bytes without pointers while
// its neighbours in the block live. A cleanup that throws is reported and forgotten; one that waits keeps others from running (see
// runtime/gc/README.md).
#pragma once
#include <cstdint>
#include <functional>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "warren/detail/bulk.h"
#include "warren/ptr.h"

namespace warren {

namespace detail {
// How to call and to end what add_cleanup was given. First word of its box.
struct cleanup_type {
  void (*call)(void* box);
  void (*destroy)(void* box) noexcept;
  const char* name;
};
template <class F, class... A>
struct cleanup_box {
  using collected = ambiguous;
  const cleanup_type* type;
  F f;
  std::tuple<A...> arguments;

  static void call(void* box) {
    auto* const b = static_cast<cleanup_box*>(box);
    std::apply(std::move(b->f), std::move(b->arguments));
  }
  static void destroy(void* box) noexcept { static_cast<cleanup_box*>(box)->~cleanup_box(); }
  static constexpr cleanup_type type_of{&call, &destroy, type_name<F>()};
};
uint64_t add_cleanup(const volatile void* object, void* box, size_t box_bytes);
bool stop_cleanup(uint64_t id) noexcept;
}  // namespace detail

// A cleanup that was added. May be copied, kept anywhere, and forgotten.
class cleanup {
 public:
  using collected = noscan;
  constexpr cleanup() noexcept = default;
  // Takes it back: it will not run, and its function and arguments are destroyed. false: it runs, has run or was stopped. On a goroutine.
  bool stop() noexcept { return detail::stop_cleanup(id_); }

 private:
  template <class T, class F, class... A>
  friend cleanup add_cleanup(const ptr<T>& object, F&& f, A&&... args);
  explicit cleanup(uint64_t id) noexcept : id_(id) {}
  uint64_t id_ = 0;
};

// object: not null. On a goroutine; may run a collection. Throws std::bad_alloc and what copying f and args throws.
template <class T, class F, class... A>
cleanup add_cleanup(const ptr<T>& object, F&& f, A&&... args) {
  using box = detail::cleanup_box<std::decay_t<F>, std::decay_t<A>...>;
  static_assert(std::is_invocable_v<std::decay_t<F>, std::decay_t<A>...>,
                "warren: add_cleanup(object, function, arguments…): the function does not take these arguments");
  // Destroyed by whoever calls or stops it, so no finalizer.
  void* const place = detail::new_object(detail::descriptor_of<box>);
  auto* const b = ::new (place) box{&box::type_of, std::forward<F>(f), std::tuple<std::decay_t<A>...>(std::forward<A>(args)...)};
  detail::shade_words(b, sizeof(box));
  return cleanup(detail::add_cleanup(object.get(), b, sizeof(box)));
}

}  // namespace warren
