// Bad input and bad luck: each gets its error, in one line where it is thrown, and nothing else breaks.
#include <sys/mman.h>
#include <sys/resource.h>

#include <asio/read.hpp>
#include <vector>

#include "net_test.h"
#include "runtime/os/clock.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

template <class F>
std::string thrown_by(F f) {
  try {
    f();
  } catch (const net_error& e) {
    EXPECT_TRUE(e.code());
    return e.what();
  }
  return "nothing was thrown";
}

TEST(tcp_error, port_in_use) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    const std::string where = to_string(l.local_endpoint());
    EXPECT_EQ(thrown_by([&] { listen(where); }),
              "listen " + where + ": address already in use; stop the other process or choose another port");
    EXPECT_EQ(thrown_by([&] { listen(l.local_endpoint()); }),
              "listen " + where + ": address already in use; stop the other process or choose another port");
    error_code ec;
    EXPECT_FALSE(listen(where, ec).is_open());
    EXPECT_EQ(ec, asio::error::address_in_use);
  });
}

TEST(tcp_error, bad_address_text) {
  EXPECT_EQ(thrown_by([] { listen("127.0.0.1"); }), "listen 127.0.0.1: missing port; write ADDR:PORT, for example 127.0.0.1:8080");
  EXPECT_EQ(thrown_by([] { listen("nonsense:99999"); }),
            "listen nonsense:99999: port \"99999\" is not a number from 0 to 65535; write ADDR:PORT, for example 127.0.0.1:8080");
  EXPECT_EQ(thrown_by([] { dial("1.2.3:80"); }),
            "dial 1.2.3:80: \"1.2.3\" is not an IPv4 address; write four numbers from 0 to 255, for example 127.0.0.1:8080");
  EXPECT_EQ(thrown_by([] { dial("127.0.0.1:0"); }),
            "dial 127.0.0.1:0: port 0 cannot be dialled; write the port that the server listens on");
  error_code ec;
  EXPECT_FALSE(listen("", ec).is_open());
  EXPECT_EQ(ec, asio::error::invalid_argument);
  EXPECT_FALSE(dial("x y:1", ec).is_open());
  EXPECT_EQ(ec, asio::error::invalid_argument);
}

TEST(tcp_error, address_of_another_machine) {
  // 192.0.2.0/24 is reserved for documentation: no machine has it.
  EXPECT_EQ(thrown_by([] { listen("192.0.2.1:0"); }),
            "listen 192.0.2.1:0: cannot assign requested address; use an address of this machine, or 0.0.0.0 for all of them");
}

TEST(tcp_error, connection_refused) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    const tcp_endpoint where = l.local_endpoint();
    l.close();
    EXPECT_EQ(thrown_by([&] { dial(where); }),
              "dial " + to_string(where) + ": connection refused; is the server running, and is this its port?");
    error_code ec;
    EXPECT_FALSE(dial(to_string(where), ec).is_open());
    EXPECT_EQ(ec, asio::error::connection_refused);
  });
}

TEST(tcp_error, peer_reset) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    {
      task reader([&] {
        char b;
        p.b.read_some(asio::buffer(&b, 1), ec);
      });
      until_parked(1);
      const linger now{1, 0};
      ASSERT_EQ(::setsockopt(p.a.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
      p.a.close();
    }
    EXPECT_EQ(ec, asio::error::connection_reset);
    p.b.write_some(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, asio::error::broken_pipe);  // an error, not a signal
  });
}

TEST(tcp_error, double_close_and_use_after_close) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    p.a.close(ec);
    EXPECT_FALSE(ec);
    p.a.close(ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    p.a.close();  // the one without ec does not mind
    char b;
    EXPECT_EQ(p.a.read_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_EQ(p.a.try_read_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_EQ(p.a.write_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_FALSE(p.a.wait_readable(ec));
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    p.a.shutdown(asio::socket_base::shutdown_both, ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    p.a.local_endpoint(ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    p.a.deadline(1s);
    EXPECT_EQ(thrown_by([&] { p.a.read_some(asio::buffer(&b, 1)); }), "read: bad file descriptor");
  });
}

TEST(tcp_error, objects_that_were_never_open) {
  tcp_conn c;
  tcp_listener l;
  error_code ec;
  char b;
  EXPECT_FALSE(c.is_open());
  EXPECT_EQ(c.read_some(asio::buffer(&b, 1), ec), 0u);
  EXPECT_EQ(ec, asio::error::bad_descriptor);
  EXPECT_EQ(c.write(asio::buffer(&b, 1), ec), 0u);
  EXPECT_EQ(ec, asio::error::bad_descriptor);
  c.close(ec);
  EXPECT_EQ(ec, asio::error::bad_descriptor);
  c.remote_endpoint(ec);
  EXPECT_EQ(ec, asio::error::bad_descriptor);
  l.accept(ec);
  EXPECT_EQ(ec, asio::error::bad_descriptor);
  l.close();
  l.accept_deadline(1s);
  EXPECT_FALSE(l.is_open());
}

// A buffer that is not memory (a stack's guard page, say) is an error of the call, and costs no data.
TEST(tcp_error, unreadable_and_unwritable_memory) {
  warren::run([] {
    void* none = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(none, MAP_FAILED);
    pair p = connected();
    p.a.write(asio::buffer("kept", 4));
    error_code ec;
    EXPECT_EQ(p.b.read_some(asio::buffer(none, 16), ec), 0u);
    EXPECT_EQ(ec, asio::error::fault);
    EXPECT_EQ(p.b.write_some(asio::buffer(static_cast<const void*>(none), 16), ec), 0u);
    EXPECT_EQ(ec, asio::error::fault);
    char b[4];
    asio::read(p.b, asio::buffer(b));
    EXPECT_EQ(std::string(b, 4), "kept");
    ::munmap(none, 4096);
  });
}

TEST(tcp_error, try_operations_do_not_park) {
  warren::run([] {
    pair p = connected();
    error_code ec;
    char b;
    EXPECT_EQ(p.a.try_read_some(asio::buffer(&b, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::would_block);
    const std::string big(8 << 20, 't');
    while (!ec || ec == asio::error::would_block) {
      p.a.try_write_some(asio::buffer(big), ec);
      if (ec == asio::error::would_block) break;
    }
    EXPECT_EQ(ec, asio::error::would_block);
    {  // a reader at work
      task reader([&] { p.b.wait_readable(); });
      p.b.try_read_some(asio::buffer(&b, 1), ec);
    }
  });
}

// In a child process: no descriptor is left for accept. It pauses, gives the error, and the connection is still there when descriptors are.
int accept_without_descriptors() {
  int failures = 0;
  const auto check = [&](bool ok, const char* what) {
    if (!ok) {
      ++failures;
      fprintf(stderr, "failed: %s\n", what);
    }
  };
  warren::run([&] {
    tcp_listener l = listen("127.0.0.1:0");
    tcp_conn first = dial(l.local_endpoint());
    tcp_conn second = dial(l.local_endpoint());
    rlimit old{};
    ::getrlimit(RLIMIT_NOFILE, &old);
    const int most = ::dup(first.native_handle()) + 16;
    const rlimit few{static_cast<rlim_t>(most), old.rlim_max};
    // The runtime has descriptors of its own for a moment (what the cgroup says, how many threads there are): one that it closes after a
    // call was refused is taken before the next.
    std::vector<int> taken;
    const auto take_all = [&] {
      ::setrlimit(RLIMIT_NOFILE, &few);
      for (int d; (d = ::dup(first.native_handle())) >= 0;) taken.push_back(d);
    };
    const auto give_all = [&] {
      ::setrlimit(RLIMIT_NOFILE, &old);
      for (const int d : taken) ::close(d);
      taken.clear();
    };
    take_all();
    error_code ec;
    const int64_t start = rt::nanotime();
    check(!l.accept(ec).is_open() && ec == asio::error::no_descriptors, "accept reports EMFILE");
    check(rt::nanotime() - start >= 5'000'000, "after a pause");
    take_all();
    check(!l.accept(ec).is_open() && ec == asio::error::no_descriptors, "again");
    check(rt::nanotime() - start >= 15'000'000, "after a longer one");
    take_all();
    try {
      l.accept();
      check(false, "the throwing overload throws");
    } catch (const net_error& e) {
      check(std::string(e.what()).find("no descriptor left of " + std::to_string(most)) != std::string::npos, e.what());
    }
    take_all();
    try {
      dial(l.local_endpoint());
      check(false, "dial reports EMFILE");
    } catch (const net_error& e) {
      check(e.code() == asio::error::no_descriptors, e.what());
    }
    give_all();
    check(l.accept(ec).is_open() && !ec, "the first connection is still there");
    check(l.accept(ec).is_open() && !ec, "and the second");
    // A close ends the pause.
    tcp_conn third = dial(l.local_endpoint());
    take_all();
    {
      task acceptor([&] {
        error_code e;
        while (l.is_open()) l.accept(e);
      });
      for (int i = 0; i < 50; ++i) yield();
      l.close();
    }
    give_all();
  });
  return failures;
}

TEST(tcp_error_death, descriptor_exhaustion_on_accept) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(::_exit(accept_without_descriptors()), ::testing::ExitedWithCode(0), "");
}

// No descriptor for the poller itself: an error of listen, and the next try may succeed.
TEST(tcp_error_death, descriptor_exhaustion_at_the_first_listen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        int bad = 0;
        warren::run([&] {
          rlimit old{};
          ::getrlimit(RLIMIT_NOFILE, &old);
          const int next = ::dup(0);
          ::close(next);
          const rlimit one{static_cast<rlim_t>(next + 1), old.rlim_max};  // the socket itself still fits
          ::setrlimit(RLIMIT_NOFILE, &one);
          error_code ec;
          if (listen("127.0.0.1:0", ec).is_open() || ec != asio::error::no_descriptors) bad = 1;
          ::setrlimit(RLIMIT_NOFILE, &old);
          if (!listen("127.0.0.1:0", ec).is_open()) bad = 2;
        });
        ::_exit(bad);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace warren::net_test
