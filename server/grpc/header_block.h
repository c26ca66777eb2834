// header_block: the fields of a header block to be sent, of a request or an answer.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <warren/grpc/metadata.h>

namespace warren::grpc {

// Points to the name and the value, which stay where they are until the frame is written.
inline nghttp2_nv field(std::string_view name, std::string_view value) {
  // nghttp2 takes non-const pointers and, with these flags, neither writes nor copies.
  return {const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(name.data())),
          const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// One block after another of one stream. nghttp2 copies the list of fields when the block is submitted, and reads what they point to when
// it writes the frame, which is later: values that the block has made itself it keeps until reset().
class header_block {
 public:
  // A new block.
  void begin() noexcept { fields_.clear(); }
  void add(const nghttp2_nv& f) { fields_.push_back(f); }
  void add(std::string_view name, std::string_view value) { add(field(name, value)); }
  // A value that nobody else keeps.
  void add_text(std::string_view name, std::string&& value) { add(name, texts_.emplace_back(std::move(value))); }
  // Values of keys that end in "-bin" as base64.
  void add(const metadata& pairs);

  std::span<const nghttp2_nv> fields() const noexcept { return fields_; }

  // The stream is over: no frame of it will be written.
  void reset() noexcept {
    fields_.clear();
    texts_.clear();
  }

 private:
  std::vector<nghttp2_nv> fields_;
  std::deque<std::string> texts_;
};

}  // namespace warren::grpc
