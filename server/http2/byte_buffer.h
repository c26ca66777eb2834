// Bytes that grow at the end and are not zeroed first.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace warren::http2 {

class byte_buffer {
 public:
  byte_buffer() = default;
  byte_buffer(byte_buffer&& o) noexcept { swap(o); }
  byte_buffer& operator=(byte_buffer&& o) noexcept {
    swap(o);
    return *this;
  }
  ~byte_buffer() { std::free(data_); }

  const char* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept { size_ = 0; }
  void truncate(size_t n) noexcept { size_ = n < size_ ? n : size_; }

  // Makes it n bytes longer; returns where they begin.
  char* grow(size_t n) {
    if (capacity_ - size_ < n) make_room(size_ + n);
    char* at = data_ + size_;
    size_ += n;
    return at;
  }
  void append(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(grow(bytes.size()), bytes.data(), bytes.size());
  }
  // So that there is room for n bytes in all, and not more.
  void reserve(size_t n) {
    if (n <= capacity_) return;
    char* d = static_cast<char*>(std::realloc(data_, n));
    if (d == nullptr) throw std::bad_alloc();
    data_ = d;
    capacity_ = n;
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
  void make_room(size_t n) {
    constexpr size_t kLeast = 128;
    const size_t c = capacity_ * 2 < kLeast ? kLeast : capacity_ * 2;
    reserve(c < n ? n : c);
  }
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace warren::http2

namespace warren::grpc {
using http2::byte_buffer;
}  // namespace warren::grpc
