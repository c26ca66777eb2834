#include "server/grpc/metadata_field.h"

#include <string>

#include "server/grpc/base64.h"
#include "server/grpc/reserved.h"

namespace warren::grpc {

bool add_field(metadata& into, std::string_view name, std::string_view value) {
  if (reserved_header(name)) return true;
  if (!name.ends_with("-bin")) {
    into.add_unchecked(name, value);
    return true;
  }
  bool good = true;
  for (std::string bytes;; bytes.clear()) {
    const size_t comma = value.find(',');
    std::string_view one = value.substr(0, comma);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (base64_decode(one, bytes)) {
      into.add_unchecked(name, bytes);
    } else {
      good = false;
    }
    if (comma == value.npos) return good;
    value.remove_prefix(comma + 1);
  }
}

}  // namespace warren::grpc
