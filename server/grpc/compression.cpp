// A zlib state is 40 KiB to inflate and 260 KiB to deflate, and is set up by clearing most of that: too much per message. So states are
// kept, a few of each kind, as the buffers of reads and writes are (http2/block_pool.h): one exchange takes one, one compare-exchange
// gives it back, and a state belongs to one goroutine meanwhile. Nothing here parks.
//
// gzip may hold several members one after another (RFC 1952 §2.2), all of which count as one message; zlib's format may not.
#include "server/grpc/compression.h"

#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "runtime/os/fatal.h"

namespace warren::grpc {

namespace {

// More Ps than this compressing at one moment set up states of their own.
constexpr int kKeptStates = 4;
// zlib's own figures: 32 KiB window; 16 more asks for gzip's header and trailer.
constexpr int kWindowBits = 15;
constexpr int kGzipBits = 16;
constexpr int kMemoryLevel = 8;
// The first step of inflating; each later one doubles what is there. Text seldom shrinks to less than a quarter.
constexpr size_t kLeastStep = 512;
constexpr size_t kExpectedRatio = 4;

int bits_of(encoding how) { return how == encoding::gzip ? kWindowBits + kGzipBits : kWindowBits; }

void must(int rv, const char* what) {
  if (rv == Z_MEM_ERROR) throw std::bad_alloc();
  if (rv != Z_OK) rt::fatal("grpc: %s failed with %d; the zlib found at run time is not the one warren was built for", what, rv);
}

struct state {
  z_stream z{};
  const bool deflating;
  state(bool deflates, encoding how) : deflating(deflates) {
    if (deflates) {
      must(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits_of(how), kMemoryLevel, Z_DEFAULT_STRATEGY), "deflateInit2");
    } else {
      must(inflateInit2(&z, bits_of(how)), "inflateInit2");
    }
  }
  ~state() { deflating ? deflateEnd(&z) : inflateEnd(&z); }
  state(const state&) = delete;
  state& operator=(const state&) = delete;
};

class state_pool {
 public:
  state_pool(bool deflates, encoding how) : deflates_(deflates), how_(how) {}
  ~state_pool() {
    for (auto& s : slots_) delete s.load(std::memory_order_relaxed);
  }
  std::unique_ptr<state> take() {
    for (auto& s : slots_) {
      if (s.load(std::memory_order_relaxed) == nullptr) continue;
      // acquire pairs with the release in give(): the state as its last user left it.
      if (state* const got = s.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<state>(got);
    }
    return std::make_unique<state>(deflates_, how_);
  }
  void give(std::unique_ptr<state> s) noexcept {
    for (auto& slot : slots_) {
      state* empty = nullptr;
      if (slot.compare_exchange_strong(empty, s.get(), std::memory_order_release, std::memory_order_relaxed)) {
        static_cast<void>(s.release());
        return;
      }
    }
  }

 private:
  const bool deflates_;
  const encoding how_;
  std::atomic<state*> slots_[kKeptStates] = {};
};

state_pool& pool_of(bool deflates, encoding how) {
  static state_pool pools[] = {{true, encoding::deflate}, {true, encoding::gzip}, {false, encoding::deflate}, {false, encoding::gzip}};
  return pools[(deflates ? 0 : 2) + (how == encoding::gzip ? 1 : 0)];
}

// zlib does not write through next_in.
Bytef* input(std::string_view bytes) { return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data())); }

}  // namespace

const char* to_string(encoding e) noexcept {
  switch (e) {
    case encoding::identity: return "identity";
    case encoding::deflate: return "deflate";
    case encoding::gzip: return "gzip";
  }
  return "identity";
}

bool parse_encoding(std::string_view name, encoding& out) noexcept {
  for (const encoding e : {encoding::identity, encoding::deflate, encoding::gzip}) {
    if (name != to_string(e)) continue;
    out = e;
    return true;
  }
  return false;
}

uint32_t parse_accept_encoding(std::string_view list) noexcept {
  uint32_t found = 0;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view one = list.substr(0, std::min(list.find(';'), comma));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    encoding e;
    if (parse_encoding(one, e)) found |= 1u << static_cast<unsigned>(e);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return found;
}

void deflate(encoding how, std::string_view bytes, byte_buffer& out) {
  state_pool& pool = pool_of(true, how);
  std::unique_ptr<state> s = pool.take();
  z_stream& z = s->z;
  must(deflateReset(&z), "deflateReset");
  const size_t before = out.size();
  const size_t room = deflateBound(&z, bytes.size());  // enough for one go
  z.next_in = input(bytes);
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.grow(room));
  z.avail_out = static_cast<uInt>(room);
  if (::deflate(&z, Z_FINISH) != Z_STREAM_END)
    rt::fatal("grpc: deflate did not end within deflateBound; zlib is not the one warren was built for");
  out.truncate(before + room - z.avail_out);
  pool.give(std::move(s));
}

inflate_outcome inflate(encoding how, std::string_view bytes, size_t limit, byte_buffer& out) {
  state_pool& pool = pool_of(false, how);
  std::unique_ptr<state> s = pool.take();
  z_stream& z = s->z;
  must(inflateReset(&z), "inflateReset");
  z.next_in = input(bytes);
  z.avail_in = static_cast<uInt>(bytes.size());
  const size_t before = out.size();
  size_t step = std::max(kLeastStep, kExpectedRatio * bytes.size());
  inflate_outcome end = inflate_outcome::malformed;
  for (;;) {
    const size_t had = out.size() - before;
    // One byte of room past the limit is how we learn that there is more.
    const size_t room = std::min(step, limit - had + 1);
    z.next_out = reinterpret_cast<Bytef*>(out.grow(room));
    z.avail_out = static_cast<uInt>(room);
    const int rv = ::inflate(&z, Z_NO_FLUSH);
    out.truncate(out.size() - z.avail_out);
    if (rv == Z_MEM_ERROR) throw std::bad_alloc();
    if (out.size() - before > limit) {
      end = inflate_outcome::too_large;
      break;
    }
    if (rv == Z_STREAM_END) {
      if (z.avail_in == 0) {
        end = inflate_outcome::whole;
        break;
      }
      if (how != encoding::gzip || inflateReset(&z) != Z_OK) break;
      continue;  // the next member
    }
    if (rv != Z_OK || (z.avail_in == 0 && z.avail_out != 0)) break;  // damaged, or the input ends within the data
    step = std::max(kLeastStep, out.size() - before);
  }
  pool.give(std::move(s));
  return end;
}

}  // namespace warren::grpc
