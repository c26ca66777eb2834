// The ceiling of every gRPC server on nghttp2: an echo with nothing above nghttp2 but what the protocol asks for. One thread, epoll, no
// goroutines, no protobuf, no method, deadline, limit or counter: whatever path is called, the bytes of the request come back as the
// reply, with gRPC's headers and grpc-status 0. What a server costs above this is what it does for its users.
//
// Nothing of the protocol is left out: nghttp2 decodes and checks every field and opens the windows by itself. One read of the socket makes
// a batch, and the batch's answers leave in one write (more, if they are larger than the room). nghttp2's blocks come from the free lists
// that warren gives it too: without them a seventh of the instructions would be malloc's.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/http2/session_memory.h"

namespace {

constexpr size_t kReadSize = 128 << 10;           // as much as warren reads at once
constexpr size_t kRoom = 128 << 10;               // of one write
constexpr size_t kLargestFrame = (16 << 10) + 9;  // that nghttp2 makes unless told otherwise
// The same as warren's: neither is to wait for windows where the other does not.
constexpr uint32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 4 << 20;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "nghttp2_echo: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

// nghttp2 says no only for want of memory, or when it is used wrongly.
void must(int rv, const char* what) {
  if (rv == 0) return;
  std::fprintf(stderr, "nghttp2_echo: %s: %s; this is a defect of the benchmark\n", what, nghttp2_strerror(rv));
  std::exit(1);
}

nghttp2_nv field(const char* name, const char* value) {
  // nghttp2 takes non-const pointers and, with these flags, neither writes nor copies.
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name)), reinterpret_cast<uint8_t*>(const_cast<char*>(value)), std::strlen(name),
          std::strlen(value), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

struct call {
  std::string bytes;  // of the request, which is the reply
  size_t sent = 0;
};

// Of all connections: there is one thread.
uint8_t in[kReadSize];
warren::http2::free_blocks blocks;

class connection {
 public:
  explicit connection(int fd) : fd_(fd) {
    memory_.lend(&blocks);
    must(nghttp2_session_server_new3(&session_, callbacks(), this, options(), memory_.table()), "nghttp2_session_server_new3");
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    must(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)), "nghttp2_submit_settings");
    must(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow), "nghttp2_session_set_local_window_size");
  }
  ~connection() {
    nghttp2_session_del(session_);
    close(fd_);
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  int fd() const { return fd_; }
  bool writes() const { return out_at_ != out_size_; }  // the socket is full

  // false, of both: it is over.
  bool on_readable() {
    const ssize_t n = ::read(fd_, in, sizeof in);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0 || nghttp2_session_mem_recv(session_, in, static_cast<size_t>(n)) < 0) return false;
    return write();
  }
  bool write() {
    for (;;) {
      if (!writes() && !fill()) break;
      const ssize_t n = ::write(fd_, out() + out_at_, out_size_ - out_at_);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      out_at_ += static_cast<size_t>(n);
    }
    return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
  }

 private:
  // Serialises as much as there is and there is room for. false: there was nothing.
  bool fill() {
    out_at_ = out_size_ = 0;
    while (kRoom - out_size_ >= kLargestFrame) {
      const uint8_t* frame;
      // May put frames of DATA into the room itself, through send_data, which leaves room for one frame more.
      const ssize_t n = nghttp2_session_mem_send(session_, &frame);
      if (n < 0) must(static_cast<int>(n), "nghttp2_session_mem_send");
      if (n == 0) break;
      std::memcpy(out() + out_size_, frame, static_cast<size_t>(n));
      out_size_ += static_cast<size_t>(n);
    }
    return out_size_ != 0;
  }
  uint8_t* out() {
    if (out_ == nullptr) out_ = std::make_unique<uint8_t[]>(kRoom);
    return out_.get();
  }

  static connection& self(void* user) { return *static_cast<connection*>(user); }

  static int begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    connection& self = connection::self(user);
    if (self.spare_.empty()) self.spare_.push_back(&self.calls_.emplace_back());
    call* const c = self.spare_.back();
    self.spare_.pop_back();
    must(nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, c), "nghttp2_session_set_stream_user_data");
    return 0;
  }

  static int data_chunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
    auto* const c = static_cast<call*>(nghttp2_session_get_stream_user_data(session, id));
    if (c != nullptr) c->bytes.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    auto* const c = static_cast<call*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
    if (c == nullptr) return 0;
    static const nghttp2_nv headers[] = {field(":status", "200"), field("content-type", "application/grpc")};
    nghttp2_data_provider body;
    body.source.ptr = c;
    body.read_callback = read_body;
    must(nghttp2_submit_response(session, frame->hd.stream_id, headers, std::size(headers), &body), "nghttp2_submit_response");
    return 0;
  }

  static ssize_t read_body(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags, nghttp2_data_source* source,
                           void*) {
    const call& c = *static_cast<call*>(source->ptr);
    const size_t left = c.bytes.size() - c.sent;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left > length) return static_cast<ssize_t>(length);
    static const nghttp2_nv trailers[] = {field("grpc-status", "0")};
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    must(nghttp2_submit_trailer(session, id, trailers, std::size(trailers)), "nghttp2_submit_trailer");
    return static_cast<ssize_t>(left);
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length, nghttp2_data_source* source, void* user) {
    connection& self = connection::self(user);
    constexpr size_t kHead = 9;  // never padded
    if (kRoom - self.out_size_ < kLargestFrame + kHead + length) return NGHTTP2_ERR_WOULDBLOCK;
    call& c = *static_cast<call*>(source->ptr);
    uint8_t* const at = self.out() + self.out_size_;
    std::memcpy(at, head, kHead);
    std::memcpy(at + kHead, c.bytes.data() + c.sent, length);
    c.sent += length;
    self.out_size_ += kHead + length;
    return 0;
  }

  static int stream_close(nghttp2_session* session, int32_t id, uint32_t, void* user) {
    auto* const c = static_cast<call*>(nghttp2_session_get_stream_user_data(session, id));
    if (c == nullptr) return 0;
    c->bytes.clear();
    c->sent = 0;
    self(user).spare_.push_back(c);
    return 0;
  }

  // One table for all sessions; nghttp2 copies what it needs from it.
  static const nghttp2_session_callbacks* callbacks() {
    static const nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* c = nullptr;
      must(nghttp2_session_callbacks_new(&c), "nghttp2_session_callbacks_new");
      nghttp2_session_callbacks_set_on_begin_headers_callback(c, begin_headers);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, data_chunk);
      nghttp2_session_callbacks_set_on_frame_recv_callback(c, frame_recv);
      nghttp2_session_callbacks_set_on_stream_close_callback(c, stream_close);
      nghttp2_session_callbacks_set_send_data_callback(c, send_data);
      return c;
    }();
    return table;
  }
  static const nghttp2_option* options() {
    static const nghttp2_option* const made = [] {
      nghttp2_option* o = nullptr;
      must(nghttp2_option_new(&o), "nghttp2_option_new");
      nghttp2_option_set_no_closed_streams(o, 1);
      return o;
    }();
    return made;
  }

  int fd_;
  warren::http2::session_memory memory_;
  nghttp2_session* session_ = nullptr;
  std::deque<call> calls_;  // as many as were ever open at once, with buffers as large as they ever were
  std::vector<call*> spare_;
  std::unique_ptr<uint8_t[]> out_;
  size_t out_at_ = 0;  // of what is in out_ and not with the kernel yet
  size_t out_size_ = 0;
};

int listen_on(const std::string& where) {
  const size_t colon = where.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, where.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "nghttp2_echo: --listen %s: not ADDR:PORT; give an IPv4 address and a port, 0 for any\n", where.c_str());
    std::exit(2);
  }
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(where.c_str() + colon + 1)));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  socklen_t size = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, SOMAXCONN) != 0) fail("listen " + where);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("listening on %s:%d\n", where.substr(0, colon).c_str(), ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

// Until SIGTERM or SIGINT.
void serve(int listener) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  const int signals = signalfd(-1, &end, SFD_CLOEXEC);
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  if (signals < 0 || poll < 0) fail("epoll");
  const auto watch = [poll](int fd, uint32_t events, int how) {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    if (epoll_ctl(poll, how, fd, &e) != 0) fail("epoll_ctl");
  };
  watch(listener, EPOLLIN, EPOLL_CTL_ADD);
  watch(signals, EPOLLIN, EPOLL_CTL_ADD);
  std::unordered_map<int, std::unique_ptr<connection>> connections;
  for (;;) {
    epoll_event events[64];
    const int n = epoll_wait(poll, events, std::size(events), -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < n; i++) {
      const int fd = events[i].data.fd;
      if (fd == signals) return;
      if (fd == listener) {
        for (int each; (each = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          const int one = 1;
          setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          connections.emplace(each, std::make_unique<connection>(each));
          watch(each, EPOLLIN, EPOLL_CTL_ADD);
        }
        continue;
      }
      connection& c = *connections.at(fd);
      const bool wrote = c.writes();
      // What the peer does not take keeps us from reading more of it.
      const bool alive = wrote ? c.write() : c.on_readable();
      if (!alive) {
        connections.erase(fd);  // closing takes it out of the poll, too
      } else if (c.writes() != wrote) {
        watch(fd, wrote ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string where = "127.0.0.1:0";
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc || std::strcmp(argv[i], "--listen") != 0) {
      std::fprintf(stderr, "nghttp2_echo: flag %s is unknown or has no value; use --listen ADDR:PORT\n", argv[i]);
      return 2;
    }
    where = argv[i + 1];
  }
  signal(SIGPIPE, SIG_IGN);
  serve(listen_on(where));
}
