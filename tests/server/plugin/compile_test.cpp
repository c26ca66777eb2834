// What the plugin wrote compiles, finds its methods in its table, and answers UNIMPLEMENTED where nothing was overridden.
// Built by warren_add_protos from cases/, as a user would.
#include <gtest/gtest.h>

#include "keywords.warren.h"
#include "no_package.warren.h"
#include "shop/v1/common.warren.h"
#include "shop/v1/shop.warren.h"

namespace {

using warren::grpc::method_kind;

TEST(generated, table_has_name_and_kind_of_every_method_in_order) {
  shop::v1::ShopService shop;
  EXPECT_EQ(shop.full_name(), "shop.v1.Shop");
  const auto methods = shop.methods();
  ASSERT_EQ(methods.size(), 4u);
  EXPECT_EQ(methods[0].name, "Get");
  EXPECT_EQ(methods[0].kind, method_kind::unary);
  EXPECT_EQ(methods[1].name, "List");
  EXPECT_EQ(methods[1].kind, method_kind::server_streaming);
  EXPECT_EQ(methods[2].name, "Fill");
  EXPECT_EQ(methods[2].kind, method_kind::client_streaming);
  EXPECT_EQ(methods[3].name, "Haggle");
  EXPECT_EQ(methods[3].kind, method_kind::bidi_streaming);
}

TEST(generated, names_on_the_wire_are_those_of_the_proto_not_those_of_cpp) {
  keywords::switchService service;
  EXPECT_EQ(service.full_name(), "keywords.switch");
  const auto methods = service.methods();
  ASSERT_EQ(methods.size(), 6u);
  EXPECT_EQ(methods[0].name, "delete");
  EXPECT_EQ(methods[1].name, "and_eq");
  EXPECT_EQ(methods[2].name, "methods");
  EXPECT_EQ(methods[5].name, "switchService");
}

TEST(generated, a_service_without_methods_has_an_empty_table) {
  shop::v1::EmptyService service;
  EXPECT_EQ(service.full_name(), "shop.v1.Empty");
  EXPECT_TRUE(service.methods().empty());
}

TEST(generated, a_service_without_package_has_a_plain_name) {
  PingerService service;
  EXPECT_EQ(service.full_name(), "Pinger");
}

// Overriding by the names that C++ sees.
class my_switch : public keywords::switchService {
 public:
  warren::grpc::result<keywords::class__new> delete_(warren::grpc::server_context&, const keywords::class_&) override {
    return keywords::class__new();
  }
  warren::grpc::result<keywords::Outer> and_eq_(warren::grpc::server_context&, const keywords::Outer_Inner&) override {
    return keywords::Outer();
  }
  warren::grpc::result<keywords::Outer> methods_(warren::grpc::server_context&, const keywords::Outer&) override {
    return keywords::Outer();
  }
};

TEST(generated, methods_with_keywords_for_names_can_be_overridden) {
  my_switch service;
  EXPECT_EQ(service.methods().size(), 6u);
}

}  // namespace
