#include "proto/plugin/generator.h"

#include <google/protobuf/compiler/cpp/names.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "proto/plugin/cpp_name.h"

namespace warren::plugin {
namespace {

namespace pb = google::protobuf;
using variables = std::map<std::string, std::string>;

// The comment written above a service or method in the .proto, as // lines. Backslashes at the end of a line are dropped: C++ would
// continue the comment over the next line, which is code.
template <class Descriptor>
void print_comment(const Descriptor& of, pb::io::Printer& out) {
  pb::SourceLocation where;
  if (!of.GetSourceLocation(&where)) return;
  std::string_view text = where.leading_comments;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    const size_t last = line.find_last_not_of(" \t\r\\");
    line = line.substr(0, last + 1);  // npos + 1 is 0
    out.Print("//$line$\n", "line", std::string(line));
  }
}

enum class shape { unary, server_streaming, client_streaming, bidi_streaming };

shape shape_of(const pb::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? shape::bidi_streaming : shape::client_streaming;
  return method.server_streaming() ? shape::server_streaming : shape::unary;
}

const char* kind_of(shape s) {
  switch (s) {
    case shape::unary: return "unary";
    case shape::server_streaming: return "server_streaming";
    case shape::client_streaming: return "client_streaming";
    case shape::bidi_streaming: return "bidi_streaming";
  }
  return "";
}

variables variables_of(const pb::MethodDescriptor& method) {
  return {
      {"class", class_name(*method.service())},
      {"path", "/" + method.service()->full_name() + "/" + method.name()},
      {"method", method_name(method)},
      {"name", method.name()},
      {"kind", kind_of(shape_of(method))},
      {"request", pb::compiler::cpp::QualifiedClassName(method.input_type())},
      {"reply", pb::compiler::cpp::QualifiedClassName(method.output_type())},
  };
}

void print_method(const pb::MethodDescriptor& method, pb::io::Printer& out) {
  const variables v = variables_of(method);
  out.Print("\n");
  print_comment(method, out);
  switch (shape_of(method)) {
    case shape::unary:
      out.Print(v,
                "virtual ::warren::grpc::result<$reply$> $method$(::warren::grpc::server_context& /*ctx*/,\n"
                "    const $request$& /*request*/) {\n");
      break;
    case shape::server_streaming:
      out.Print(v,
                "virtual ::warren::grpc::status $method$(::warren::grpc::server_context& /*ctx*/,\n"
                "    const $request$& /*request*/, ::warren::grpc::writer<$reply$>& /*out*/) {\n");
      break;
    case shape::client_streaming:
      out.Print(v,
                "virtual ::warren::grpc::result<$reply$> $method$(::warren::grpc::server_context& /*ctx*/,\n"
                "    ::warren::grpc::reader<$request$>& /*in*/) {\n");
      break;
    case shape::bidi_streaming:
      out.Print(v,
                "virtual ::warren::grpc::status $method$(::warren::grpc::server_context& /*ctx*/,\n"
                "    ::warren::grpc::stream<$request$, $reply$>& /*io*/) {\n");
      break;
  }
  out.Print(v,
            "  return ::warren::grpc::unimplemented();\n"
            "}\n");
}

void print_service(const pb::ServiceDescriptor& service, pb::io::Printer& out) {
  const variables v{{"class", class_name(service)}, {"full_name", service.full_name()}};
  out.Print("\n");
  print_comment(service, out);
  out.Print(v,
            "class $class$ : public ::warren::grpc::service {\n"
            " public:\n");
  out.Indent();
  out.Print(v, "static constexpr ::std::string_view service_name = \"$full_name$\";\n");
  for (int i = 0; i < service.method_count(); i++) print_method(*service.method(i), out);

  out.Print(
      "\n"
      "// What the server needs; nothing to override.\n"
      "::std::string_view full_name() const final { return service_name; }\n"
      "::std::span<const ::warren::grpc::method_descriptor> methods() const final {\n");
  out.Indent();
  if (service.method_count() == 0) {
    out.Print("return {};\n");
  } else {
    out.Print("static constexpr ::warren::grpc::method_descriptor table[] = {\n");
    for (int i = 0; i < service.method_count(); i++) {
      out.Print(variables_of(*service.method(i)),
                "    {\"$name$\", ::warren::grpc::method_kind::$kind$,\n"
                "     &::warren::grpc::$kind$<&$class$::$method$, $request$, $reply$>},\n");
    }
    out.Print(
        "};\n"
        "return table;\n");
  }
  out.Outdent();
  out.Print("}\n");
  out.Outdent();
  out.Print("};\n");
}

void print_stub_method(const pb::MethodDescriptor& method, pb::io::Printer& out) {
  const variables v = variables_of(method);
  out.Print("\n");
  print_comment(method, out);
  const shape s = shape_of(method);
  switch (s) {
    case shape::unary: out.Print(v, "::warren::grpc::result<$reply$> $method$("); break;
    case shape::server_streaming: out.Print(v, "::warren::grpc::client_reader<$reply$> $method$("); break;
    case shape::client_streaming: out.Print(v, "::warren::grpc::client_writer<$request$, $reply$> $method$("); break;
    case shape::bidi_streaming: out.Print(v, "::warren::grpc::client_stream<$request$, $reply$> $method$("); break;
  }
  const bool one_request = s == shape::unary || s == shape::server_streaming;
  out.Print(v, one_request ? "::warren::grpc::client_context& ctx,\n    const $request$& request) const {\n"
                           : "::warren::grpc::client_context& ctx) const {\n");
  out.Print(v,
            "  return ::warren::grpc::call_$kind$<$request$, $reply$>(*channel_, ctx,\n"
            "      {\"$path$\", ::warren::grpc::method_kind::$kind$}");
  out.Print(one_request ? ", request);\n}\n" : ");\n}\n");
}

void print_stub(const pb::ServiceDescriptor& service, pb::io::Printer& out) {
  const variables v{{"stub", stub_name(service)}, {"full_name", service.full_name()}};
  out.Print(v,
            "\n"
            "// Calls $full_name$. Copied freely; used by any number of goroutines at once.\n"
            "class $stub$ {\n"
            " public:\n");
  out.Indent();
  out.Print(v, "explicit $stub$(::warren::grpc::channel& channel) noexcept : channel_(&channel) {}\n");
  for (int i = 0; i < service.method_count(); i++) print_stub_method(*service.method(i), out);
  out.Outdent();
  out.Print(
      "\n"
      " private:\n"
      "  ::warren::grpc::channel* channel_;\n"
      "};\n");
}

// Two C++ names that would collide, which the .proto allows.
bool check_names(const pb::ServiceDescriptor& service, std::string* error) {
  const std::string& package = service.file()->package();
  const pb::DescriptorPool* pool = service.file()->pool();
  for (const auto& [what, name] : {std::pair("class", class_name(service)), std::pair("stub", stub_name(service))}) {
    const std::string rival = package.empty() ? name : package + "." + name;
    if (pool->FindMessageTypeByName(rival) != nullptr || pool->FindEnumTypeByName(rival) != nullptr) {
      *error = "service " + service.full_name() + ": its " + what + " would be called " + name + ", as " + rival +
               " already is; rename one of them";
      return false;
    }
  }
  std::set<std::string> seen;
  for (int i = 0; i < service.method_count(); i++) {
    const pb::MethodDescriptor& method = *service.method(i);
    if (!seen.insert(method_name(method)).second) {
      *error = "method " + method.full_name() + ": its C++ name " + method_name(method) + " is that of another method; rename one of them";
      return false;
    }
  }
  return true;
}

}  // namespace

bool generator::Generate(const pb::FileDescriptor* file, const std::string& parameter, pb::compiler::GeneratorContext* context,
                         std::string* error) const {
  if (!parameter.empty()) {
    *error = "unknown parameter '" + parameter + "': protoc-gen-warren takes none; write --warren_out=DIR";
    return false;
  }
  std::string scope;
  if (file->service_count() > 0 && !namespace_of(*file, &scope, error)) return false;
  for (int i = 0; i < file->service_count(); i++) {
    if (!check_names(*file->service(i), error)) return false;
  }

  const std::string base = pb::compiler::cpp::StripProto(file->name());
  const std::unique_ptr<pb::io::ZeroCopyOutputStream> stream(context->Open(base + ".warren.h"));
  pb::io::Printer out(stream.get(), '$');
  out.Print(
      "// Generated by protoc-gen-warren from $file$. Do not edit: the next build writes it again.\n"
      "#pragma once\n"
      "#include <span>\n"
      "#include <string_view>\n"
      "\n"
      "#include <warren/grpc.h>\n"
      "#include <warren/grpc/client.h>\n"
      "#include <warren/grpc/protobuf.h>\n"
      "\n"
      "#include \"$base$.pb.h\"\n",
      "file", file->name(), "base", base);
  if (file->service_count() == 0) return !out.failed();

  if (!scope.empty()) out.Print("\nnamespace $scope$ {\n", "scope", scope);
  for (int i = 0; i < file->service_count(); i++) {
    print_service(*file->service(i), out);
    print_stub(*file->service(i), out);
  }
  if (!scope.empty()) out.Print("\n}  // namespace $scope$\n", "scope", scope);
  if (out.failed()) {
    *error = "cannot write " + base + ".warren.h";
    return false;
  }
  return true;
}

}  // namespace warren::plugin
