// Linked to a test of the native transport: its servers are gRPC C++'s then.
#include <warren/grpcpp/transport.h>

#include "tests/server/transport_under_test.h"

namespace warren::testing {

[[maybe_unused]] static const bool changed = [] {
  transport_under_test = grpcpp::transport;
  return true;
}();

}  // namespace warren::testing
