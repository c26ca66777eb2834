// How names of a .proto file become names of C++.
//
// Messages are protobuf's business: its own code generator is asked (libprotoc's cpp::QualifiedClassName), so that the two can never
// disagree about Outer_Inner or class_. Packages, services and methods are ours, by these rules:
//
//   package a.b     → namespace a::b. A component that is a C++ keyword is refused: protoc 3.21 writes it as it is, and its header
//                     does not compile, so no file we could write next to it would.
//   service Greeter → class GreeterService. gRPC C++ calls its class Greeter, and both may meet in one program.
//                     Its stub is GreeterStub.
//   method SayHello → SayHello, in both. A keyword, or a name that one of the classes needs for itself, gets one underscore at its end, as
//                     protobuf does with fields.
#pragma once
#include <string>
#include <string_view>

namespace google::protobuf {
class FileDescriptor;
class MethodDescriptor;
class ServiceDescriptor;
}  // namespace google::protobuf

namespace warren::plugin {

// Is it one of C++20's keywords or alternative tokens?
bool is_keyword(std::string_view name);

// "a::b" for package a.b, "" without a package. On a component that is a keyword returns false and leaves a sentence in *error.
bool namespace_of(const google::protobuf::FileDescriptor& file, std::string* out, std::string* error);

// "GreeterService".
std::string class_name(const google::protobuf::ServiceDescriptor& service);

// "GreeterStub".
std::string stub_name(const google::protobuf::ServiceDescriptor& service);

// "SayHello", or "delete_" for a method called delete.
std::string method_name(const google::protobuf::MethodDescriptor& method);

}  // namespace warren::plugin
