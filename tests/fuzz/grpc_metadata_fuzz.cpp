// Header fields as a peer may send them, one "name:value" a line: what becomes metadata of them hides what is the protocol's, is found by
// its keys, and comes out the same when it is sent on and received again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <warren/grpc/metadata.h>

#include "server/grpc/base64.h"
#include "server/grpc/metadata_field.h"
#include "server/grpc/reserved.h"

namespace {
using warren::grpc::metadata;

void require(bool holds) {
  if (!holds) std::abort();
}

bool same(const metadata& a, const metadata& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const metadata::entry& x, const metadata::entry& y) { return x.key == y.key && x.value == y.value; });
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view left(reinterpret_cast<const char*>(data), size);
  metadata received;
  while (!left.empty()) {
    const std::string_view line = left.substr(0, left.find('\n'));
    left.remove_prefix(std::min(left.size(), line.size() + 1));
    const size_t colon = line.find(':', 1);
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
    const size_t before = received.size();
    const bool good = warren::grpc::add_field(received, name, value);
    const size_t added = received.size() - before;
    const size_t most = name.ends_with("-bin") ? 1 + static_cast<size_t>(std::count(value.begin(), value.end(), ',')) : 1;
    if (warren::grpc::reserved_header(name)) {
      require(good && added == 0);
    } else {
      require(good ? added == most : added < most);
    }
  }

  metadata legal, sent;
  for (const metadata::entry e : received) {
    require(!warren::grpc::reserved_header(e.key));
    require(received.find(e.key).has_value());
    const auto all = received.find_all(e.key);
    require(all.front() == *received.find(e.key) && std::find(all.begin(), all.end(), e.value) != all.end());
    // What the program may send on, and how the wire carries it.
    if (!legal.add(e.key, e.value)) continue;
    const metadata::entry last = legal[legal.size() - 1];
    require(last.value == e.value);
    std::string text;
    if (last.key.ends_with("-bin")) {
      warren::grpc::base64_encode(last.value, text);
    } else {
      text = last.value;
    }
    require(warren::grpc::add_field(sent, last.key, text));
  }
  require(same(legal, sent));
  sent.clear();
  require(sent.empty() && !sent.find("k"));
  return 0;
}
