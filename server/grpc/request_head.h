// request_head: what the header block of a request says, and what is wrong with it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <warren/grpc/compression.h>
#include <warren/grpc/metadata.h>
#include <warren/grpc/status.h>

#include "server/grpc/method_table.h"

namespace warren::grpc {

// Fed field by field while the block comes in, looked at when it is whole, constant from then on. Knows nothing of streams and answers.
class request_head {
 public:
  enum class finding : uint8_t {
    fine,
    page,  // no call, but the path is "/": a browser, or a prober
    // The others are refused: see why().
    over_limit,
    not_grpc,
    not_post,
    unknown_method,
    other_format,
    bad_timeout,
    bad_encoding,
    bad_binary,
  };
  struct refusal {
    const char* http_status;
    status_code code;
    std::string message;
  };

  explicit request_head(const method_table& methods) noexcept : methods_(methods) {}

  void on_field(std::string_view name, std::string_view value);
  void on_fields_over_limit() noexcept { over_limit_ = true; }  // some were not delivered

  // Of the whole block: the first thing that is wrong, in the order of trust: what makes it a gRPC call at all, then which, then how.
  finding find() const noexcept;
  // REQUIRES: f is a finding that is refused.
  refusal why(finding f) const;

  // REQUIRES: path_known().
  const grpc::method* method() const noexcept { return method_; }
  bool path_known() const noexcept { return path_known_; }
  bool asks_for_head() const noexcept { return head_; }                    // the HTTP method is HEAD
  bool proto() const noexcept { return content_ == content::grpc_proto; }  // the content-type says +proto, and the answer's will
  std::optional<int64_t> timeout() const noexcept { return timeout_; }     // nanoseconds
  encoding message_encoding() const noexcept { return encoding_; }
  bool accepts(encoding e) const noexcept { return (accepts_ >> static_cast<unsigned>(e) & 1) != 0; }
  std::string_view authority() const noexcept { return authority_; }
  const grpc::metadata& metadata() const noexcept { return metadata_; }

  // Of a request that has not come. The method is remembered: that of the next one is probably the same.
  void reset() noexcept;

 private:
  enum class content : uint8_t { absent, grpc, grpc_proto, grpc_other, not_grpc };

  const method_table& methods_;
  const grpc::method* method_ = nullptr;
  bool path_known_ = false;
  bool post_ = false;
  bool head_ = false;
  bool root_path_ = false;
  bool over_limit_ = false;
  bool bad_timeout_ = false;
  bool bad_binary_ = false;
  bool bad_encoding_ = false;
  bool host_seen_ = false;
  encoding encoding_ = encoding::identity;
  content content_ = content::absent;
  uint32_t accepts_ = 0;  // 1 << encoding
  std::optional<int64_t> timeout_;
  std::string authority_;
  std::string path_text_;  // of an unknown method
  grpc::metadata metadata_;
};

}  // namespace warren::grpc
