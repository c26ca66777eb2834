// What protoc-gen-warren writes, file by file, against golden/. After a wanted change of the generator:
//   WARREN_UPDATE_GOLDEN=1 build/…/bin/plugin_test    and read the diff.
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "proto/plugin/cpp_name.h"
#include "proto/plugin/generator.h"

namespace {

namespace pb = google::protobuf;

// Collects what the generator writes.
class memory_context : public pb::compiler::GeneratorContext {
 public:
  pb::io::ZeroCopyOutputStream* Open(const std::string& name) override { return new pb::io::StringOutputStream(&files[name]); }
  std::map<std::string, std::string> files;
};

class import_errors : public pb::compiler::MultiFileErrorCollector {
 public:
  void AddError(const std::string& file, int line, int column, const std::string& message) override {
    ADD_FAILURE() << file << ":" << line << ":" << column << ": " << message;
  }
};

class plugin : public testing::Test {
 protected:
  plugin() : importer_(&tree_, &errors_) {
    tree_.MapPath("", WARREN_PLUGIN_CASES);
    tree_.MapPath("", WARREN_PROTOBUF_INCLUDE);
  }

  // Generates for one file of cases/. Returns the one header's text, or "" and leaves the message in error_.
  std::string generate(const std::string& proto, const std::string& parameter = "") {
    const pb::FileDescriptor* file = importer_.Import(proto);
    if (file == nullptr) return "";
    memory_context out;
    error_.clear();
    if (!warren::plugin::generator().Generate(file, parameter, &out, &error_)) return "";
    EXPECT_EQ(out.files.size(), 1u);
    const std::string header = proto.substr(0, proto.size() - 6) + ".warren.h";
    EXPECT_EQ(out.files.begin()->first, header);
    return out.files.begin()->second;
  }

  void expect_golden(const std::string& proto) {
    const std::string text = generate(proto);
    ASSERT_EQ(error_, "");
    const std::string path = std::string(WARREN_PLUGIN_GOLDEN) + "/" + proto.substr(0, proto.size() - 6) + ".warren.h";
    if (std::getenv("WARREN_UPDATE_GOLDEN") != nullptr) {
      std::ofstream(path) << text;
      return;
    }
    std::ifstream in(path);
    ASSERT_TRUE(in) << path << " is missing; see the head of this file";
    std::stringstream golden;
    golden << in.rdbuf();
    EXPECT_EQ(text, golden.str());
  }

  std::string error_;

 private:
  pb::compiler::DiskSourceTree tree_;
  import_errors errors_;
  pb::compiler::Importer importer_;
};

TEST_F(plugin, all_four_kinds_of_method_comments_and_imports) { expect_golden("shop/v1/shop.proto"); }
TEST_F(plugin, a_file_without_services_gets_a_header_with_its_messages) { expect_golden("shop/v1/common.proto"); }
TEST_F(plugin, a_file_without_package_puts_its_services_in_the_global_namespace) { expect_golden("no_package.proto"); }
TEST_F(plugin, keywords_nested_messages_and_names_the_class_needs) { expect_golden("keywords.proto"); }

TEST_F(plugin, a_parameter_is_an_error_that_says_what_to_write) {
  EXPECT_EQ(generate("no_package.proto", "lite"), "");
  EXPECT_EQ(error_, "unknown parameter 'lite': protoc-gen-warren takes none; write --warren_out=DIR");
}

TEST_F(plugin, a_keyword_in_the_package_is_an_error) {
  EXPECT_EQ(generate("bad_package.proto"), "");
  EXPECT_EQ(error_, "package my.namespace: 'namespace' is a C++ keyword, and protoc's own header for it does not compile; rename it");
}

TEST_F(plugin, a_message_with_the_name_of_the_class_is_an_error) {
  EXPECT_EQ(generate("bad_class.proto"), "");
  EXPECT_EQ(error_,
            "service clash.Greeter: its class would be called GreeterService, as clash.GreeterService already is; rename one of them");
}

TEST_F(plugin, a_message_with_the_name_of_the_stub_is_an_error) {
  EXPECT_EQ(generate("bad_stub.proto"), "");
  EXPECT_EQ(error_, "service clash.Greeter: its stub would be called GreeterStub, as clash.GreeterStub already is; rename one of them");
}

TEST_F(plugin, two_methods_with_one_cpp_name_are_an_error) {
  EXPECT_EQ(generate("bad_method.proto"), "");
  EXPECT_EQ(error_, "method clash.S.delete_: its C++ name delete_ is that of another method; rename one of them");
}

TEST(cpp_name, keywords_are_those_of_cpp20_and_contextual_words_are_not) {
  for (const char* word : {"alignas", "xor_eq", "co_await", "int", "and", "requires", "static_cast", "wchar_t"}) {
    EXPECT_TRUE(warren::plugin::is_keyword(word)) << word;
  }
  for (const char* word : {"", "Int", "final", "override", "import", "module", "SayHello", "intx", "in"}) {
    EXPECT_FALSE(warren::plugin::is_keyword(word)) << word;
  }
}

}  // namespace
