// Collected pointers and how to make what they point to: ptr, root, array, make, make_array, and what a collected class must tell.
//
//   struct node { int key = 0; warren::ptr<node> left, right; };          // an aggregate needs to say nothing
//   class tree { warren::ptr<node> top_; int n_; WARREN_FIELDS(top_, n_) };  // another class lists its fields
//   warren::ptr<node> n = warren::make<node>(7);
//
// Where pointers may live
//   ptr<T>   in collected objects, and on stacks of goroutines. Anywhere else (a global, a malloc'ed object, a std::vector) the collector
//   does
//            not see it: debug builds stop with a message that names root.
//   root<T>  anywhere. A registered cell: costs a lock to make and to destroy, so it is for globals, foreign memory and other threads.
//   T*, T&   borrowed by the goroutine that runs, from its own stack; never stored in a collected object (that does not compile).
//
// A collected object is kept while something reachable points to it or into it. Pointers into the middle count, and so does the address one
// past the end of an array. Objects never move. By default no destructor runs: see `finalized`.
//
// Threads: two goroutines may use one ptr as they may use one int, that is, not at the same time if one of them writes.
#pragma once
#include <compare>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <new>
#include <ranges>
#include <type_traits>
#include <utility>

#include "warren/detail/barrier.h"
#include "warren/detail/type_map.h"

namespace warren {

// ---- ptr --------------------------------------------------------------------------------------------------------------------------------
// 8 bytes. Loads and stores are relaxed atomics, because a collector may read while its owner writes. Every store passes the write barrier
// (warren/detail/barrier.h), which costs one test while no collection runs. Moving copies: a moved-from ptr keeps its value. Never throws,
// never parks.
template <class T>
class ptr {
  static_assert(!std::is_reference_v<T>, "warren: ptr<T&> makes no sense: a ptr points to an object; write ptr<T>");

 public:
  using element_type = T;

  constexpr ptr() noexcept { init_null(); }
  constexpr ptr(std::nullptr_t) noexcept { init_null(); }
  // From a borrowed pointer: p must be null or point to or into a collected object that the caller keeps alive. ptr<node>(this) is the
  // usual case.
  explicit ptr(T* p) noexcept { init(p); }
  constexpr ptr(const ptr& o) noexcept { init(o.get()); }
  template <class U>
  requires(std::is_convertible_v<U*, T*>) constexpr ptr(const ptr<U>& o) noexcept { init(o.get()); }

  constexpr ptr& operator=(const ptr& o) noexcept {
    assign(o.get());
    return *this;
  }
  template <class U>
  requires(std::is_convertible_v<U*, T*>) ptr& operator=(const ptr<U>& o) noexcept {
    assign(o.get());
    return *this;
  }
  ptr& operator=(std::nullptr_t) noexcept {
    assign(nullptr);
    return *this;
  }

  // The end of a ptr is a deletion: while a collection runs the barrier must see the value that goes, and clears the word. (constexpr, so
  // that a class whose destructor only destroys its ptrs can be told from one that was given a destructor by its author:
  // detail/type_map.h.)
  constexpr ~ptr() noexcept {
    if (!std::is_constant_evaluated() && detail::barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
      detail::barrier_destroy(word());
  }

  constexpr T* get() const noexcept {
    if (std::is_constant_evaluated()) return value_;
    return __atomic_load_n(&value_, __ATOMIC_RELAXED);
  }
  T* operator->() const noexcept { return get(); }
  std::add_lvalue_reference_t<T> operator*() const noexcept requires(!std::is_void_v<T>) { return *get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }

  friend void swap(ptr& a, ptr& b) noexcept {
    T* const was = a.get();
    a.assign(b.get());
    b.assign(was);
  }

 private:
  // Hides nothing and publishes nothing: the one store without a barrier.
  constexpr void init_null() noexcept {
    if (std::is_constant_evaluated()) {
      value_ = nullptr;
      return;
    }
    __atomic_store_n(&value_, static_cast<T*>(nullptr), __ATOMIC_RELAXED);
  }
  constexpr void init(T* p) noexcept {
    if (std::is_constant_evaluated()) {
      value_ = p;
      return;
    }
    __atomic_store_n(&value_, p, __ATOMIC_RELAXED);
    detail::compiler_barrier();
    if (detail::barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
      detail::barrier_construct(word(), p);
  }
  void assign(T* p) noexcept {
    T* const old = __atomic_load_n(&value_, __ATOMIC_RELAXED);
    __atomic_store_n(&value_, p, __ATOMIC_RELAXED);
    detail::compiler_barrier();
    if (detail::barrier_flags.load(std::memory_order_relaxed) != 0) [[unlikely]]
      detail::barrier_assign(word(), old, p);
  }
  void* word() noexcept { return const_cast<void*>(static_cast<const volatile void*>(&value_)); }

  T* value_;
};

// A collected array's first element. Knows no length: array<T> does.
template <class T>
class ptr<T[]> {
 public:
  using element_type = T;

  constexpr ptr() noexcept = default;
  constexpr ptr(std::nullptr_t) noexcept {}
  explicit ptr(T* first) noexcept : first_(first) {}
  template <class U>
  requires(std::is_convertible_v<U (*)[], T (*)[]>)  // adding const; never Derived to Base: the elements differ in size
      constexpr ptr(const ptr<U[]>& o) noexcept
      : first_(o.get()) {}

  T* get() const noexcept { return first_.get(); }
  T& operator[](size_t i) const noexcept { return first_.get()[i]; }
  explicit operator bool() const noexcept { return first_.get() != nullptr; }
  friend void swap(ptr& a, ptr& b) noexcept { swap(a.first_, b.first_); }

 private:
  template <class>
  friend struct detail::map_of;
  ptr<T> first_;
};

template <class T, class U>
bool operator==(const ptr<T>& a, const ptr<U>& b) noexcept {
  return a.get() == b.get();
}
template <class T>
bool operator==(const ptr<T>& a, std::nullptr_t) noexcept {
  return a.get() == nullptr;
}
template <class T, class U>
std::strong_ordering operator<=>(const ptr<T>& a, const ptr<U>& b) noexcept {
  return std::compare_three_way()(static_cast<const volatile void*>(a.get()), static_cast<const volatile void*>(b.get()));
}

// The casts of the language, for ptr.
template <class T, class U>
ptr<T> static_pointer_cast(const ptr<U>& p) noexcept {
  return ptr<T>(static_cast<T*>(p.get()));
}
template <class T, class U>
ptr<T> const_pointer_cast(const ptr<U>& p) noexcept {
  return ptr<T>(const_cast<T*>(p.get()));
}
template <class T, class U>
ptr<T> dynamic_pointer_cast(const ptr<U>& p) noexcept {
  return ptr<T>(dynamic_cast<T*>(p.get()));
}

// ---- array ------------------------------------------------------------------------------------------------------------------------------
// A run of collected elements: address and length, 16 bytes, copied like a view. The elements live as long as anybody points to or into
// them. Indexing is unchecked; at() ends the process with both numbers. Assigning an array that another goroutine reads is a race: address
// and length are two words.
template <class T>
class array {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  using iterator = T*;

  constexpr array() noexcept = default;
  array(ptr<T[]> first, size_t size) noexcept : first_(first), size_(size) {}
  template <class U>
  requires(std::is_convertible_v<U (*)[], T (*)[]>) array(const array<U>& o)
  noexcept : first_(o.data_ptr()), size_(o.size()) {}

  T* data() const noexcept { return first_.get(); }
  const ptr<T[]>& data_ptr() const noexcept { return first_; }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](size_t i) const noexcept { return first_[i]; }
  T& at(size_t i) const {
    if (i >= size_) [[unlikely]]
      detail::index_out_of_range(i, size_);
    return first_[i];
  }
  T* begin() const noexcept { return data(); }
  T* end() const noexcept { return data() + size_; }
  T& front() const noexcept { return first_[0]; }
  T& back() const noexcept { return first_[size_ - 1]; }
  // Elements [from, to): shares them, and keeps the whole array alive. REQUIRES: from <= to <= size().
  array slice(size_t from, size_t to) const noexcept { return array(ptr<T[]>(data() + from), to - from); }

  explicit operator bool() const noexcept { return size_ != 0; }
  // The same elements, not equal ones.
  friend bool operator==(const array& a, const array& b) noexcept { return a.data() == b.data() && a.size_ == b.size_; }

 private:
  template <class>
  friend struct detail::map_of;
  ptr<T[]> first_;
  size_t size_ = 0;
};

// ---- root -------------------------------------------------------------------------------------------------------------------------------
// Keeps a collected object alive from memory the collector does not scan. A null root costs nothing; the first value takes a cell (a lock,
// no allocation as a rule), kept until the root is destroyed. Moving hands the cell over. Any thread may make, copy, assign and destroy
// roots, also one the runtime did not start and a goroutine inside blocking(); while a collection has the world stopped such a thread waits
// for its end. One root is not to be written by two threads at once. get() is one load. A root outside any run of the runtime keeps its
// object too: the heap outlives warren::run.
template <class T>
class root {
 public:
  using element_type = T;

  constexpr root() noexcept = default;
  constexpr root(std::nullptr_t) noexcept {}
  template <class U>
  requires(std::is_convertible_v<U*, T*>) root(const ptr<U>& p) : cell_(detail::root_new(p.get())) {}
  root(const root& o) : cell_(detail::root_copy(o.cell_)) {}
  root(root&& o) noexcept : cell_(std::exchange(o.cell_, nullptr)) {}
  ~root() {
    if (cell_ != nullptr) detail::root_delete(cell_);
  }

  root& operator=(const root& o) {
    if (this != &o) detail::root_assign(&cell_, o.cell_);
    return *this;
  }
  root& operator=(root&& o) noexcept {
    std::swap(cell_, o.cell_);
    return *this;
  }
  template <class U>
  requires(std::is_convertible_v<U*, T*>) root& operator=(const ptr<U>& p) {
    detail::root_set(&cell_, p.get());
    return *this;
  }
  root& operator=(std::nullptr_t) {
    detail::root_set(&cell_, nullptr);
    return *this;
  }

  T* get() const noexcept { return cell_ == nullptr ? nullptr : static_cast<T*>(detail::root_get(cell_)); }
  T* operator->() const noexcept { return get(); }
  std::add_lvalue_reference_t<T> operator*() const noexcept requires(!std::is_void_v<T>) { return *get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }
  // On a goroutine: a ptr to the same object.
  operator ptr<T>() const noexcept { return ptr<T>(get()); }

  friend bool operator==(const root& a, const root& b) noexcept { return a.get() == b.get(); }
  friend bool operator==(const root& a, std::nullptr_t) noexcept { return a.get() == nullptr; }

 private:
  detail::root_cell* cell_ = nullptr;
};

// ---- make -------------------------------------------------------------------------------------------------------------------------------
// Makes a collected T from args. On a goroutine (a thread without one is told so and ends the process). May run a collection, and so park.
// Throws std::bad_alloc when the heap's reservation is exhausted even after a collection, and what T's constructor throws.
// If T is an aggregate, args initialize its fields in order, without narrowing (g++ lets it pass, clang does not).
template <class T, class... A>
[[nodiscard]] ptr<T> make(A&&... args) {
  static_assert(!std::is_array_v<T>, "warren: make<T[]> is spelled make_array<T>(n)");
  static_assert(std::is_object_v<T> && !std::is_const_v<T>, "warren: make needs a plain object type");
  detail::check_collected<T>();
  void* const place = detail::new_object(detail::descriptor_of<T>);
  T* object;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // fewer arguments than fields are fine: the others are value-initialized
  if constexpr (sizeof...(A) == 0 && detail::trivially_zero<T>) {
    object = static_cast<T*>(place);  // fresh memory is zero: of an implicit-lifetime type that is an object already
  } else if constexpr (std::is_constructible_v<T, A...>) {
    object = ::new (place) T(std::forward<A>(args)...);
  } else {
    object = ::new (place) T{std::forward<A>(args)...};
  }
#pragma GCC diagnostic pop
  // Words that may be pointers and were not written through a ptr: a collection that marks has made the object black, and must see them.
  if constexpr (detail::descriptor_of<T>.kind == detail::layout_kind::ambiguous)
    detail::barrier_words(object, sizeof(T) / sizeof(void*) * sizeof(void*));
  if constexpr (detail::is_finalized<T>) detail::register_finalizer(object, detail::descriptor_of<T>);
  return ptr<T>(object);
}

namespace detail {
template <class T>
constexpr bool is_finalized_element() {
  if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return is_finalized<T>;
  } else {
    return false;
  }
}
// n elements, element i constructed by construct(place, i). If that throws, the elements made so far are forgotten; finalized ones are
// destroyed by the finalizers, since each is registered as soon as it is there.
template <class T, class F>
array<T> make_elements(size_t n, F&& construct) {
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>, "warren: make_array needs a plain object type");
  check_collected<T>();
  if (n == 0) return {};
  T* const first = static_cast<T*>(new_array(descriptor_of<T>, n));
  for (size_t i = 0; i < n; ++i) {
    construct(static_cast<void*>(first + i), i);
    if constexpr (is_finalized_element<T>()) {
      try {
        register_finalizer(first + i, descriptor_of<T>);
      } catch (...) {
        first[i].~T();
        throw;
      }
    }
  }
  return array<T>(ptr<T[]>(first), n);
}
}  // namespace detail

// Makes n collected elements, value-initialized. n = 0 gives an empty array without memory. One byte more than n elements is taken, so that
// the address one past the end belongs to the array. Finalized elements are destroyed one by one, in no order, when the whole array is
// unreachable. Throws as make does, and std::bad_array_new_length.
template <class T>
[[nodiscard]] array<T> make_array(size_t n) {
  // Fresh memory is zero, which is what value-initialization means for many.
  if constexpr (detail::zero_is_default<T> && !detail::is_finalized_element<T>()) {
    static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>, "warren: make_array needs a plain object type");
    detail::check_collected<T>();
    if (n == 0) return {};
    return array<T>(ptr<T[]>(static_cast<T*>(detail::new_array(detail::descriptor_of<T>, n))), n);
  } else {
    return detail::make_elements<T>(n, [](void* place, size_t) { ::new (place) T(); });
  }
}
// n copies of value.
template <class T>
[[nodiscard]] array<T> make_array(size_t n, const T& value) {
  return detail::make_elements<T>(n, [&](void* place, size_t) { ::new (place) T(value); });
}
// The elements of a list or another range, which is gone through once: its size must be known.
template <class T>
[[nodiscard]] array<T> make_array(std::initializer_list<T> list) {
  return detail::make_elements<T>(list.size(), [&](void* place, size_t i) { ::new (place) T(list.begin()[i]); });
}
template <std::ranges::sized_range R>
requires(std::ranges::input_range<R>) [[nodiscard]] array<std::ranges::range_value_t<R>> make_array_from(R&& range) {
  auto at = std::ranges::begin(range);
  return detail::make_elements<std::ranges::range_value_t<R>>(static_cast<size_t>(std::ranges::size(range)), [&](void* place, size_t) {
    ::new (place) std::ranges::range_value_t<R>(*at);
    ++at;
  });
}

// ---- keep_alive -------------------------------------------------------------------------------------------------------------------------
// What p points to is reachable up to here. Needed where the object's destructor or cleanup takes away what is still in use through
// something that does not point to the object:
//
//   const int fd = file->fd();
//   read(fd, …);                  // the compiler needs `file` no more: a collection may close fd meanwhile
//   warren::keep_alive(file);
//
// Costs nothing but the pointer's being somewhere.
template <class T>
void keep_alive(const ptr<T>& p) noexcept {
  asm volatile("" : : "r"(p.get()) : "memory");
}
inline void keep_alive(const volatile void* p) noexcept { asm volatile("" : : "r"(p) : "memory"); }

}  // namespace warren

template <class T>
struct std::hash<warren::ptr<T>> {
  size_t operator()(const warren::ptr<T>& p) const noexcept { return std::hash<const volatile void*>()(p.get()); }
};
