#include "proto/plugin/cpp_name.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>

namespace warren::plugin {
namespace {

using std::string_view_literals::operator""sv;

// Sorted, for binary search. C++20's keywords and alternative tokens; `final`, `override`, `import` and `module` are ordinary names here.
constexpr std::array keywords{
    "alignas"sv,     "alignof"sv,  "and"sv,        "and_eq"sv,    "asm"sv,       "auto"sv,         "bitand"sv,
    "bitor"sv,       "bool"sv,     "break"sv,      "case"sv,      "catch"sv,     "char"sv,         "char16_t"sv,
    "char32_t"sv,    "char8_t"sv,  "class"sv,      "co_await"sv,  "co_return"sv, "co_yield"sv,     "compl"sv,
    "concept"sv,     "const"sv,    "const_cast"sv, "consteval"sv, "constexpr"sv, "constinit"sv,    "continue"sv,
    "decltype"sv,    "default"sv,  "delete"sv,     "do"sv,        "double"sv,    "dynamic_cast"sv, "else"sv,
    "enum"sv,        "explicit"sv, "export"sv,     "extern"sv,    "false"sv,     "float"sv,        "for"sv,
    "friend"sv,      "goto"sv,     "if"sv,         "inline"sv,    "int"sv,       "long"sv,         "mutable"sv,
    "namespace"sv,   "new"sv,      "noexcept"sv,   "not"sv,       "not_eq"sv,    "nullptr"sv,      "operator"sv,
    "or"sv,          "or_eq"sv,    "private"sv,    "protected"sv, "public"sv,    "register"sv,     "reinterpret_cast"sv,
    "requires"sv,    "return"sv,   "short"sv,      "signed"sv,    "sizeof"sv,    "static"sv,       "static_assert"sv,
    "static_cast"sv, "struct"sv,   "switch"sv,     "template"sv,  "this"sv,      "thread_local"sv, "throw"sv,
    "true"sv,        "try"sv,      "typedef"sv,    "typeid"sv,    "typename"sv,  "union"sv,        "unsigned"sv,
    "using"sv,       "virtual"sv,  "void"sv,       "volatile"sv,  "wchar_t"sv,   "while"sv,        "xor"sv,
    "xor_eq"sv,
};
static_assert(std::is_sorted(keywords.begin(), keywords.end()));

// What the generated classes have besides the methods. A method of that name would hide or override it.
constexpr std::array members{"full_name"sv, "methods"sv, "service_name"sv};

}  // namespace

bool is_keyword(std::string_view name) { return std::binary_search(keywords.begin(), keywords.end(), name); }

bool namespace_of(const google::protobuf::FileDescriptor& file, std::string* out, std::string* error) {
  out->clear();
  const std::string& package = file.package();
  for (size_t begin = 0; begin < package.size();) {
    const size_t end = std::min(package.find('.', begin), package.size());
    const std::string part = package.substr(begin, end - begin);
    if (is_keyword(part)) {
      *error = "package " + package + ": '" + part + "' is a C++ keyword, and protoc's own header for it does not compile; rename it";
      return false;
    }
    if (!out->empty()) *out += "::";
    *out += part;
    begin = end + 1;
  }
  return true;
}

std::string class_name(const google::protobuf::ServiceDescriptor& service) { return service.name() + "Service"; }

std::string stub_name(const google::protobuf::ServiceDescriptor& service) { return service.name() + "Stub"; }

std::string method_name(const google::protobuf::MethodDescriptor& method) {
  const std::string& name = method.name();
  const bool taken = is_keyword(name) || std::find(members.begin(), members.end(), name) != members.end() ||
                     name == class_name(*method.service()) ||
                     name == stub_name(*method.service());  // a member may not have its class's name
  return taken ? name + "_" : name;
}

}  // namespace warren::plugin
