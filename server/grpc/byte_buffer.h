// Bytes that grow at the end and are not zeroed first.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace warren::grpc {

class byte_buffer {
 public:
  byte_buffer() = default;
  byte_buffer(const byte_buffer&) = delete;
  byte_buffer& operator=(const byte_buffer&) = delete;
  ~byte_buffer() { std::free(data_); }

  const char* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept { size_ = 0; }
  void truncate(size_t n) noexcept { size_ = n < size_ ? n : size_; }

  // Makes it n bytes longer; returns where they begin.
  char* grow(size_t n) {
    if (capacity_ - size_ < n) reserve(size_ + n);
    char* at = data_ + size_;
    size_ += n;
    return at;
  }
  void append(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(grow(bytes.size()), bytes.data(), bytes.size());
  }
  void drop_front(size_t n) noexcept {
    size_ -= n;
    std::memmove(data_, data_ + n, size_);
  }
  char* data() noexcept { return data_; }
  size_t capacity() const noexcept { return capacity_; }
  // Empties it; gives the memory back if there is more than keep bytes.
  void reset(size_t keep) noexcept {
    size_ = 0;
    if (capacity_ > keep) {
      std::free(std::exchange(data_, nullptr));
      capacity_ = 0;
    }
  }
  void swap(byte_buffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
  }

 private:
  void reserve(size_t n) {
    constexpr size_t kLeast = 128;
    size_t c = capacity_ * 2 < kLeast ? kLeast : capacity_ * 2;
    if (c < n) c = n;
    char* d = static_cast<char*>(std::realloc(data_, c));
    if (d == nullptr) throw std::bad_alloc();
    data_ = d;
    capacity_ = c;
  }
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace warren::grpc
