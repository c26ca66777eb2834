// channel: the way to a service, over as many connections as it takes, which are made, watched and made again behind it.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <warren/context.h>
#include <warren/grpc/client_call.h>

namespace warren::grpc {

// gRPC's names.
enum class connectivity_state : uint8_t {
  idle,               // no connection, and none is being made: nobody has called
  connecting,         // resolving a name, or connecting
  ready,              // calls go out at once
  transient_failure,  // the last attempt failed; the next one follows after a pause
  shutdown,           // closed
};
// "IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE", "SHUTDOWN".
const char* to_string(connectivity_state s) noexcept;

// TLS 1.2 or later with ALPN h2. Certificates and keys are the text of PEM files.
struct client_tls_options {
  std::string root_certificates{};  // whom to trust; empty: whom the system trusts
  std::string certificate_chain{};  // our own, for servers that want one; with private_key
  std::string private_key{};
  std::string server_name{};  // what the server's certificate must be for, and SNI; empty: the target's host
};

// Each default's reason is in server/client/limits.h.
struct channel_options {
  std::optional<client_tls_options> tls{};  // nothing: plain text
  std::string authority{};                  // :authority; empty: the target's host and port
  std::string user_agent{};                 // put before our own

  // A service config as JSON (gRPC's doc/service_config.md): per method timeout, waitForReady, message limits, retryPolicy, hedgingPolicy;
  // retryThrottling; loadBalancingConfig. What is wrong with it is thrown by the channel's constructor.
  std::string service_config{};
  std::string load_balancing{};  // "pick_first" or "round_robin"; empty: as the service config says, else pick_first
  bool retries = true;           // false: no retry policy, no hedging; what no server has looked at is still sent again

  std::vector<std::shared_ptr<client_interceptor>> interceptors{};  // the first sees a call first
  std::shared_ptr<call_credentials> credentials{};                  // of every call that has none of its own

  size_t max_receive_message = 4u << 20;  // bytes of one message, also after inflating; over it: RESOURCE_EXHAUSTED
  size_t max_send_message = 64u << 20;
  size_t send_buffer = 64u << 10;    // unsent bytes of a call above which its writer parks
  size_t retry_buffer = 256u << 10;  // bytes of a call kept to be sent again; a call that has sent more is not retried
  // Receive windows: bytes that a server may send ahead, of a stream and of a connection. 0: 1 MiB and 4 MiB to begin with; as long as
  // callers read they grow with the path, up to max_window. If either is chosen both stay as they are. What the streams of a connection
  // have above the beginning is bounded by 32 MiB.
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t max_window = 16u << 20;
  size_t max_header_list = 16u << 10;  // of a response, each field counted with 32 extra
  uint32_t max_header_fields = 128;

  std::chrono::milliseconds connect_timeout{20'000};      // name to first SETTINGS, per attempt
  std::chrono::milliseconds initial_backoff{1'000};       // after a failure; then 1.6 times as long each time, give or take a fifth …
  std::chrono::milliseconds max_backoff{120'000};         // … up to this
  std::chrono::milliseconds resolution_interval{30'000};  // a name is not asked for again sooner
  std::chrono::milliseconds write_timeout{20'000};        // a server that takes no byte for so long is gone
  std::chrono::milliseconds keepalive_time = std::chrono::milliseconds::max();  // nothing came for so long: ping. Servers set limits (A8)
  std::chrono::milliseconds keepalive_timeout{20'000};  // … and if then nothing comes for so long the connection is gone
  bool keepalive_without_calls = false;
};

// What a channel has counted.
struct channel_counters {
  uint64_t calls = 0;
  uint64_t attempts = 0;             // streams that calls were sent on, or were to be
  uint64_t transparent_retries = 0;  // sent again because no server had looked at it
  uint64_t retries = 0;              // by policy
  uint64_t hedges = 0;
  uint64_t throttled = 0;    // retries that throttling forbade
  uint64_t connections = 0;  // made
  uint64_t connect_failures = 0;
};

// Targets (gRPC's doc/naming.md):
//   host:port, host, dns:host:port, dns:///host:port   the name's addresses; port 443 unless given
//   ipv4:1.2.3.4:50051,5.6.7.8:50051                    these; likewise ipv6:[::1]:50051,…
//   unix:path, unix:///absolute/path, unix-abstract:name
//
// Nothing is connected before the first call (or connect()). pick_first uses one connection, to the first address that answers (several
// addresses are tried as RFC 8305 has it); round_robin one to each address, in turn.
//
// Thread safety: all functions by any goroutine; the destructor when no other uses the channel any more. Calls may outlive the channel:
// they end with CANCELLED.
class channel {
 public:
  // Throws std::invalid_argument, one line with cause and remedy, for a target, service config or certificate that cannot be understood.
  explicit channel(std::string_view target, channel_options options = {});
  ~channel();  // close()
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;

  // What is open is cancelled, what is made later fails with CANCELLED. Returns when the channel's goroutines have ended. Parks.
  void close();

  connectivity_state state() const;
  // Leaves IDLE. Does not wait.
  void connect();
  // Parks until the state is no longer `from` (true), or ctx is over (false).
  bool wait_for_state_change(connectivity_state from, const warren::context& ctx = {});
  // connect(), then parks until READY (true), or ctx is over or the channel closed (false).
  bool wait_ready(const warren::context& ctx = {});

  channel_counters counters() const;

  // For stubs: begins a call, through the interceptors. Nothing is sent yet.
  call_ptr start(client_context& ctx, const method_info& method);

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace warren::grpc
