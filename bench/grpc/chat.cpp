#include "bench/grpc/chat.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace bench {

chat::chat(const std::string& address, const std::string& path, const std::string& message, int connections, int streams)
    : message_(framed(message)) {
  const std::string block = request_block(path, "bench");
  poller_ = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < connections; i++) {
    auto c = std::make_unique<connection>(address, static_cast<size_t>(streams));
    for (int n = 0; n < streams; n++) put_frame(c->plain.out, kHeaders, kEndHeaders, c->plain.next_stream(), block);
    c->plain.flush();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = c.get();
    epoll_ctl(poller_, EPOLL_CTL_ADD, c->plain.fd(), &event);
    connections_.push_back(std::move(c));
  }
}

chat::~chat() { close(poller_); }

void chat::send(connection& c, size_t number) {
  stream& s = c.streams[number];
  s.missing = message_.size();
  s.sent = clock::now();
  if (c.plain.window() < static_cast<int64_t>(message_.size()))
    throw std::runtime_error("chat: the server does not open the connection's window");
  c.plain.spend(message_.size());
  put_frame(c.plain.out, kData, 0, static_cast<uint32_t>(2 * number + 1), message_);
}

// more(): may another message be sent? Returns how many came back.
template <class F>
int64_t chat::exchange(F&& more, std::vector<int64_t>* us) {
  int64_t open = 0, done = 0;
  for (const auto& c : connections_) {
    for (size_t n = 0; n < c->streams.size() && more(); n++) {
      send(*c, n);
      open++;
    }
    c->plain.flush();
  }
  while (open > 0) {
    epoll_event ready[64];
    const int n = epoll_wait(poller_, ready, 64, 10'000);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw std::runtime_error("chat: no message came back within 10 s");
    for (int i = 0; i < n; i++) {
      auto& c = *static_cast<connection*>(ready[i].data.ptr);
      c.plain.read(
          [&](uint8_t type, uint8_t flags, uint32_t id, std::string_view payload) {
            if (type == kReset || (flags & kEndStream) != 0) throw std::runtime_error("chat: the server ended a stream");
            if (type != kData) return;
            stream& s = c.streams.at((id - 1) / 2);
            if (payload.size() > s.missing) throw std::runtime_error("chat: more came back than was sent");
            s.missing -= payload.size();
            if (s.missing != 0) return;
            if (us != nullptr) us->push_back(std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - s.sent).count());
            open--;
            done++;
            if (!more()) return;
            send(c, (id - 1) / 2);
            open++;
          },
          false);
      if (!c.plain.out.empty()) c.plain.flush();
    }
  }
  return done;
}

double chat::run_for(std::chrono::milliseconds time) {
  const auto start = clock::now();
  const int64_t n = exchange([&] { return clock::now() - start < time; }, nullptr);
  return static_cast<double>(n) / std::chrono::duration<double>(clock::now() - start).count();
}

void chat::run(int64_t count, std::vector<int64_t>* us) {
  exchange([&] { return count-- > 0; }, us);
}

}  // namespace bench
