// Reflection, v1 and v1alpha, asked by a raw client.
#include <google/protobuf/descriptor.pb.h>
#include <grpc/health/v1/health.pb.h>
#include <grpc/reflection/v1/reflection.pb.h>
#include <grpc/reflection/v1alpha/reflection.pb.h>
#include <gtest/gtest.h>

#include <set>

#include <warren/go.h>
#include <warren/health.h>
#include <warren/reflection.h>
#include <warren/runtime_service.h>

#include "tests/server/raw_client.h"
#include "tests/server/transport_under_test.h"

namespace {

using warren::testing::message;
using warren::testing::raw_client;
namespace grpc = warren::grpc;
namespace one = ::grpc::reflection::v1;
namespace alpha = ::grpc::reflection::v1alpha;

using strings = std::vector<std::string>;

template <class F>
void with_reflection(F body) {
  warren::run([&] {
    grpc::health_service health;
    grpc::runtime_service runtime;
    grpc::server_options options;
    options.listen = "127.0.0.1:0";
    options.transport = warren::testing::transport_under_test;
    grpc::server s(options);
    grpc::reflection_service reflection(s);
    s.add(health);
    s.add(runtime);
    s.add(reflection.v1());
    s.add(reflection.v1alpha());
    s.start();
    body(s);
    s.shutdown(std::chrono::nanoseconds(0));
  });
}

// A stream of questions in one version's types.
template <class Request, class Response>
class asker {
 public:
  asker(raw_client& c, const std::string& path) : client_(c), id_(c.begin(raw_client::request_fields(path))) {}
  Response ask(const Request& q) {
    client_.data(id_, message(q.SerializeAsString()), false);
    const size_t before = client_.replies[id_].messages().size();
    while (client_.replies[id_].messages().size() == before && !client_.replies[id_].ended && !client_.closed) client_.read_frame();
    Response a;
    const strings all = client_.replies[id_].messages();
    EXPECT_GT(all.size(), before);
    if (all.size() > before) {
      EXPECT_TRUE(a.ParseFromString(all.back()));
    }
    EXPECT_EQ(a.original_request().SerializeAsString(), q.SerializeAsString());
    return a;
  }
  Response symbol(const std::string& name) {
    Request q;
    q.set_file_containing_symbol(name);
    return ask(q);
  }
  std::string end() {
    client_.data(id_, "", true);
    return client_.wait(id_).grpc_status();
  }
  int32_t id() const { return id_; }

 private:
  raw_client& client_;
  int32_t id_;
};

template <class Response>
std::set<std::string> names_of(const Response& a) {
  std::set<std::string> names;
  for (const std::string& bytes : a.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto f;
    EXPECT_TRUE(f.ParseFromString(bytes));
    EXPECT_TRUE(names.insert(f.name()).second);
  }
  return names;
}

template <class Request, class Response>
void all_questions(const std::string& version) {
  with_reflection([&](grpc::server& s) {
    raw_client c(s.address());
    asker<Request, Response> a(c, "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo");
    Request q;
    q.set_host("example");
    q.set_list_services("");
    const Response list = a.ask(q);
    EXPECT_EQ(list.valid_host(), "example");
    strings services;
    for (const auto& one_service : list.list_services_response().service()) services.push_back(one_service.name());
    EXPECT_EQ(services, (strings{"grpc.health.v1.Health", "warren.v1.Runtime", "grpc.reflection.v1.ServerReflection",
                                 "grpc.reflection.v1alpha.ServerReflection"}));
    // Each can be looked up by the name that the list gives: services, and their methods and messages.
    EXPECT_EQ(names_of(a.symbol("grpc.health.v1.Health")), std::set<std::string>{"grpc/health/v1/health.proto"});
    EXPECT_EQ(names_of(a.symbol("grpc.health.v1.Health.Check")), std::set<std::string>{"grpc/health/v1/health.proto"});
    EXPECT_EQ(names_of(a.symbol("grpc.health.v1.HealthCheckResponse.ServingStatus")), std::set<std::string>{"grpc/health/v1/health.proto"});
    // With what it imports; and what was sent on this stream is not sent again, except what was asked for.
    const auto runtime = names_of(a.symbol("warren.v1.Runtime"));
    EXPECT_TRUE(runtime.count("warren/v1/runtime.proto") == 1 && runtime.count("google/protobuf/timestamp.proto") == 1);
    EXPECT_EQ(names_of(a.symbol("warren.v1.Runtime")), std::set<std::string>{"warren/v1/runtime.proto"});
    Request file;
    file.set_file_by_filename("google/protobuf/timestamp.proto");
    EXPECT_EQ(names_of(a.ask(file)), std::set<std::string>{"google/protobuf/timestamp.proto"});
    // Extensions: descriptor.proto's options are extensible; nobody here extends them.
    Request numbers;
    numbers.set_all_extension_numbers_of_type("google.protobuf.FieldOptions");
    EXPECT_EQ(a.ask(numbers).all_extension_numbers_response().base_type_name(), "google.protobuf.FieldOptions");
    // What is not there.
    for (const char* name : {"no.such.Thing", "", ".", "grpc.health.v1.Health."}) {
      EXPECT_EQ(a.symbol(name).error_response().error_code(), 5) << name;
    }
    file.set_file_by_filename("../../etc/passwd");
    EXPECT_EQ(a.ask(file).error_response().error_code(), 5);
    numbers.set_all_extension_numbers_of_type("no.such.Thing");
    EXPECT_EQ(a.ask(numbers).error_response().error_code(), 5);
    Request extension;
    extension.mutable_file_containing_extension()->set_containing_type("google.protobuf.FieldOptions");
    extension.mutable_file_containing_extension()->set_extension_number(-1);
    EXPECT_EQ(a.ask(extension).error_response().error_code(), 5);
    EXPECT_EQ(a.end(), "0");
  });
}

TEST(reflection, v1) { all_questions<one::ServerReflectionRequest, one::ServerReflectionResponse>("v1"); }
TEST(reflection, v1alpha) { all_questions<alpha::ServerReflectionRequest, alpha::ServerReflectionResponse>("v1alpha"); }

TEST(reflection, a_question_of_no_known_kind_ends_the_stream) {
  with_reflection([](grpc::server& s) {
    raw_client c(s.address());
    const int32_t id = c.begin(raw_client::request_fields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
    c.data(id, message(""), false);
    EXPECT_EQ(c.wait(id).grpc_status(), "3");
    const int32_t bad = c.begin(raw_client::request_fields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
    c.data(bad, message("\xff\xff\xff"), false);
    EXPECT_EQ(c.wait(bad).grpc_status(), "13");
  });
}

}  // namespace
