#include "bench/grpc/shipment.h"

#include <cstring>

#include "bench/grpc/plain_client.h"

namespace bench {
namespace {

// A double or a float: four or eight bytes, the lowest first, as on the machines we run on.
template <class Number>
std::string fixed_field(int field, Number value) {
  constexpr int kWireType = sizeof value == 8 ? 1 : 5;
  std::string out(1 + sizeof value, static_cast<char>(field << 3 | kWireType));
  std::memcpy(out.data() + 1, &value, sizeof value);
  return out;
}

std::string item(std::string_view name, int kind) { return string_field(1, name) + number_field(2, kind); }

}  // namespace

std::string shipment_request() {
  return string_field(1, string_field(1, "WR-407") + fixed_field(2, 12.75) + fixed_field(3, 0.6f) + number_field(4, 1) +
                             number_field(5, 17) + number_field(6, 531'204'886'417) + string_field(7, "Pier 21") +
                             string_field(9, item("enamel pots", 2)) + string_field(9, item("window pane", 3)));
}

}  // namespace bench
