// protoc-gen-warren: one header X.warren.h for each X.proto, next to protobuf's X.pb.h.
//
// Per service the header has one class, to be derived from: a virtual function per method, and the table by which the server finds them.
// A method that is not overridden answers UNIMPLEMENTED, so adding one to a .proto breaks no build and no caller that does not use it.
// There is no second file to compile: everything that is not a template or inline lives in warren::server.
//
// Not generated yet: the blocking client stub (it comes with warren's client).
#pragma once
#include <google/protobuf/compiler/code_generator.h>

#include <cstdint>
#include <string>

namespace warren::plugin {

class generator : public google::protobuf::compiler::CodeGenerator {
 public:
  // Writes the header of one file. `parameter` must be empty. On false, *error says in one line what is wrong and what to do.
  bool Generate(const google::protobuf::FileDescriptor* file, const std::string& parameter,
                google::protobuf::compiler::GeneratorContext* context, std::string* error) const override;

  uint64_t GetSupportedFeatures() const override { return FEATURE_PROTO3_OPTIONAL; }
};

}  // namespace warren::plugin
