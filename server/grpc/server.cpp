#include <mutex>
#include <stdexcept>
#include <utility>

#include <warren/grpc/server.h>

#include "runtime/os/mutex.h"
#include "server/grpc/core.h"
#include "server/grpc/transport.h"
#include "server/http2/event.h"

namespace warren::grpc {

struct server::impl {
  const std::shared_ptr<core> shared = std::make_shared<core>();
  std::shared_ptr<transport> carrier;
  rt::mutex mutex;  // guards the following
  bool started = false;
  bool stopping = false;

  http2::event stopped;

  explicit impl(server_options options) {
    shared->options = std::move(options);
    const transport_maker make = shared->options.transport;
    carrier = make == nullptr ? make_native(shared) : make(shared);
  }

  void shutdown(std::chrono::nanoseconds grace) {
    bool first;
    bool running;
    {
      std::lock_guard hold(mutex);
      first = !std::exchange(stopping, true);
      running = started;
    }
    if (!first) {
      stopped.wait();
      return;
    }
    if (running) carrier->shutdown(grace);
    stopped.set();
  }
};

server::server(server_options options) : impl_(std::make_shared<impl>(std::move(options))) {}

server::~server() { shutdown(std::chrono::nanoseconds(0)); }

void server::add(service& s) {
  {
    std::lock_guard hold(impl_->mutex);
    if (impl_->started) throw std::logic_error("grpc: add after start; add every service first");
  }
  impl_->shared->methods.add(s);
}

void server::intercept(interceptor& i) {
  std::lock_guard hold(impl_->mutex);
  if (impl_->started) throw std::logic_error("grpc: intercept after start; add every interceptor first");
  impl_->shared->interceptors.push_back(&i);
}

void server::limit(std::string_view method, uint32_t calls) {
  {
    std::lock_guard hold(impl_->mutex);
    if (impl_->started) throw std::logic_error("grpc: limit after start; set every limit first");
  }
  if (calls == 0) throw std::logic_error("grpc: a limit of 0 calls; to serve no call of a method, do not add it");
  if (!impl_->shared->methods.limit(method, calls)) {
    throw std::logic_error("grpc: limit of " + std::string(method) + ": no such method was added; write /package.Service/Method");
  }
}

void server::start() {
  {
    std::lock_guard hold(impl_->mutex);
    if (impl_->started || impl_->stopping) throw std::logic_error("grpc: a server is started once; make another");
  }
  impl_->carrier->start();
  std::lock_guard hold(impl_->mutex);
  impl_->started = true;
}

void server::reload_tls() { impl_->carrier->reload_tls(); }

std::string server::address() const { return impl_->carrier->where(); }

void server::serve() {
  bool started;
  {
    std::lock_guard hold(impl_->mutex);
    started = impl_->started;
  }
  if (!started) start();
  const std::shared_ptr<impl> self = impl_;
  self->stopped.wait();
}

void server::shutdown(std::chrono::nanoseconds grace) {
  const std::shared_ptr<impl> self = impl_;  // whoever waits in serve() may destroy the server before this returns
  self->shutdown(grace);
}

std::vector<std::string> server::services() const { return impl_->shared->methods.services(); }

std::vector<connection_info> server::connections(uint64_t first_id, size_t most) const { return impl_->carrier->list(first_id, most); }

server_counters server::counters() const {
  const core& shared = *impl_->shared;
  const auto read = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  server_counters out;
  out.methods = shared.methods.counters();
  out.calls_unknown_method = read(shared.unknown_method);
  out.calls_rejected = read(shared.rejected);
  out.calls_slow = read(shared.slow);
  out.calls_over_limit = read(shared.over_limit);
  impl_->carrier->count(out);
  return out;
}

}  // namespace warren::grpc
