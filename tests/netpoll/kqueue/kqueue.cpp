// A kqueue on top of epoll, small and strict: so that the kqueue back end is built and tested where there is no BSD.
//
// It is a stand-in, made for these tests: read and write filters, EV_CLEAR, udata, EV_EOF. Where libraries of this kind and kernels differ
// it takes the side that finds mistakes:
// - like a library, it cannot notice that a descriptor was closed. A filter added for a number that has a filter already, whose descriptor
//   is gone, is refused with EBADF: the program should have deleted it before close (a BSD kernel would have done so).
// - events come more often than a kernel's: an edge of one direction reports the other too.
// - errors of a connection are reported as EV_EOF on both filters, without a code in fflags.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

namespace {

struct filter {
  bool on = false;
  bool clear = false;
  void* udata = nullptr;
};

struct knote {
  filter read, write;
  uint32_t generation = 0;  // tells an event of this registration from one that was collected before it
};

struct queue {
  std::mutex lock;
  std::map<int, knote> notes;  // guarded by lock
  uint32_t generations = 0;    // guarded by lock
};

std::mutex queues_lock;
std::map<int, std::shared_ptr<queue>>& queues() {
  static auto* const all = new std::map<int, std::shared_ptr<queue>>;
  return *all;
}

std::shared_ptr<queue> find(int kq) {
  const std::lock_guard held(queues_lock);
  const auto at = queues().find(kq);
  return at == queues().end() ? nullptr : at->second;
}

// Tells epoll what the note wants now. REQUIRES: q.lock.
int update(int kq, int fd, const knote& n, bool is_new) {
  if (!n.read.on && !n.write.on) return epoll_ctl(kq, EPOLL_CTL_DEL, fd, nullptr) == 0 ? 0 : errno;
  epoll_event e{};
  if (n.read.on) e.events |= EPOLLIN | EPOLLRDHUP;
  if (n.write.on) e.events |= EPOLLOUT;
  if (n.read.clear || n.write.clear) e.events |= EPOLLET;
  e.data.u64 = static_cast<uint64_t>(n.generation) << 32 | static_cast<uint32_t>(fd);
  return epoll_ctl(kq, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) == 0 ? 0 : errno;
}

int change(int kq, queue& q, const struct kevent& c) {
  const std::lock_guard held(q.lock);
  const int fd = static_cast<int>(c.ident);
  if (c.filter != EVFILT_READ && c.filter != EVFILT_WRITE) return EINVAL;
  const auto at = q.notes.find(fd);
  if ((c.flags & EV_DELETE) != 0) {
    filter* f = at == q.notes.end() ? nullptr : c.filter == EVFILT_READ ? &at->second.read : &at->second.write;
    if (f == nullptr || !f->on) return ENOENT;
    *f = filter{};
    update(kq, fd, at->second, false);
    if (!at->second.read.on && !at->second.write.on) q.notes.erase(at);
    return 0;
  }
  if ((c.flags & EV_ADD) == 0) return EINVAL;
  const bool is_new = at == q.notes.end();
  knote n = is_new ? knote{} : at->second;
  if (is_new) n.generation = ++q.generations;
  (c.filter == EVFILT_READ ? n.read : n.write) = filter{true, (c.flags & EV_CLEAR) != 0, c.udata};
  if (n.read.on && n.write.on && n.read.clear != n.write.clear) return EINVAL;  // epoll has one mode per descriptor
  const int error = update(kq, fd, n, is_new);
  if (error != 0) return error == ENOENT ? EBADF : error;
  q.notes[fd] = n;
  return 0;
}

int report(const epoll_event& e, queue& q, struct kevent* out) {
  const std::lock_guard held(q.lock);
  const int fd = static_cast<int>(static_cast<uint32_t>(e.data.u64));
  const auto at = q.notes.find(fd);
  if (at == q.notes.end() || at->second.generation != e.data.u64 >> 32) return 0;
  int count = 0;
  const auto add = [&](const filter& f, short which, bool eof, int64_t data) {
    out[count++] = {
        static_cast<uintptr_t>(fd), which, static_cast<unsigned short>((f.clear ? EV_CLEAR : 0) | (eof ? EV_EOF : 0)), 0, data, f.udata};
  };
  if (at->second.read.on && (e.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    int bytes = 0;
    ioctl(fd, FIONREAD, &bytes);  // not for listening sockets: stays 0
    add(at->second.read, EVFILT_READ, (e.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0, bytes);
  }
  if (at->second.write.on && (e.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
    add(at->second.write, EVFILT_WRITE, (e.events & (EPOLLHUP | EPOLLERR)) != 0, 0);
  return count;
}

}  // namespace

int kqueue(void) {
  const int kq = epoll_create1(EPOLL_CLOEXEC);
  if (kq < 0) return -1;
  const std::lock_guard held(queues_lock);
  queues()[kq] = std::make_shared<queue>();  // also if the number was an earlier queue's, which has been closed then
  return kq;
}

int kevent(int kq, const struct kevent* changes, int change_count, struct kevent* events, int event_count, const timespec* timeout) {
  const std::shared_ptr<queue> q = find(kq);
  if (q == nullptr) {
    errno = EBADF;
    return -1;
  }
  int reported = 0;
  for (int i = 0; i < change_count; ++i) {
    const int error = change(kq, *q, changes[i]);
    if (error == 0) continue;
    if (reported == event_count) {
      errno = error;
      return -1;
    }
    events[reported] = changes[i];
    events[reported].flags = EV_ERROR;
    events[reported++].data = error;
  }
  if (reported != 0 || event_count == 0) return reported;
  constexpr int kMost = 64;
  epoll_event some[kMost];
  int ms = -1;
  if (timeout != nullptr) {
    const int64_t ns = timeout->tv_sec * 1'000'000'000LL + timeout->tv_nsec;
    ms = static_cast<int>(std::min<int64_t>((ns + 999'999) / 1'000'000, 1'000'000'000));
  }
  const int n = epoll_wait(kq, some, std::clamp(event_count / 2, 1, kMost), ms);  // each may become two
  if (n < 0) return -1;
  for (int i = 0; i < n; ++i) {
    if (event_count - reported < 2) break;
    reported += report(some[i], *q, events + reported);
  }
  return reported;
}
