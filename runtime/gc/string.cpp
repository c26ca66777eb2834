#include "warren/string.h"

#include <string.h>

#include "runtime/os/siphash.h"
#include "warren/hash.h"

namespace warren {

namespace detail {
uint64_t hash_bytes(const void* data, size_t n) noexcept { return rt::siphash(data, n, rt::process_hash_key()); }
const hash_secret& the_hash_secret() noexcept {
  static const hash_secret s{rt::siphash("add", 3, rt::process_hash_key()), rt::siphash("multiply", 8, rt::process_hash_key()) | 1};
  return s;
}

namespace {
// n characters and a zero, which is the spare byte of arrays: fresh memory is zero.
char* new_characters(size_t n) { return static_cast<char*>(new_array(descriptor_of<char>, n)); }
}  // namespace
}  // namespace detail

string::string(std::string_view s) {
  if (s.empty()) return;
  char* const to = detail::new_characters(s.size());
  memcpy(to, s.data(), s.size());
  detail::publish();
  data_ = ptr<const char>(to);
  size_ = s.size();
}

string::string(size_t n, char c) {
  if (n == 0) return;
  char* const to = detail::new_characters(n);
  memset(to, c, n);
  detail::publish();
  data_ = ptr<const char>(to);
  size_ = n;
}

string string::concat(std::string_view a, std::string_view b) {
  const size_t n = a.size() + b.size();
  if (n < a.size() || n > max_size()) detail::throw_length_error("warren::string");
  if (n == 0) return {};
  char* const to = detail::new_characters(n);
  memcpy(to, a.data(), a.size());
  memcpy(to + a.size(), b.data(), b.size());
  detail::publish();
  return string(ptr<const char>(to), n);
}

const char* string::c_str() const {
  if (size_ == 0) return "";
  const char* const p = data_.get();
  if (p[size_] == '\0') return p;  // a character of the text or its spare byte
  return string(view()).data_.get();
}

void string_builder::grow(size_t n) {
  if (n > string::max_size()) detail::throw_length_error("warren::string_builder");
  size_t capacity = capacity_ * 2;
  if (capacity < n) capacity = n;
  if (capacity < 32) capacity = 32;
  char* const to = detail::new_places<char>(capacity, &capacity);
  if (size_ != 0) memcpy(to, data_.get(), size_);
  detail::publish();
  data_ = ptr<char>(to);
  capacity_ = capacity;
}

string_builder& string_builder::append(std::string_view s) {
  if (s.empty()) return *this;
  if (s.size() > string::max_size() - size_) detail::throw_length_error("warren::string_builder");
  reserve(size_ + s.size());  // s may be a view of our own text: the old memory stays while s is on the stack
  memmove(data_.get() + size_, s.data(), s.size());
  size_ += s.size();
  return *this;
}

string_builder& string_builder::append(size_t n, char c) {
  if (n > string::max_size() - size_) detail::throw_length_error("warren::string_builder");
  reserve(size_ + n);
  if (n != 0) memset(data_.get() + size_, c, n);
  size_ += n;
  return *this;
}

string string_builder::str() {
  string s;
  if (size_ < capacity_ / 4) {
    s = string(view());
  } else if (size_ != 0) {
    data_.get()[size_] = '\0';  // cleared and written again, the memory may hold something else there; the spare byte makes room
    detail::publish();
    s = string(ptr<const char>(data_), size_);
  }
  forget();
  return s;
}

}  // namespace warren
