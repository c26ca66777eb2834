// string: immutable text on the collected heap; string_builder: where text is put together.
//
//   warren::string s = "answer: ";      // copies the characters once
//   s += std::to_string(42);            // a new string; whoever holds the old one keeps it
//   std::string_view v = s;             // as good as s while v is on a goroutine's stack
//   warren::string tail = s.substr(8);  // shares the characters
//
// Why immutable (unlike std::string, like Go's): a string is then an address and a length, 16 bytes, copied and passed without touching the
// heap; it can be a key that nobody changes under the map; substr costs nothing; two goroutines may read one without a thought. Text that
// grows is a string_builder, which hands its memory over at the end.
//
// Why no small-string buffer: its bytes would lie in the words the collector reads, and any text would pass for a pointer; a view into it
// would end with the string, where now a view keeps the characters; and strings below 16 bytes share blocks of the heap anyway.
//
// The characters may be any bytes. size() is in bytes. Making a string is for goroutines and may run a collection; reading one is for
// anybody. Assigning a string that another goroutine reads is a race: it is two words.
#pragma once
#include <compare>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "warren/detail/bulk.h"
#include "warren/hash.h"
#include "warren/ptr.h"

namespace warren {

class string_builder;

class string {
 public:
  using value_type = char;
  using size_type = size_t;
  using difference_type = ptrdiff_t;
  using reference = const char&;
  using const_reference = const char&;
  using pointer = const char*;
  using const_pointer = const char*;
  using iterator = const char*;
  using const_iterator = const char*;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = reverse_iterator;
  using traits_type = std::char_traits<char>;
  using warren_relocatable = void;
  static constexpr size_t npos = std::string_view::npos;

  constexpr string() noexcept = default;
  // Copies the characters. Throws std::bad_alloc.
  string(std::string_view s);
  string(const char* s) : string(std::string_view(s)) {}
  string(const std::string& s) : string(std::string_view(s)) {}
  string(const char* s, size_t n) : string(std::string_view(s, n)) {}
  string(size_t n, char c);
  string(std::nullptr_t) = delete;
  template <std::input_iterator I>
  string(I first, I last);

  // ---- reading ----
  // A view keeps the characters while it is on a goroutine's stack. (Not in a collected object: there it does not compile.)
  operator std::string_view() const noexcept { return {data(), size_}; }
  std::string_view view() const noexcept { return {data(), size_}; }
  explicit operator std::string() const { return std::string(view()); }
  std::string str() const { return std::string(view()); }
  // Never null. Ends with a zero only if this is not a part of a longer string: c_str() does always.
  const char* data() const noexcept { return size_ == 0 ? "" : data_.get(); }
  // The characters with a zero behind them, for functions of C; copied if they are the front part of a longer string. The collector does
  // not see an address that such a function keeps.
  const char* c_str() const;

  size_t size() const noexcept { return size_; }
  size_t length() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  static constexpr size_t max_size() noexcept { return (size_t{1} << 47) - 1; }
  const char& operator[](size_t i) const noexcept { return data()[i]; }
  const char& at(size_t i) const {
    if (i >= size_) [[unlikely]]
      detail::throw_out_of_range("warren::string::at", i, size_);
    return data()[i];
  }
  const char& front() const noexcept { return data()[0]; }
  const char& back() const noexcept { return data()[size_ - 1]; }
  iterator begin() const noexcept { return data(); }
  iterator end() const noexcept { return data() + size_; }
  iterator cbegin() const noexcept { return begin(); }
  iterator cend() const noexcept { return end(); }
  reverse_iterator rbegin() const noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() const noexcept { return reverse_iterator(begin()); }

  bool starts_with(std::string_view s) const noexcept { return view().starts_with(s); }
  bool ends_with(std::string_view s) const noexcept { return view().ends_with(s); }
  bool contains(std::string_view s) const noexcept { return view().find(s) != npos; }
  size_t find(std::string_view s, size_t from = 0) const noexcept { return view().find(s, from); }
  size_t find(char c, size_t from = 0) const noexcept { return view().find(c, from); }
  size_t rfind(std::string_view s, size_t from = npos) const noexcept { return view().rfind(s, from); }
  size_t rfind(char c, size_t from = npos) const noexcept { return view().rfind(c, from); }
  size_t find_first_of(std::string_view s, size_t from = 0) const noexcept { return view().find_first_of(s, from); }
  size_t find_last_of(std::string_view s, size_t from = npos) const noexcept { return view().find_last_of(s, from); }
  size_t find_first_not_of(std::string_view s, size_t from = 0) const noexcept { return view().find_first_not_of(s, from); }
  size_t find_last_not_of(std::string_view s, size_t from = npos) const noexcept { return view().find_last_not_of(s, from); }
  int compare(std::string_view s) const noexcept { return view().compare(s); }

  // ---- making others ----
  // Characters [from, from + n), shared: keeps the whole text alive (compact() does not). Throws std::out_of_range if from > size().
  string substr(size_t from, size_t n = npos) const {
    if (from > size_) [[unlikely]]
      detail::throw_out_of_range("warren::string::substr", from, size_);
    const size_t left = size_ - from;
    return string(ptr<const char>(data_.get() == nullptr ? nullptr : data_.get() + from), n < left ? n : left);
  }
  // The same text in memory of its own.
  string compact() const { return string(view()); }
  string& operator+=(std::string_view s) { return *this = concat(view(), s); }
  string& operator+=(char c) { return *this = concat(view(), {&c, 1}); }
  template <detail::string_like S>
  friend string operator+(const string& a, const S& b) {
    return concat(a.view(), b);
  }
  template <detail::string_like S>
  requires(!std::is_same_v<S, string>) friend string operator+(const S& a, const string& b) { return concat(a, b.view()); }

  friend void swap(string& a, string& b) noexcept {
    swap(a.data_, b.data_);
    std::swap(a.size_, b.size_);
  }

  template <detail::string_like S>
  friend bool operator==(const string& a, const S& b) noexcept {
    return a.view() == std::string_view(b);
  }
  template <detail::string_like S>
  friend std::strong_ordering operator<=>(const string& a, const S& b) noexcept {
    return a.view() <=> std::string_view(b);
  }
  template <class Tr>
  friend std::basic_ostream<char, Tr>& operator<<(std::basic_ostream<char, Tr>& os, const string& s) {
    return os << std::basic_string_view<char, Tr>(s.data(), s.size_);
  }

 private:
  friend class string_builder;
  string(const ptr<const char>& data, size_t size) noexcept : data_(data), size_(size) {
    if (size == 0) data_ = nullptr;  // keeps nothing
  }
  static string concat(std::string_view a, std::string_view b);

  // The byte behind a whole string's characters is zero: the spare byte of arrays. The bytes behind a part are the rest.
  ptr<const char> data_;
  size_t size_ = 0;
  WARREN_FIELDS(data_, size_);
};

// Text that grows: amortized appending, then str(). A value like vector<char>.
class string_builder {
 public:
  using warren_relocatable = void;

  string_builder() noexcept = default;
  string_builder& append(std::string_view s);
  string_builder& append(size_t n, char c);
  string_builder& push_back(char c) {
    reserve(size_ + 1);
    data_.get()[size_++] = c;
    return *this;
  }
  string_builder& operator+=(std::string_view s) { return append(s); }
  string_builder& operator+=(char c) { return push_back(c); }
  // Room for n characters in all.
  void reserve(size_t n) {
    if (n > capacity_) grow(n);
  }
  void clear() noexcept { size_ = 0; }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::string_view view() const noexcept { return {size_ == 0 ? "" : data_.get(), size_}; }
  // The text as a string. Hands the memory over, unless most of it is unused, and leaves the builder empty.
  string str();

  string_builder(const string_builder& o) { append(o.view()); }
  string_builder(string_builder&& o) noexcept : data_(o.data_), size_(o.size_), capacity_(o.capacity_) { o.forget(); }
  string_builder& operator=(string_builder o) noexcept {  // NOLINT(performance-unnecessary-value-param): a copy or what was moved
    data_ = o.data_;
    size_ = o.size_;
    capacity_ = o.capacity_;
    return *this;
  }

 private:
  void grow(size_t n);
  void forget() noexcept {
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

  ptr<char> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
  WARREN_FIELDS(data_, size_, capacity_);
};

template <std::input_iterator I>
string::string(I first, I last) {
  string_builder b;
  for (; first != last; ++first) b.push_back(*first);
  *this = b.str();
}

}  // namespace warren

// For string as a key of std's tables; keyed like warren::hash.
template <>
struct std::hash<warren::string> : warren::hash<warren::string> {};
