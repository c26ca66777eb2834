#include "server/grpc/header_block.h"

#include "server/grpc/base64.h"

namespace warren::grpc {

void header_block::add(const metadata& pairs) {
  for (const auto e : pairs) {
    if (!e.key.ends_with("-bin")) {
      add(e.key, e.value);
      continue;
    }
    std::string text;
    base64_encode(e.value, text);
    add_text(e.key, std::move(text));
  }
}

}  // namespace warren::grpc
