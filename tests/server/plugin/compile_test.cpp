// What the plugin wrote compiles, finds its methods in its table, and answers UNIMPLEMENTED where nothing was overridden.
// Built by warren_add_protos from cases/, as a user would.
#include <gtest/gtest.h>

#include <warren/go.h>

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
  ASSERT_EQ(methods.size(), 7u);
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
  EXPECT_EQ(service.methods().size(), 7u);
}

// The stub calls what the service class serves, under the names of the wire.
class my_shop : public shop::v1::ShopService {
 public:
  warren::grpc::result<shop::v1::Item> Get(warren::grpc::server_context&, const google::protobuf::Empty&) override {
    return shop::v1::Item();
  }
  warren::grpc::status List(warren::grpc::server_context&, const google::protobuf::Empty&,
                            warren::grpc::writer<shop::v1::Item>& out) override {
    out.write(shop::v1::Item());
    out.write(shop::v1::Item());
    return {};
  }
  warren::grpc::result<google::protobuf::Empty> Fill(warren::grpc::server_context& ctx, warren::grpc::reader<shop::v1::Item>& in) override {
    int n = 0;
    for ([[maybe_unused]] const shop::v1::Item& i : in) n++;
    ctx.add_trailing_metadata("x-items", std::to_string(n));
    return google::protobuf::Empty();
  }
  warren::grpc::status Haggle(warren::grpc::server_context&, warren::grpc::stream<shop::v1::Item, shop::v1::Item>& io) override {
    shop::v1::Item i;
    while (io.read(i) && io.write(i)) {
    }
    return {};
  }
};

TEST(generated, stubs_call_all_four_kinds_of_methods) {
  warren::run([] {
    my_shop shop;
    my_switch keywords_service;
    warren::grpc::server server({.listen = "127.0.0.1:0"});
    server.add(shop);
    server.add(keywords_service);
    server.start();
    {
      warren::grpc::channel channel(server.address());
      const shop::v1::ShopStub stub(channel);
      warren::grpc::client_context ctx;
      ctx.timeout(std::chrono::seconds(30));
      EXPECT_TRUE(stub.Get(ctx, {}).ok());
      auto list = stub.List(ctx, {});
      int n = 0;
      for ([[maybe_unused]] const shop::v1::Item& i : list) n++;
      EXPECT_EQ(n, 2);
      EXPECT_TRUE(list.finish().ok());
      auto fill = stub.Fill(ctx);
      EXPECT_TRUE(fill.write({}));
      EXPECT_TRUE(fill.finish().ok());
      EXPECT_EQ(ctx.trailing_metadata().find("x-items"), "1");
      auto haggle = stub.Haggle(ctx);
      shop::v1::Item item;
      EXPECT_TRUE(haggle.write(item) && haggle.read(item));
      EXPECT_TRUE(haggle.finish().ok());
      const keywords::switchStub named(channel);
      EXPECT_TRUE(named.delete_(ctx, {}).ok());
      EXPECT_EQ(named.switchStub_(ctx, {}).status().code(), warren::grpc::status_code::unimplemented);
    }
    server.shutdown(std::chrono::seconds(5));
  });
}

}  // namespace
