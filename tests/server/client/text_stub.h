// A stub for text_service (tests/server/grpc/text_service.h), as the plugin would write it.
#pragma once
#include <string>

#include <warren/grpc/client.h>

#include "tests/server/grpc/text_service.h"

namespace warren::testing {

struct text_stub {
  grpc::channel& channel;

  static grpc::method_info method(const char* path, grpc::method_kind kind) { return {path, kind}; }

  grpc::result<text> unary(grpc::client_context& ctx, const char* path, std::string request) const {
    return grpc::call_unary<text, text>(channel, ctx, method(path, grpc::method_kind::unary), text{std::move(request)});
  }
  grpc::client_reader<text> server_stream(grpc::client_context& ctx, const char* path, std::string request) const {
    return grpc::call_server_streaming<text, text>(channel, ctx, method(path, grpc::method_kind::server_streaming),
                                                   text{std::move(request)});
  }
  grpc::client_writer<text, text> client_stream(grpc::client_context& ctx, const char* path) const {
    return grpc::call_client_streaming<text, text>(channel, ctx, method(path, grpc::method_kind::client_streaming));
  }
  grpc::client_stream<text, text> bidi(grpc::client_context& ctx, const char* path) const {
    return grpc::call_bidi_streaming<text, text>(channel, ctx, method(path, grpc::method_kind::bidi_streaming));
  }
};

// A context that cannot hang a test.
struct limited_context : grpc::client_context {
  using client_context::client_context;
  limited_context() { timeout(std::chrono::seconds(30)); }
};

}  // namespace warren::testing
