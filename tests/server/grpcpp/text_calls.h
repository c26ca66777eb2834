// test.Text (tests/server/grpc/text_service.h) called by gRPC C++'s generic stub, from goroutines.
#pragma once
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <string>
#include <string_view>

#include <warren/grpcpp.h>

namespace warren::testing {

inline ::grpc::GenericStub text_stub_of(const std::string& address, const ::grpc::ChannelArguments& arguments = {}) {
  return ::grpc::GenericStub(::grpc::CreateCustomChannel(address, ::grpc::InsecureChannelCredentials(), arguments));
}

inline ::grpc::ByteBuffer bytes(std::string_view text) {
  const ::grpc::Slice s(text.data(), text.size());
  return {&s, 1};
}

inline std::string text_of(const ::grpc::ByteBuffer& b) {
  ::grpc::Slice s;
  if (!b.DumpToSingleSlice(&s).ok()) return "(invalid)";
  return {reinterpret_cast<const char*>(s.begin()), s.size()};
}

inline ::grpc::Status unary(const context& ctx, ::grpc::GenericStub& stub, const std::string& method, std::string_view request,
                            std::string* reply = nullptr) {
  ::grpc::ClientContext c;
  ::grpc::ByteBuffer answer;
  const ::grpc::Status s = grpcpp::call(ctx, stub, method, c, bytes(request), &answer);
  if (reply != nullptr && s.ok()) *reply = text_of(answer);
  return s;
}

}  // namespace warren::testing
