// What bench_grpc sends as the complex message is what protobuf would send: every field is known, set, and written as protobuf writes it.
#include "bench/grpc/shipment.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <shipment.pb.h>

namespace {

using warren::bench::Item;
using warren::bench::ShipRequest;

TEST(Shipment, IsWhatProtobufWrites) {
  ShipRequest wanted;
  auto& s = *wanted.mutable_shipment();
  s.set_label("WR-407");
  s.set_kilograms(12.75);
  s.set_cubic_metres(0.6f);
  s.set_insured(true);
  s.set_parcels(17);
  s.set_number(531'204'886'417);
  s.set_address("Pier 21");
  Item& pots = *s.add_items();
  pots.set_name("enamel pots");
  pots.set_kind(Item::CERAMIC);
  Item& pane = *s.add_items();
  pane.set_name("window pane");
  pane.set_kind(Item::GLASS);
  EXPECT_EQ(bench::shipment_request(), wanted.SerializeAsString());

  ShipRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(bench::shipment_request()));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(parsed, wanted));
}

}  // namespace
