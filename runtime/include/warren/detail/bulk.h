// Runs of elements in collected memory: moved, cleared and published with the barrier in bulk. What the containers are made of.
//
// Elements move between backing stores and inside one. Element by element, each move of a ptr is a construction and a destruction with a
// test of the barrier's flag each. Here a batch of words is moved and the flag tested once:
//
//   for each word of the batch: remember what the destination holds; copy       (relaxed atomics: a marker may read)
//   compiler barrier
//   flag off: done. Flag on: shade every remembered and every copied value that T's map calls a pointer.
//
// Why a batch is as good as single stores (the argument of runtime/gc/barrier.h, which is about one): whoever has read "off" at the end of
// the batch has made all its stores, so whoever turned the flag on sees them all; whoever has not, shades them all. A thread that is
// stopped inside the batch while marking goes on has made some stores and shaded none. That is harmless as long as nothing it has to shade
// is lost sight of before it does, and nothing is: the old values lie in an array on its stack, the new ones still in the source or, where
// source and destination overlap and the source has been overwritten, in that array as well; and a marking does not end before such a
// stack was looked at after its last instruction (ARCHITECTURE §6: threads that ran since their scan are scanned again).
//
// Both values are shaded although the deletion barrier on the container's own ptr would do for a growing vector (the old store keeps its
// contents, and is shaded when the vector lets go of it): mode `dijkstra` has no deletion barrier, and elements that move inside one store
// can pass the marker on its way through it.
//
// Clearing is assigning null: the old value must be seen to go (gc.md §2.4), and the word must really become null even when no collection
// runs, for the free part of a container would keep garbage alive for as long as the container lives.
//
// Publishing: a new backing store is filled first and linked afterwards. The words a marker would miss by seeing the link before the
// contents are shaded by the rule above, so the order matters to the race detector and to readers, not to the collector; publish() states
// it.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "warren/detail/barrier.h"
#include "warren/detail/type_map.h"
#include "warren/ptr.h"

namespace warren::detail {

// May a T be moved by copying its words and forgetting where they were? Yes for what is trivially copyable, for ptr and what consists of
// it; no for a class with constructors of its own, which may have taken its own address.
template <class T>
struct relocation;
template <class T>
inline constexpr bool relocatable = relocation<std::remove_cv_t<T>>::value;

template <class T, class List>
struct relocation_of_fields;
template <class T, class... F>
struct relocation_of_fields<T, type_list<F...>> : std::bool_constant<(relocatable<F> && ...)> {};
template <class T>
constexpr bool compute_relocatable() {
  if constexpr (std::is_trivially_copyable_v<T>) {
    return true;
  } else if constexpr (std::is_class_v<T>) {
    // An aggregate has no constructors of its own. It may have a destructor or assignments: then check_elements has refused it, or they
    // are not called for a move.
    if constexpr (requires { typename T::warren_relocatable; }) {
      return true;  // containers say so
    } else if constexpr (std::is_aggregate_v<T> && !field_access::has_list<T> && std::is_void_v<statement_of<T>>) {
      return relocation_of_fields<T, aggregate_types<T>>::value;
    } else {
      return false;
    }
  } else {
    return false;
  }
}
template <class T>
struct relocation : std::bool_constant<compute_relocatable<T>()> {};
template <class T>
struct relocation<ptr<T>> : std::true_type {};
template <class T>
struct relocation<array<T>> : std::true_type {};
template <class T, size_t N>
struct relocation<T[N]> : relocation<std::remove_cv_t<T>> {};
template <class T, size_t N>
struct relocation<std::array<T, N>> : relocation<std::remove_cv_t<T>> {};
template <class A, class B>
struct relocation<std::pair<A, B>> : std::bool_constant<relocatable<A> && relocatable<B>> {};

// What an element of a collected container may be. The container's memory is simply forgotten, so nobody runs the elements' destructors.
template <class T>
constexpr void check_element() {
  static_assert(std::is_object_v<T>, "warren: a collected container holds objects: for references use warren::ptr");
  static_assert(alignof(T) <= 8192, "warren: collected objects are aligned to 8192 bytes at most");
  static_assert(
      !map_of<std::remove_cv_t<T>>::destructor,
      "warren: the elements of a collected container are freed without their destructors: hold warren::string instead of std::string, "
      "warren::vector instead of std::vector, or warren::ptr to an object that states `using collected = warren::finalized;`");
  if constexpr (std::is_class_v<T>) {
    static_assert(!is_finalized<T>,
                  "warren: the elements of a collected container are freed without their destructors: hold warren::ptr<T> to finalized "
                  "objects");
  }
}

// ---- words ------------------------------------------------------------------------------------------------------------------------------
inline constexpr size_t kBulkWords = 32;

// slots[i] held old[i] and has been stored to, for i in [0, n). first: the number of slots[0] in its element. Shades by the element's map.
// REQUIRES: some barrier flag is, or was, set.
void bulk_barrier(void** slots, void* const* old, size_t n, size_t first, const type_descriptor& element) noexcept;
// The words [at, at + n) were stored to for the first time, by plain stores, and any of them may be a pointer.
void shade_words_slow(void* const* at, size_t n) noexcept;
// Elements of that type that fit into the memory the heap would hand out for n of them (spare byte included). At least n.
size_t array_capacity(const type_descriptor& element, size_t n) noexcept;

// For words that may be pointers and did not come through a ptr: a closure that was written to collected memory, a pointer that the
// collector does not follow and we do (weak). Shades all of them, whatever the mode shades of a store.
inline void shade_words(const void* at, size_t bytes) noexcept {
  compiler_barrier();
  if (barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
    shade_words_slow(static_cast<void* const*>(at), bytes / sizeof(void*));
}

inline void* load_word(void* const* w) noexcept { return __atomic_load_n(w, __ATOMIC_RELAXED); }
inline void store_word(void** w, void* v) noexcept { __atomic_store_n(w, v, __ATOMIC_RELAXED); }

// Copies n words, upwards or downwards (as memmove chooses), with the barrier.
template <class T>
void copy_words(void** dst, void* const* src, size_t n) noexcept {
  constexpr size_t each = sizeof(T) / sizeof(void*);
  const bool down = std::less<>()(static_cast<const void*>(src), static_cast<const void*>(dst));
  void* old[kBulkWords];
  for (size_t done = 0; done < n;) {
    const size_t here = n - done < kBulkWords ? n - done : kBulkWords;
    const size_t from = down ? n - done - here : done;
    if (down) {
      for (size_t i = here; i-- > 0;) {
        old[i] = load_word(dst + from + i);
        store_word(dst + from + i, load_word(src + from + i));
      }
    } else {
      for (size_t i = 0; i < here; ++i) {
        old[i] = load_word(dst + from + i);
        store_word(dst + from + i, load_word(src + from + i));
      }
    }
    compiler_barrier();
    if (barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
      bulk_barrier(dst + from, old, here, from % each, descriptor_of<T>);
    done += here;
  }
}

// ---- elements ---------------------------------------------------------------------------------------------------------------------------
// n dead or cleared places become null in the collector's eyes.
template <class T>
void clear_places(T* first, size_t n) noexcept {
  if constexpr (map_of<std::remove_cv_t<T>>::scan) {
    constexpr size_t each = sizeof(T) / sizeof(void*);
    void** const words = reinterpret_cast<void**>(const_cast<std::remove_cv_t<T>*>(first));
    const size_t all = n * each;
    void* old[kBulkWords];
    for (size_t done = 0; done < all;) {
      const size_t here = all - done < kBulkWords ? all - done : kBulkWords;
      for (size_t i = 0; i < here; ++i) {
        old[i] = load_word(words + done + i);
        store_word(words + done + i, nullptr);
      }
      compiler_barrier();
      if (barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
        bulk_barrier(words + done, old, here, done % each, descriptor_of<std::remove_cv_t<T>>);
      done += here;
    }
  }
}

// Ends n elements: their ptrs are seen to go, and the places are cleared.
template <class T>
void end_elements(T* first, size_t n) noexcept {
  static_assert(std::is_nothrow_destructible_v<T>, "warren: the destructors of a container's elements must not throw");
  if constexpr (!relocatable<T> && !std::is_trivially_destructible_v<T>) {
    for (size_t i = 0; i < n; ++i) first[i].~T();
  }
  clear_places(first, n);
}

// Moves n elements to places without elements, which may overlap the old ones. The old places hold no elements afterwards; they are not
// cleared (the caller knows whether anybody will look at them).
// REQUIRES: T is relocatable, or its move does not throw.
template <class T>
void relocate(T* dst, T* src, size_t n) noexcept {
  if (n == 0 || dst == src) return;
  if constexpr (relocatable<T>) {
    auto* const to = const_cast<std::remove_cv_t<T>*>(dst);
    auto* const from = const_cast<std::remove_cv_t<T>*>(src);
    if constexpr (map_of<std::remove_cv_t<T>>::scan) {
      copy_words<std::remove_cv_t<T>>(reinterpret_cast<void**>(to), reinterpret_cast<void* const*>(from), n * sizeof(T) / sizeof(void*));
    } else {
      std::memmove(static_cast<void*>(to), static_cast<const void*>(from), n * sizeof(T));
    }
  } else {
    auto one = [&](size_t i) {
      ::new (static_cast<void*>(dst + i)) T(std::move(src[i]));
      src[i].~T();
    };
    if (std::less<>()(src, dst)) {
      for (size_t i = n; i-- > 0;) one(i);
    } else {
      for (size_t i = 0; i < n; ++i) one(i);
    }
  }
}
// The same for the pairs of maps, whose key is const to everybody else.
template <class K, class V>
void relocate_pairs(std::pair<const K, V>* dst, std::pair<const K, V>* src, size_t n) noexcept {
  if constexpr (relocatable<std::pair<const K, V>>) {
    relocate(dst, src, n);
  } else {
    static_assert(std::is_nothrow_move_constructible_v<K> && std::is_nothrow_move_constructible_v<V>,
                  "warren: keys and values of collected maps must be movable without exceptions: state noexcept, or hold a warren::ptr");
    if (n == 0 || dst == src) return;
    auto one = [&](size_t i) {
      ::new (static_cast<void*>(dst + i)) std::pair<const K, V>(std::move(const_cast<K&>(src[i].first)), std::move(src[i].second));
      using entry = std::pair<const K, V>;
      src[i].~entry();
    };
    if (std::less<>()(src, dst)) {
      for (size_t i = n; i-- > 0;) one(i);
    } else {
      for (size_t i = 0; i < n; ++i) one(i);
    }
  }
}

// A place for one element on the stack of the one who makes it: elements are constructed here, where an exception hurts nobody, and moved
// to where they belong.
template <class T>
class stack_place {
 public:
  stack_place() noexcept {}
  ~stack_place() {}
  stack_place(const stack_place&) = delete;
  stack_place& operator=(const stack_place&) = delete;
  T* at() noexcept { return &value_; }

 private:
  union {
    T value_;
  };
};

// Memory for N Ts inside a collected object, without Ts in it at first.
template <class T, size_t N>
struct raw_places {
  alignas(T) std::byte bytes[N * sizeof(T)];
  raw_places() noexcept {}  // leaves the heap's zeros alone
  T* at() noexcept { return reinterpret_cast<T*>(bytes); }
  const T* at() const noexcept { return reinterpret_cast<const T*>(bytes); }
};
template <class T, size_t N>
struct map_of<raw_places<T, N>> : map_of<T[N]> {};

// Zeroed memory for at least n elements without elements in it; *capacity: for how many. Throws std::bad_alloc, std::bad_array_new_length.
template <class T>
T* new_places(size_t n, size_t* capacity) {
  const type_descriptor& d = descriptor_of<std::remove_cv_t<T>>;
  *capacity = array_capacity(d, n);
  return static_cast<T*>(new_array(d, *capacity));
}

// What was stored before is visible to whoever finds the link stored after.
inline void publish() noexcept { std::atomic_thread_fence(std::memory_order_release); }

// std::out_of_range and std::length_error. what: the function that was called, as "warren::vector::at".
[[noreturn]] void throw_out_of_range(const char* what, size_t index, size_t size);
[[noreturn]] void throw_no_such_key(const char* what);
[[noreturn]] void throw_length_error(const char* what);

// What a container says of itself: no T of it lies in it, and its words may be moved.
template <class T>
concept collected_container = requires {
  typename T::warren_relocatable;
};
template <collected_container T>
constexpr bool zero_is_default<T> = true;

}  // namespace warren::detail
