// A service for tests of the transport, with a message type that is just its bytes: no protobuf.
#pragma once
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/grpc.h>
#include <warren/select.h>
#include <warren/unix.h>

#include "tests/server/transport_under_test.h"

namespace warren::testing {

struct text {
  std::string bytes;
};

}  // namespace warren::testing

template <>
struct warren::grpc::codec<warren::testing::text> {
  // "unparsable" stands for bytes that are no message.
  static bool parse(warren::testing::text& into, std::span<const char> bytes) {
    into.bytes.assign(bytes.data(), bytes.size());
    return into.bytes != "unparsable";
  }
  static void clear(warren::testing::text& m) { m.bytes.clear(); }
  static size_t size(const warren::testing::text& m) { return m.bytes.size(); }
  static void write(const warren::testing::text& m, char* out) { std::memcpy(out, m.bytes.data(), m.bytes.size()); }
};

namespace warren::testing {

// Handlers note what they saw in atomics; a test waits for them with until().
struct text_service final : grpc::service {
  std::atomic<int> ran{0};  // handlers that began
  std::atomic<int> returned{0};
  std::atomic<int> cancelled{0};  // handlers that saw their context end
  std::atomic<int> cause{0};      // why, as a status code
  std::atomic<int> writes{0};     // messages written by the streaming methods
  std::atomic<bool> hold{true};   // Wait and Hang go on when it is false

  grpc::result<text> Echo(grpc::server_context&, const text& request) {
    ran++;
    returned++;
    return text{request.bytes};
  }
  // The request is "<code> <message>".
  grpc::result<text> Fail(grpc::server_context&, const text& request) {
    const size_t space = request.bytes.find(' ');
    return grpc::status(static_cast<grpc::status_code>(std::stoi(request.bytes)), request.bytes.substr(space + 1));
  }
  grpc::result<text> Throw(grpc::server_context&, const text&) { throw std::runtime_error("a secret"); }
  grpc::result<text> NoReply(grpc::server_context&, const text&) { return grpc::status(); }
  grpc::result<text> Big(grpc::server_context&, const text& request) { return text{std::string(std::stoul(request.bytes), 'b')}; }
  // Answers when hold is off, without looking at its context.
  grpc::result<text> Wait(grpc::server_context&, const text& request) {
    ran++;
    while (hold) warren::sleep(std::chrono::milliseconds(1));
    returned++;
    return text{request.bytes};
  }
  // Computes without parking: for a few milliseconds, or until another such handler is seen running at the same time.
  std::atomic<int> spinning{0};
  std::atomic<bool> met{false};
  grpc::result<text> Spin(grpc::server_context&, const text&) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
    if (++spinning > 1) met = true;
    while (std::chrono::steady_clock::now() < end && !met) {
    }
    spinning--;
    return text{};
  }
  // Waits for the end of its context.
  grpc::result<text> UntilDone(grpc::server_context& ctx, const text&) {
    ran++;
    warren::chan<warren::unit> done = ctx.done();
    done.recv();
    cancelled++;
    cause = static_cast<int>(ctx.cause());
    returned++;
    return grpc::cancelled("seen by the handler");
  }
  // What the call's context, and a child with a nearer deadline, say; with x-wait after a sleep that only the end of the call interrupts.
  grpc::result<text> Context(grpc::server_context& ctx, const text&) {
    const warren::context c = ctx;
    std::string said = c == ctx.as_context() ? "same" : "another";
    said += c.deadline() == ctx.deadline() ? " deadline" : " other-deadline";
    const auto child = warren::with_timeout(ctx, std::chrono::hours(1));
    warren::cancel_guard guard(child.cancel);
    said += child.ctx.err() ? " over" : " on";
    ran++;
    kept = c;
    if (ctx.metadata().find("x-wait")) {
      warren::sleep(child.ctx, std::chrono::hours(1));
      cancelled++;
      said += child.ctx.err() == warren::context_errc::deadline_exceeded ? " late" : " gone";
      cause = static_cast<int>(ctx.cause());
    }
    last = said;
    returned++;
    return text{said};
  }
  warren::root_context kept;  // what Context got, read after returned says so
  std::string last;
  // Echoes metadata: x-echo-initial early, x-echo-trailing-bin late; the values of "seen" in the reply, joined by '|'.
  grpc::result<text> Metadata(grpc::server_context& ctx, const text& request) {
    for (const auto v : ctx.metadata().find_all("x-echo-initial")) ctx.add_initial_metadata("x-echo-initial", v);
    for (const auto v : ctx.metadata().find_all("x-echo-trailing-bin")) ctx.add_trailing_metadata("x-echo-trailing-bin", v);
    if (request.bytes == "fail") return grpc::aborted("with metadata");
    text reply;
    for (const auto e : ctx.metadata()) {
      reply.bytes += std::string(e.key) + "=" + std::string(e.value) + "|";
    }
    return reply;
  }
  grpc::result<text> Facts(grpc::server_context& ctx, const text&) {
    return text{std::string(ctx.method()) + " " + std::string(ctx.authority()) + " " + std::string(ctx.peer().substr(0, 10)) + " " +
                (ctx.deadline() ? "limited" : "unlimited") + " " + (ctx.cancelled() ? "over" : "on")};
  }
  grpc::result<text> Peer(grpc::server_context& ctx, const text&) { return text{std::string(ctx.peer())}; }
  // Who calls, as far as the connection proves it.
  grpc::result<text> Who(grpc::server_context& ctx, const text&) {
    std::string out;
    if (const grpc::tls_info* t = ctx.tls()) {
      out = t->protocol + " " + t->cipher + " " + (t->has_certificate ? "shown" : "none") + " subject=" + t->subject +
            " cn=" + t->common_name + " issuer=" + t->issuer;
      for (const auto& v : t->dns_names) out += " dns=" + v;
      for (const auto& v : t->uris) out += " uri=" + v;
      for (const auto& v : t->emails) out += " email=" + v;
      for (const auto& v : t->ip_addresses) out += " ip=" + v;
      out += " serial=" + t->serial + " fingerprint=" + std::to_string(t->fingerprint.size()) + " der=" + (t->der.empty() ? "no" : "yes");
    } else {
      out = "plain";
    }
    if (const peer_credentials* p = ctx.process()) out += " uid=" + std::to_string(p->uid) + " pid=" + std::to_string(p->pid);
    return text{out};
  }
  // The request is "<count> <size>".
  grpc::status Stream(grpc::server_context& ctx, const text& request, grpc::writer<text>& out) {
    ran++;
    size_t rest = 0;
    const int count = std::stoi(request.bytes, &rest);
    const size_t size = std::stoul(request.bytes.substr(rest));
    for (int i = 0; i < count; i++) {
      if (!out.write(text{std::string(size, static_cast<char>('a' + i % 26))})) {
        cancelled++;
        cause = static_cast<int>(ctx.cause());
        returned++;
        return grpc::cancelled("");
      }
      writes++;
    }
    returned++;
    return {};
  }
  grpc::status StreamFail(grpc::server_context& ctx, const text& request, grpc::writer<text>& out) {
    ctx.add_initial_metadata("x-early", "1");
    if (request.bytes != "0" && !out.write(text{"one"})) return {};
    const bool late = ctx.add_initial_metadata("x-too-late", "1");
    return grpc::data_loss(late ? "headers had not left" : "headers had left");
  }
  grpc::status Hang(grpc::server_context& ctx, const text&, grpc::writer<text>& out) {
    ran++;
    static_cast<void>(out.write(text{"first"}));  // false: cancelled already
    ctx.done().recv();
    cancelled++;
    cause = static_cast<int>(ctx.cause());
    returned++;
    return {};
  }
  std::atomic<int> reads{0};  // messages taken by the methods that take a stream
  // Answers "<messages> <bytes> <last message, if short>"; "enough" ends it early, "no" makes it fail.
  grpc::result<text> Upload(grpc::server_context& ctx, grpc::reader<text>& in) {
    ran++;
    size_t n = 0;
    size_t bytes = 0;
    std::string last;
    for (const text& m : in) {
      reads++;
      n++;
      bytes += m.bytes.size();
      last = m.bytes.size() < 100 ? m.bytes : "";
      if (m.bytes == "enough") return text{"had enough"};
      if (m.bytes == "no") return grpc::failed_precondition("not that one");
    }
    if (ctx.cancelled()) {
      cancelled++;
      cause = static_cast<int>(ctx.cause());
    }
    returned++;
    return text{std::to_string(n) + " " + std::to_string(bytes) + " " + last};
  }
  // Sends every message back.
  grpc::status Chat(grpc::server_context& ctx, grpc::stream<text, text>& io) {
    ran++;
    text m;
    while (io.read(m)) {
      reads++;
      if (m.bytes == "bye") return grpc::out_of_range("bye");
      if (!io.write(m)) break;
      writes++;
    }
    if (ctx.cancelled()) {
      cancelled++;
      cause = static_cast<int>(ctx.cause());
    }
    returned++;
    return {};
  }
  // Reads all, then says so in one message.
  grpc::status Tail(grpc::server_context&, grpc::stream<text, text>& io) {
    for (const text& m : static_cast<grpc::reader<text>&>(io)) reads += m.bytes.empty() ? 0 : 1;
    if (io.write(text{"the end"})) writes++;
    returned++;
    return {};
  }
  // Reads nothing while hold is on, then everything; answers like Upload.
  grpc::result<text> LateUpload(grpc::server_context& ctx, grpc::reader<text>& in) {
    ran++;
    while (hold && !ctx.cancelled()) warren::sleep(std::chrono::milliseconds(1));
    ran--;
    return Upload(ctx, in);
  }
  // One goroutine reads while the handler writes until what was read says so.
  grpc::status Duplex(grpc::server_context& ctx, grpc::stream<text, text>& io) {
    ran++;
    std::atomic<bool> stop{false};
    auto ended = warren::make_chan<warren::unit>(0);
    warren::go([&, ended]() mutable {
      for (const text& m : static_cast<grpc::reader<text>&>(io)) {
        reads++;
        if (m.bytes == "stop") stop = true;
      }
      stop = true;
      ended.close();
    });
    while (!stop && io.write(text{"tick"})) writes++;
    if (ctx.cancelled()) cancelled++;
    ended.recv();
    returned++;
    return {};
  }
  // Another goroutine has read before the handler parks for the first time, or enters the runtime at all: nothing orders what the two do.
  grpc::status ReadAhead(grpc::server_context&, grpc::stream<text, text>& io) {
    std::atomic<int> seen{0};
    auto ended = warren::make_chan<warren::unit>(0);
    warren::go([&, ended]() mutable {
      for ([[maybe_unused]] const text& m : static_cast<grpc::reader<text>&>(io)) seen.fetch_add(1, std::memory_order_relaxed);
      ended.close();
    });
    while (seen.load(std::memory_order_relaxed) == 0) {
    }
    ended.recv();
    reads += seen.load();
    return {};
  }
  // Sends its headers at once and answers when hold is off.
  grpc::result<text> EarlyHeaders(grpc::server_context& ctx, const text& request) {
    ctx.add_initial_metadata("x-early", "1");
    const bool sent = ctx.send_initial_metadata();
    const bool again = ctx.send_initial_metadata() || ctx.add_initial_metadata("x-late", "1");
    ran++;
    while (hold) warren::sleep(std::chrono::milliseconds(1));
    ctx.add_trailing_metadata("x-sent", sent && !again ? "once" : "wrongly");
    if (request.bytes == "fail") return grpc::aborted("after the headers");
    return request;
  }
  // The request is "<encoding> <size>": a reply of so many bytes, compressed so.
  grpc::result<text> Packed(grpc::server_context& ctx, const text& request) {
    const size_t space = request.bytes.find(' ');
    const std::string how = request.bytes.substr(0, space);
    const bool can = ctx.compress(how == "gzip" ? grpc::encoding::gzip : grpc::encoding::deflate);
    ctx.add_trailing_metadata("x-can", can ? "yes" : "no");
    ctx.add_trailing_metadata("x-came-compressed", ctx.request_compressed() ? "yes" : "no");
    return text{std::string(std::stoul(request.bytes.substr(space)), 'p')};
  }
  // Sends every message back, every second one uncompressed.
  grpc::status PackedChat(grpc::server_context& ctx, grpc::stream<text, text>& io) {
    if (!ctx.compress(grpc::encoding::gzip)) return grpc::failed_precondition("gzip is not taken");
    bool compress = true;
    for (const text& m : static_cast<grpc::reader<text>&>(io)) {
      if (!io.write(m, {.compress = compress})) break;
      compress = !compress;
    }
    return {};
  }

  std::string_view full_name() const override { return "test.Text"; }
  std::span<const grpc::method_descriptor> methods() const override {
    using enum grpc::method_kind;
    using s = text_service;
    static constexpr grpc::method_descriptor table[] = {
        {"Echo", unary, &grpc::unary<&s::Echo, text, text>},
        {"Fail", unary, &grpc::unary<&s::Fail, text, text>},
        {"Throw", unary, &grpc::unary<&s::Throw, text, text>},
        {"NoReply", unary, &grpc::unary<&s::NoReply, text, text>},
        {"Big", unary, &grpc::unary<&s::Big, text, text>},
        {"Peer", unary, &grpc::unary<&s::Peer, text, text>},
        {"Wait", unary, &grpc::unary<&s::Wait, text, text>},
        {"Spin", unary, &grpc::unary<&s::Spin, text, text>},
        {"UntilDone", unary, &grpc::unary<&s::UntilDone, text, text>},
        {"Context", unary, &grpc::unary<&s::Context, text, text>},
        {"Metadata", unary, &grpc::unary<&s::Metadata, text, text>},
        {"Facts", unary, &grpc::unary<&s::Facts, text, text>},
        {"Who", unary, &grpc::unary<&s::Who, text, text>},
        {"Stream", server_streaming, &grpc::server_streaming<&s::Stream, text, text>},
        {"StreamFail", server_streaming, &grpc::server_streaming<&s::StreamFail, text, text>},
        {"Hang", server_streaming, &grpc::server_streaming<&s::Hang, text, text>},
        {"Upload", client_streaming, &grpc::client_streaming<&s::Upload, text, text>},
        {"LateUpload", client_streaming, &grpc::client_streaming<&s::LateUpload, text, text>},
        {"Chat", bidi_streaming, &grpc::bidi_streaming<&s::Chat, text, text>},
        {"Tail", bidi_streaming, &grpc::bidi_streaming<&s::Tail, text, text>},
        {"Duplex", bidi_streaming, &grpc::bidi_streaming<&s::Duplex, text, text>},
        {"ReadAhead", bidi_streaming, &grpc::bidi_streaming<&s::ReadAhead, text, text>},
        {"EarlyHeaders", unary, &grpc::unary<&s::EarlyHeaders, text, text>},
        {"Packed", unary, &grpc::unary<&s::Packed, text, text>},
        {"PackedChat", bidi_streaming, &grpc::bidi_streaming<&s::PackedChat, text, text>},
    };
    return table;
  }
};

// Waits until condition() holds: a bounded wait on what the test looks at, not a guess at how long it takes.
template <class F>
bool until(F condition, std::chrono::seconds patience = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    warren::sleep(std::chrono::milliseconds(1));
  }
  return true;
}

// Runs body(server, service) on goroutine 1 of a runtime, with a server on a free port.
template <class F>
void with_server(grpc::server_options options, F body) {
  warren::run([&] {
    auto service = std::make_unique<text_service>();
    if (options.listen == grpc::server_options().listen) options.listen = "127.0.0.1:0";
    // Tests ping to learn that the server has come so far; those about pings ask for another interval than the default.
    if (options.min_ping_interval == grpc::server_options().min_ping_interval) options.min_ping_interval = {};
    options.transport = transport_under_test;
    grpc::server server(options);
    server.add(*service);
    server.start();
    body(server, *service);
    service->hold = false;
    server.shutdown(std::chrono::nanoseconds(0));
  });
}
template <class F>
void with_server(F body) {
  with_server(grpc::server_options{}, body);
}

}  // namespace warren::testing
