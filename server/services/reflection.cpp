#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpc/reflection/v1/reflection.warren.h>
#include <grpc/reflection/v1alpha/reflection.warren.h>

#include <set>
#include <string>
#include <vector>

#include <warren/reflection.h>

#include "server/services/caller_gone.h"

namespace warren::grpc {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

// One stream of questions, in the types of either version.
template <class Request, class Response>
class conversation {
 public:
  explicit conversation(const server& of) : server_(of), pool_(*DescriptorPool::generated_pool()) {}

  // INVALID_ARGUMENT ends the stream: a question of a kind that this version of the protocol does not have.
  status answer(const Request& q, Response& a) {
    a.set_valid_host(q.host());
    *a.mutable_original_request() = q;
    switch (q.message_request_case()) {
      case Request::kFileByFilename: files(a, pool_.FindFileByName(q.file_by_filename()), "file " + q.file_by_filename()); return {};
      case Request::kFileContainingSymbol:
        files(a, pool_.FindFileContainingSymbol(q.file_containing_symbol()), "symbol " + q.file_containing_symbol());
        return {};
      case Request::kFileContainingExtension: {
        const auto& x = q.file_containing_extension();
        const Descriptor* const of = pool_.FindMessageTypeByName(x.containing_type());
        const FieldDescriptor* const f = of == nullptr ? nullptr : pool_.FindExtensionByNumber(of, x.extension_number());
        files(a, f == nullptr ? nullptr : f->file(), "extension " + std::to_string(x.extension_number()) + " of " + x.containing_type());
        return {};
      }
      case Request::kAllExtensionNumbersOfType: {
        const Descriptor* const of = pool_.FindMessageTypeByName(q.all_extension_numbers_of_type());
        if (of == nullptr) {
          unknown(a, "message type " + q.all_extension_numbers_of_type());
          return {};
        }
        auto& numbers = *a.mutable_all_extension_numbers_response();
        numbers.set_base_type_name(of->full_name());
        std::vector<const FieldDescriptor*> all;
        pool_.FindAllExtensions(of, &all);
        for (const FieldDescriptor* f : all) numbers.add_extension_number(f->number());
        return {};
      }
      case Request::kListServices: {
        auto& list = *a.mutable_list_services_response();
        for (std::string& name : server_.services()) list.add_service()->set_name(std::move(name));
        return {};
      }
      case Request::MESSAGE_REQUEST_NOT_SET: break;
    }
    return invalid_argument("the request asks for nothing this server knows; see grpc.reflection's ServerReflectionRequest");
  }

 private:
  static void unknown(Response& a, const std::string& what) {
    auto& e = *a.mutable_error_response();
    e.set_error_code(static_cast<int32_t>(status_code::not_found));
    e.set_error_message("there is no " + what + " here");
  }

  // The file and what it imports, directly or not, as far as it was not sent before: the caller has it then.
  void files(Response& a, const FileDescriptor* f, const std::string& what) {
    if (f == nullptr) {
      unknown(a, what);
      return;
    }
    auto& out = *a.mutable_file_descriptor_response();
    add(out, *f);  // what was asked for, even again
    std::vector<const FileDescriptor*> left{f};
    while (!left.empty()) {
      const FileDescriptor* const one = left.back();
      left.pop_back();
      for (int i = 0; i < one->dependency_count(); i++) {
        const FileDescriptor* const import = one->dependency(i);
        if (sent_.count(import) != 0) continue;
        add(out, *import);
        left.push_back(import);
      }
    }
  }

  template <class Files>
  void add(Files& out, const FileDescriptor& f) {
    sent_.insert(&f);
    google::protobuf::FileDescriptorProto proto;
    f.CopyTo(&proto);
    proto.SerializeToString(out.add_file_descriptor_proto());
  }

  const server& server_;
  const DescriptorPool& pool_;
  std::set<const FileDescriptor*> sent_;
};

template <class Base, class Request, class Response>
class version final : public Base {
 public:
  explicit version(const server& of) : server_(of) {}
  status ServerReflectionInfo(server_context& ctx, stream<Request, Response>& io) override {
    conversation<Request, Response> c(server_);
    Request q;
    while (io.read(q)) {
      Response a;
      if (status wrong = c.answer(q, a); !wrong.ok()) return wrong;
      if (!io.write(a)) return caller_gone(ctx);
    }
    return {};
  }

 private:
  const server& server_;
};

namespace one = ::grpc::reflection::v1;
namespace alpha = ::grpc::reflection::v1alpha;

}  // namespace

struct reflection_service::state {
  explicit state(const server& of) : v1(of), v1alpha(of) {}
  version<one::ServerReflectionService, one::ServerReflectionRequest, one::ServerReflectionResponse> v1;
  version<alpha::ServerReflectionService, alpha::ServerReflectionRequest, alpha::ServerReflectionResponse> v1alpha;
};

reflection_service::reflection_service(const server& of) : state_(std::make_unique<state>(of)) {}
reflection_service::~reflection_service() = default;
service& reflection_service::v1() noexcept { return state_->v1; }
service& reflection_service::v1alpha() noexcept { return state_->v1alpha; }

}  // namespace warren::grpc
