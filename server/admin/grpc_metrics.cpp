#include <string>
#include <utility>

#include <warren/metrics.h>

#include "server/admin/families.h"

namespace warren::admin {
namespace {

class grpc_collector final : public prometheus::Collectable {
 public:
  explicit grpc_collector(const grpc::server& s) : server_(s) {}

  std::vector<MetricFamily> Collect() const override {
    const grpc::server_counters now = server_.counters();
    families f;

    // Each family is filled before the next is added: family() gives a reference into a growing list.
    const auto per_method = [&](const char* name, const char* help, auto value) {
      MetricFamily& family = f.family(name, help, MetricType::Counter);
      for (const auto& m : now.methods) family.metric.push_back(counter_sample(static_cast<double>(value(m)), labels_of(m)));
    };
    per_method("grpc_server_started_total", "Total number of RPCs started on the server.",
               [](const grpc::method_counters& m) { return m.started; });
    MetricFamily& handled =
        f.family("grpc_server_handled_total", "Total number of RPCs completed on the server, regardless of success or failure.",
                 MetricType::Counter);
    for (const auto& m : now.methods) {
      for (int code = 0; code < grpc::kStatusCodes; code++) {
        labels l = labels_of(m);
        l.push_back({"grpc_code", to_string(static_cast<grpc::status_code>(code))});
        handled.metric.push_back(counter_sample(static_cast<double>(m.handled[static_cast<size_t>(code)]), std::move(l)));
      }
    }
    per_method("grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.",
               [](const grpc::method_counters& m) { return m.messages_received; });
    per_method("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.",
               [](const grpc::method_counters& m) { return m.messages_sent; });

    MetricFamily& latency = f.family(
        "grpc_server_handling_seconds",
        "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.", MetricType::Histogram);
    for (const auto& m : now.methods) latency.metric.push_back(latency_of(m));

    const auto total = [&](const char* name, const char* help, uint64_t value) { f.counter(name, help, static_cast<double>(value)); };
    f.gauge("warren_grpc_connections_open", "HTTP/2 connections open now.", static_cast<double>(now.connections_open));
    total("warren_grpc_connections_accepted_total", "Connections accepted on the gRPC port.", now.connections_accepted);
    total("warren_grpc_accept_errors_total", "Failed accept calls on the gRPC port.", now.accept_errors);
    MetricFamily& ended = f.family("warren_grpc_connections_ended_total", "Connections the server ended, by reason.", MetricType::Counter);
    const auto reason = [](const char* why, uint64_t value) { return counter_sample(static_cast<double>(value), {{"reason", why}}); };
    ended.metric = {reason("abuse", now.connections_abused),
                    reason("protocol_error", now.connections_protocol_error),
                    reason("not_http2", now.connections_not_http2),
                    reason("stalled", now.connections_stalled),
                    reason("dead", now.connections_dead),
                    reason("age", now.connections_aged),
                    reason("idle", now.connections_idle)};
    total("warren_grpc_connections_refused_total", "Connections closed at once: over max_connections.", now.connections_refused);
    total("warren_grpc_streams_stalled_total", "Calls reset because their answer could not be sent: the peer's window stayed shut.",
          now.streams_stalled);
    total("warren_grpc_windows_grown_total", "Times the receive windows of a connection grew because its path holds more.",
          now.windows_grown);
    total("warren_grpc_calls_slow_total", "Calls ended because their request did not come whole within request_timeout.", now.calls_slow);
    total("warren_grpc_calls_over_limit_total", "Calls answered UNAVAILABLE because of a limit of calls running at once.",
          now.calls_over_limit);
    total("warren_grpc_calls_unknown_method_total", "Calls of a service or method the server does not have.", now.calls_unknown_method);
    total("warren_grpc_calls_rejected_total", "Calls answered before a handler ran: content-type, limits, framing.", now.calls_rejected);
    total("warren_grpc_streams_refused_total", "Streams refused over the limit or during shutdown.", now.streams_refused);
    f.gauge("warren_grpc_tls_handshakes_open", "TLS handshakes under way.", static_cast<double>(now.tls_handshakes_open));
    MetricFamily& shaken =
        f.family("warren_grpc_tls_handshakes_total", "TLS handshakes of clients, by how they ended.", MetricType::Counter);
    const auto result = [](const char* how, uint64_t value) { return counter_sample(static_cast<double>(value), {{"result", how}}); };
    shaken.metric = {result("done", now.tls_handshakes), result("failed", now.tls_handshakes_failed),
                     result("timed_out", now.tls_handshakes_timed_out), result("evicted", now.tls_handshakes_evicted),
                     result("not_h2", now.tls_handshakes_not_h2)};
    total("warren_grpc_tls_reloads_total", "Times the TLS files were read again and taken into use.", now.tls_reloads);
    total("warren_grpc_tls_reload_failures_total", "Times they were read again and could not be used.", now.tls_reload_failures);
    f.gauge("warren_grpc_tls_certificate_expiry_timestamp_seconds", "When the server's certificate expires, in Unix time; 0 without TLS.",
            static_cast<double>(now.tls_certificate_expires));
    total("warren_grpc_received_bytes_total", "Bytes read from gRPC sockets.", now.bytes_received);
    total("warren_grpc_sent_bytes_total", "Bytes written to gRPC sockets.", now.bytes_sent);
    total("warren_grpc_reads_total", "System calls that read from gRPC sockets.", now.reads);
    total("warren_grpc_writes_total", "System calls that wrote to gRPC sockets.", now.writes);
    return f.take();
  }

 private:
  static labels labels_of(const grpc::method_counters& m) {
    return {{"grpc_type", to_string(m.kind)}, {"grpc_service", m.service}, {"grpc_method", m.method}};
  }

  static ClientMetric latency_of(const grpc::method_counters& m) {
    ClientMetric sample;
    sample.label = labels_of(m);
    uint64_t below = 0;
    for (size_t i = 0; i < m.latency.size(); i++) {
      below += m.latency[i];
      if (i < grpc::kLatencyBounds.size()) sample.histogram.bucket.push_back({below, grpc::kLatencyBounds[i]});
    }
    // The last bucket, +Inf, is written by the serializer from the count.
    sample.histogram.sample_count = below;
    sample.histogram.sample_sum = m.latency_seconds;
    return sample;
  }

  const grpc::server& server_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> grpc_metrics(const grpc::server& s) { return std::make_shared<grpc_collector>(s); }

}  // namespace warren::admin
