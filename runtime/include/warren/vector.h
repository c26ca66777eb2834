// vector: std::vector whose elements lie on the collected heap.
//
// A value like std::vector: copying copies the elements, moving takes the store and leaves an empty vector, a const vector has const
// elements. Differences:
//   - Elements are freed without their destructors when the vector is forgotten, so what needs one does not compile (warren::string instead
//     of std::string, warren::ptr to a `finalized` object). Elements that are erased, popped, overwritten or cleared are destroyed at once.
//   - Iterators are plain pointers. One that is used after the vector grew reads elements as they were: the old store lives as long as an
//     address in it is on a goroutine's stack. It is still a mistake.
//   - vector<bool> is a vector of bools.
//   - at() throws std::out_of_range as std::vector's does.
//
// A vector lives where a ptr may live: in collected objects and on goroutine stacks. Elsewhere: root<vector<T>> r = make<vector<T>>().
// Operations that allocate may run a collection and park, are for goroutines only, and throw std::bad_alloc; the strong guarantee holds
// where std::vector gives it. Two goroutines may use one vector at the same time only if both read.
#pragma once
#include <algorithm>
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

#include "warren/detail/bulk.h"
#include "warren/ptr.h"

namespace warren {

template <class T>
class vector {
 public:
  using value_type = T;
  using size_type = size_t;
  using difference_type = ptrdiff_t;
  using reference = T&;
  using const_reference = const T&;
  using pointer = T*;
  using const_pointer = const T*;
  using iterator = T*;
  using const_iterator = const T*;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;
  using warren_relocatable = void;

  constexpr vector() noexcept = default;
  explicit vector(size_t n) { resize(n); }
  vector(size_t n, const T& value) { assign(n, value); }
  template <std::input_iterator I>
  vector(I first, I last) {
    append_range(first, last);
  }
  vector(std::initializer_list<T> list) { append_range(list.begin(), list.end()); }
  vector(const vector& o) { append_range(o.begin(), o.end()); }
  vector(vector&& o) noexcept : data_(o.data_), size_(o.size_), capacity_(o.capacity_) { o.forget(); }

  vector& operator=(const vector& o) {
    if (this != &o) *this = vector(o);
    return *this;
  }
  vector& operator=(vector&& o) noexcept {
    if (this != &o) {
      data_ = o.data_;
      size_ = o.size_;
      capacity_ = o.capacity_;
      o.forget();
    }
    return *this;
  }
  vector& operator=(std::initializer_list<T> list) { return *this = vector(list); }

  void assign(size_t n, const T& value) {
    vector fresh;
    fresh.reserve(n);
    while (fresh.size_ < n) fresh.emplace_back(value);
    *this = std::move(fresh);
  }
  template <std::input_iterator I>
  void assign(I first, I last) {
    *this = vector(first, last);
  }
  void assign(std::initializer_list<T> list) { *this = vector(list); }

  // ---- elements ----
  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  size_t capacity() const noexcept { return capacity_; }
  static constexpr size_t max_size() noexcept { return (size_t{1} << 47) / sizeof(T); }

  T& operator[](size_t i) noexcept { return data_.get()[i]; }
  const T& operator[](size_t i) const noexcept { return data_.get()[i]; }
  T& at(size_t i) {
    if (i >= size_) [[unlikely]]
      detail::throw_out_of_range("warren::vector::at", i, size_);
    return data_.get()[i];
  }
  const T& at(size_t i) const { return const_cast<vector*>(this)->at(i); }
  T& front() noexcept { return *data(); }
  const T& front() const noexcept { return *data(); }
  T& back() noexcept { return data()[size_ - 1]; }
  const T& back() const noexcept { return data()[size_ - 1]; }

  iterator begin() noexcept { return data(); }
  iterator end() noexcept { return data() + size_; }
  const_iterator begin() const noexcept { return data(); }
  const_iterator end() const noexcept { return data() + size_; }
  const_iterator cbegin() const noexcept { return begin(); }
  const_iterator cend() const noexcept { return end(); }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
  const_reverse_iterator crbegin() const noexcept { return rbegin(); }
  const_reverse_iterator crend() const noexcept { return rend(); }

  // The elements as a view that keeps the store alive (not the vector: a vector that grows has another store).
  array<T> elements() const noexcept { return array<T>(data_, size_); }

  // ---- growing ----
  void reserve(size_t n) {
    if (n > max_size()) detail::throw_length_error("warren::vector::reserve");
    if (n > capacity_) move_to_new_store(n);
  }
  // Gives up spare memory, if a smaller slot would hold the elements.
  void shrink_to_fit() {
    if (size_ == 0) {
      forget();
    } else if (size_ < capacity_ && detail::array_capacity(detail::descriptor_of<T>, size_) < capacity_) {
      move_to_new_store(size_);
    }
  }

  void push_back(const T& v) { emplace_back(v); }
  void push_back(T&& v) { emplace_back(std::move(v)); }
  template <class... A>
  T& emplace_back(A&&... args) {
    detail::check_element<T>();
    if (size_ < capacity_) [[likely]] {
      construct(data() + size_, std::forward<A>(args)...);
    } else {
      grow_and_append(std::forward<A>(args)...);
    }
    return data()[size_++];
  }

  void resize(size_t n) {
    if (n <= size_) return cut(n);
    reserve(n);
    append_constructed(n);
  }
  void resize(size_t n, const T& value) {
    if (n <= size_) return cut(n);
    if (n > capacity_) {
      const T copy(value);  // may be one of ours
      reserve(n);
      append_constructed(n, copy);
    } else {
      append_constructed(n, value);
    }
  }

  iterator insert(const_iterator at, const T& v) { return emplace(at, v); }
  iterator insert(const_iterator at, T&& v) { return emplace(at, std::move(v)); }
  iterator insert(const_iterator at, size_t n, const T& v) {
    const size_t i = index_of(at);
    vector fresh;
    fresh.assign(n, v);
    return splice(i, fresh);
  }
  template <std::input_iterator I>
  iterator insert(const_iterator at, I first, I last) {
    const size_t i = index_of(at);
    vector fresh(first, last);
    return splice(i, fresh);
  }
  iterator insert(const_iterator at, std::initializer_list<T> list) { return insert(at, list.begin(), list.end()); }
  // The element is made first, then room for it: args may refer to elements.
  template <class... A>
  iterator emplace(const_iterator at, A&&... args) {
    const size_t i = index_of(at);
    if (i == size_) {
      emplace_back(std::forward<A>(args)...);
      return data() + i;
    }
    if constexpr (kMovesInBulk) {
      detail::stack_place<T> made;
      construct(made.at(), std::forward<A>(args)...);
      try {
        if (size_ == capacity_) move_to_new_store(next_capacity(size_ + 1));
      } catch (...) {
        detail::end_elements(made.at(), 1);
        throw;
      }
      detail::relocate(data() + i + 1, data() + i, size_ - i);
      detail::relocate(data() + i, made.at(), 1);
      ++size_;
    } else {
      emplace_back(std::forward<A>(args)...);
      std::rotate(data() + i, data() + size_ - 1, data() + size_);
    }
    return data() + i;
  }

  // ---- shrinking: what goes is destroyed, with its deletion barrier, and its place cleared ----
  void pop_back() noexcept { detail::end_elements(data() + --size_, 1); }
  void clear() noexcept { cut(0); }
  iterator erase(const_iterator at) { return erase(at, at + 1); }
  iterator erase(const_iterator first, const_iterator last) {
    const size_t from = index_of(first), n = static_cast<size_t>(last - first);
    if (n == 0) return data() + from;
    T* const hole = data() + from;
    if constexpr (kMovesInBulk) {
      if constexpr (!detail::relocatable<T>) {
        for (size_t i = 0; i < n; ++i) hole[i].~T();
      }
      detail::relocate(hole, hole + n, size_ - from - n);  // over what is erased: the barrier sees both
      size_ -= n;
      detail::clear_places(data() + size_, n);
    } else {
      std::move(hole + n, end(), hole);
      cut(size_ - n);
    }
    return data() + from;
  }

  void swap(vector& o) noexcept {
    using std::swap;
    swap(data_, o.data_);
    swap(size_, o.size_);
    swap(capacity_, o.capacity_);
  }
  friend void swap(vector& a, vector& b) noexcept { a.swap(b); }

  friend bool operator==(const vector& a, const vector& b) requires std::equality_comparable<T> {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
  friend auto operator<=>(const vector& a, const vector& b) requires std::three_way_comparable<T> {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  static constexpr bool kMovesInBulk = detail::relocatable<T> || std::is_nothrow_move_constructible_v<T>;

  size_t index_of(const T* at) const noexcept { return static_cast<size_t>(at - data()); }
  size_t next_capacity(size_t least) const noexcept {
    const size_t twice = capacity_ < 4096 / sizeof(T) ? capacity_ * 2 : capacity_ + capacity_ / 2;
    return std::max({least, twice, size_t{4}});
  }
  void forget() noexcept {
    data_ = ptr<T[]>();
    size_ = capacity_ = 0;
  }

  template <class... A>
  static void construct(T* at, A&&... args) {
    if constexpr (std::is_constructible_v<T, A...>) {
      std::construct_at(at, std::forward<A>(args)...);
    } else {
      ::new (static_cast<void*>(at)) T{std::forward<A>(args)...};
    }
  }
  void cut(size_t n) noexcept {
    const size_t was = size_;
    size_ = n;
    detail::end_elements(data() + n, was - n);
  }
  template <class... A>
  void append_constructed(size_t n, const A&... args) {
    const size_t was = size_;
    try {
      for (; size_ < n; ++size_) construct(data() + size_, args...);
    } catch (...) {
      detail::clear_places(data() + size_, 1);  // a constructor that threw may have left ptrs behind
      cut(was);
      throw;
    }
  }
  template <class I, class S>
  void append_range(I first, S last) {
    if constexpr (std::sized_sentinel_for<S, I>) reserve(size_ + static_cast<size_t>(last - first));
    for (; first != last; ++first) emplace_back(*first);
  }

  void adopt(T* store, size_t capacity) noexcept {
    detail::publish();
    data_ = ptr<T[]>(store);
    capacity_ = capacity;
  }
  // The elements as they are, to a store that nobody knows yet. Where moving may throw they are copied, and on an exception nothing has
  // changed.
  void fill_store(T* store) {
    if constexpr (kMovesInBulk) {
      detail::relocate(store, data(), size_);
    } else {
      size_t made = 0;
      try {
        for (; made < size_; ++made) std::construct_at(store + made, std::move_if_noexcept(data()[made]));
      } catch (...) {
        detail::end_elements(store, made);
        throw;
      }
      detail::end_elements(data(), size_);
    }
  }
  void move_to_new_store(size_t n) {
    detail::check_element<T>();
    size_t capacity;
    T* const store = detail::new_places<T>(n, &capacity);
    fill_store(store);
    adopt(store, capacity);
  }
  // The new element is made before the others move: args may refer to one of them.
  template <class... A>
  [[gnu::noinline]] void grow_and_append(A&&... args) {
    if (size_ == max_size()) detail::throw_length_error("warren::vector");
    size_t capacity;
    T* const store = detail::new_places<T>(next_capacity(size_ + 1), &capacity);
    construct(store + size_, std::forward<A>(args)...);
    try {
      fill_store(store);
    } catch (...) {
      detail::end_elements(store + size_, 1);
      throw;
    }
    adopt(store, capacity);
  }
  // Moves the elements of `fresh` in before element i.
  iterator splice(size_t i, vector& fresh) {
    const size_t n = fresh.size_;
    if (n == 0) return data() + i;
    if (size_ + n > capacity_) move_to_new_store(next_capacity(size_ + n));
    if constexpr (kMovesInBulk) {
      detail::relocate(data() + i + n, data() + i, size_ - i);
      detail::relocate(data() + i, fresh.data(), n);
      size_ += n;
      fresh.forget();
    } else {
      const size_t was = size_;
      for (T& v : fresh) emplace_back(std::move(v));
      std::rotate(data() + i, data() + was, data() + size_);
    }
    return data() + i;
  }

  ptr<T[]> data_;  // capacity_ places, the first size_ of them elements, the others null
  size_t size_ = 0;
  size_t capacity_ = 0;
  WARREN_FIELDS(data_, size_, capacity_);
};

template <std::input_iterator I>
vector(I, I) -> vector<std::iter_value_t<I>>;

template <class T, class U>
size_t erase(vector<T>& v, const U& value) {
  return erase_if(v, [&](const T& x) { return x == value; });
}
template <class T, class F>
size_t erase_if(vector<T>& v, F pred) {
  const auto keep = std::remove_if(v.begin(), v.end(), std::move(pred));
  const size_t n = static_cast<size_t>(v.end() - keep);
  v.erase(keep, v.end());
  return n;
}

// [1, 2, 3]
template <class C, class Tr, class T>
std::basic_ostream<C, Tr>& operator<<(std::basic_ostream<C, Tr>& os, const vector<T>& v) {
  os << '[';
  const char* between = "";
  for (const T& x : v) {
    os << between << x;
    between = ", ";
  }
  return os << ']';
}

}  // namespace warren
