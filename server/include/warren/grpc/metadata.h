// metadata: the key–value pairs that travel before and after the messages of a call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::grpc {

// An ordered list of pairs; a key may occur several times and keeps its order. Keys are lower case. Values of keys that end in "-bin" are
// arbitrary bytes here (base64 exists on the wire only); other values are printable ASCII and spaces.
// All text lies in one block, so that clearing and refilling costs no allocation. Views into it are valid until the next change.
// Not thread-safe.
class metadata {
 public:
  struct entry {
    std::string_view key;
    std::string_view value;
  };

  class iterator {
   public:
    using value_type = entry;
    using difference_type = std::ptrdiff_t;
    entry operator*() const { return (*of_)[at_]; }
    iterator& operator++() {
      ++at_;
      return *this;
    }
    iterator operator++(int) {
      iterator before = *this;
      ++at_;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) = default;

   private:
    friend class metadata;
    iterator(const metadata* of, size_t at) : of_(of), at_(at) {}
    const metadata* of_;
    size_t at_;
  };

  // Adds a pair; the key is brought to lower case. Returns false and adds nothing if the wire could not carry it or the protocol owns it:
  // a key with characters other than [0-9a-z_.-], an empty key, a reserved key (grpc-…, :…, te, content-type, connection …), a
  // text value with a byte outside 0x20–0x7E or a space at either end.
  bool add(std::string_view key, std::string_view value);

  // Adds without any check; for the transport, which has checked.
  void add_unchecked(std::string_view key, std::string_view value);

  std::optional<std::string_view> find(std::string_view key) const noexcept;  // the first value of a key
  std::vector<std::string_view> find_all(std::string_view key) const;         // all of them, in order

  size_t size() const noexcept { return places_.size(); }
  bool empty() const noexcept { return places_.empty(); }
  entry operator[](size_t i) const noexcept {
    const place& p = places_[i];
    return {std::string_view(text_).substr(p.at, p.key), std::string_view(text_).substr(p.at + p.key, p.value)};
  }
  iterator begin() const noexcept { return {this, 0}; }
  iterator end() const noexcept { return {this, places_.size()}; }
  void clear() noexcept {
    places_.clear();
    text_.clear();
  }

 private:
  struct place {
    uint32_t at;     // offset of the key in text_; the value follows it
    uint32_t key;    // length
    uint32_t value;  // length
  };
  std::string text_;
  std::vector<place> places_;
};

namespace detail {
using metadata_type = metadata;  // server_context has a member of that name
}

}  // namespace warren::grpc
