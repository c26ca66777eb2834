// The admin port's request parser: never reads beyond its input, gives the same answer however the input is cut, and never changes its
// mind: what was refused stays refused when more comes, what was complete stays complete with the same length.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "server/admin/request.h"

using warren::admin::parse_request;
using warren::admin::parse_result;
using warren::admin::request;

namespace {

// On a copy of exactly that size, so that AddressSanitizer sees every byte too many.
parse_result parse_front(const uint8_t* data, size_t size, request* r, std::unique_ptr<char[]>* keep) {
  *keep = std::make_unique<char[]>(size);
  for (size_t i = 0; i < size; i++) (*keep)[i] = static_cast<char>(data[i]);
  return parse_request(std::string_view(keep->get(), size), r);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  request whole;
  std::unique_ptr<char[]> keep, keep_part;
  const parse_result end = parse_front(data, size, &whole, &keep);
  if (end.what == parse_result::kind::complete) {
    if (end.consumed > size || end.consumed > warren::admin::max_head) std::abort();
    if (whole.path.empty() || whole.path.front() != '/') std::abort();
    for (const std::string_view v : {whole.path, whole.query}) {
      if (!v.empty() && (v.data() < keep.get() || v.data() + v.size() > keep.get() + size)) std::abort();
    }
  }
  // Cut where the input says, to keep it quick.
  const size_t cuts[] = {size / 2, size > 0 ? data[0] % (size + 1) : 0, size > 0 ? size - 1 : 0};
  for (const size_t cut : cuts) {
    request part;
    const parse_result p = parse_front(data, cut, &part, &keep_part);
    if (p.what == parse_result::kind::complete && (end.what != p.what || end.consumed != p.consumed)) std::abort();
    if (p.what == parse_result::kind::refused && (end.what != p.what || end.status == 0)) std::abort();
  }
  return 0;
}
