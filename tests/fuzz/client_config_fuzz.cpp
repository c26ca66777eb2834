// Targets and service configs of arbitrary text: refused with a line, or understood; nothing else. The first byte chooses which.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "server/client/limits.h"
#include "server/client/service_config.h"
#include "server/client/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace warren::grpc::client;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 2 == 0) {
      const target t = parse_target(text);
      if (t.authority.empty() || (t.addresses.empty() && (t.host.empty() || t.port == 0))) std::abort();
    } else {
      const service_config c = parse_service_config(text);
      for (const auto& [name, m] : c.methods) {
        if (m.retry && (m.retry->max_attempts < 2 || m.retry->max_attempts > kMostAttempts)) std::abort();
        if (c.find(name) == nullptr) std::abort();
      }
    }
  } catch (const std::invalid_argument& e) {
    if (std::string_view(e.what()).empty()) std::abort();
  }
  return 0;
}
