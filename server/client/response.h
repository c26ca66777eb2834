// response: what the header blocks of a response say, and what status follows from them. No I/O: bytes in, facts out.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>

namespace warren::grpc::client {

class response {
 public:
  enum class block : uint8_t {
    informational,  // 1xx: another block follows
    initial,        // headers; messages and trailers follow
    last,           // the status; of a trailers-only answer it is the only block
    not_grpc,       // the answer of something that does not speak gRPC: status() is final
  };

  void on_header(std::string_view name, std::string_view value);
  void on_headers_over_limit() noexcept { over_limit_ = true; }
  // The block is complete; says what it was.
  block end_block(bool end_stream);
  // END_STREAM came on DATA: no trailers.
  void end_without_trailers();

  // After `last` or `not_grpc`, or end_without_trailers().
  const status& final_status() const noexcept { return status_; }
  // Milliseconds the server wants a retry to wait; negative: it wants none. Nothing: it does not say.
  std::optional<int64_t> pushback_ms() const noexcept { return pushback_; }

  const metadata& initial() const noexcept { return initial_; }
  const metadata& trailing() const noexcept { return trailing_; }
  bool trailers_only() const noexcept { return trailers_only_; }
  // How compressed messages are compressed; nothing for a name that is not ours.
  std::optional<encoding> message_encoding() const noexcept { return encoding_; }
  const std::string& encoding_name() const noexcept { return encoding_name_; }

  void reset() { *this = response(); }

 private:
  void take_metadata(std::string_view name, std::string_view value);
  void read_status();

  // Of the block being read.
  metadata pairs_;
  std::optional<uint32_t> code_;
  bool bad_code_ = false;
  bool bad_binary_ = false;
  std::string message_;
  std::string details_;
  std::string content_type_;
  int http_status_ = 0;
  bool over_limit_ = false;

  // Of the response.
  bool have_initial_ = false;
  bool trailers_only_ = false;
  std::optional<encoding> encoding_ = encoding::identity;
  std::string encoding_name_ = "identity";
  std::optional<int64_t> pushback_;
  metadata initial_;
  metadata trailing_;
  status status_;
};

// What an HTTP status without grpc-status means (doc/http-grpc-status-mapping.md of gRPC).
status_code code_of_http(int http_status) noexcept;
// What RST_STREAM means, if the status had not come (PROTOCOL-HTTP2.md of gRPC, "Errors").
status_code code_of_reset(uint32_t error_code) noexcept;

}  // namespace warren::grpc::client
