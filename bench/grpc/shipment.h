// The message of shipment.proto that bench_grpc sends.
#pragma once
#include <string>

namespace bench {

// A ShipRequest with every field set. Its fields are written as protobuf's serialisers write them, so that a reply with the same shipment
// has exactly as many bytes.
std::string shipment_request();

}  // namespace bench
