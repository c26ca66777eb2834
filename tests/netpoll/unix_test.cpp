#include "warren/unix.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <asio/read.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "net_test.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

class unix_sockets : public ::testing::Test {
 protected:
  // A path of its own for each test, in a directory of its own.
  void SetUp() override {
    char name[] = "/tmp/warren_unix_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    path = directory + "/s";
  }
  void TearDown() override {
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
  bool exists() const { return ::access(path.c_str(), F_OK) == 0; }
  std::string directory, path;
};

std::string thrown_by(const std::function<void()>& f) {
  try {
    f();
  } catch (const net_error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST_F(unix_sockets, a_line_each_way_and_who_is_there) {
  warren::run([&] {
    unix_listener l = listen_unix(path);
    unix_conn a = dial_unix(path), b = l.accept();
    a.write(asio::buffer("ping", 4));
    char got[4];
    asio::read(b, asio::buffer(got));
    EXPECT_EQ(std::string(got, 4), "ping");
    b.write(asio::buffer("pong", 4));
    asio::read(a, asio::buffer(got));
    EXPECT_EQ(std::string(got, 4), "pong");
    const peer_credentials c = b.credentials();
    EXPECT_EQ(c.uid, ::getuid());
    EXPECT_EQ(c.gid, ::getgid());
    EXPECT_EQ(c.pid, ::getpid());
    EXPECT_EQ(a.remote_address(), path);
    EXPECT_EQ(a.local_address(), "");
    EXPECT_EQ(a.peer_name(), "unix:" + path);
    EXPECT_EQ(l.address(), "unix:" + path);
    error_code ec;
    a.shutdown(asio::socket_base::shutdown_send);
    EXPECT_EQ(b.read_some(asio::buffer(got), ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
  });
}

TEST_F(unix_sockets, the_file_goes_with_the_listener) {
  warren::run([&] {
    {
      unix_listener l = listen_unix(path);
      EXPECT_TRUE(exists());
      unix_listener moved = std::move(l);
      EXPECT_TRUE(exists());
    }
    EXPECT_FALSE(exists());
    unix_listener l = listen_unix(path);
    l.close();
    EXPECT_FALSE(exists());
    l = listen_unix(path);
    l.unlink_on_close(false);
    l = unix_listener();
    EXPECT_TRUE(exists());
  });
}

TEST_F(unix_sockets, a_successors_file_stays) {
  warren::run([&] {
    unix_listener old = listen_unix(path);
    ::unlink(path.c_str());
    unix_listener successor = listen_unix(path);
    old.close();
    EXPECT_TRUE(exists());
    EXPECT_TRUE(dial_unix(path).is_open());
  });
}

TEST_F(unix_sockets, a_stale_file_is_replaced_a_live_one_is_not) {
  warren::run([&] {
    {
      unix_listener killed = listen_unix(path);
      killed.unlink_on_close(false);
    }
    ASSERT_TRUE(exists());
    unix_listen_options keep;
    keep.replace_stale = false;
    error_code ec;
    EXPECT_FALSE(listen_unix(path, ec, keep).is_open());
    EXPECT_EQ(ec, asio::error::address_in_use);
    unix_listener l = listen_unix(path);
    EXPECT_EQ(thrown_by([&] { listen_unix(path); }),
              "listen unix:" + path + ": address already in use; stop the other process or choose another port");
    EXPECT_TRUE(dial_unix(path).is_open());
    l.close();
    // Not a socket: never removed.
    ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    EXPECT_FALSE(listen_unix(path, ec).is_open());
    EXPECT_EQ(ec, asio::error::address_in_use);
    EXPECT_TRUE(exists());
  });
}

// A socket that is bound and does not listen yet refuses connections as a dead one's file does. Whoever is in between holds the directory's
// lock: here a server of the test's own that takes its time.
TEST_F(unix_sockets, one_that_is_about_to_listen_is_not_stale) {
  const int dir = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(dir, 0);
  ASSERT_EQ(::flock(dir, LOCK_EX), 0);
  const int other = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof a.sun_path);
  memcpy(a.sun_path, path.c_str(), path.size() + 1);
  ASSERT_EQ(::bind(other, reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  warren::run([&] {
    error_code ec;
    bool replaced = false;
    {
      task late([&] { replaced = listen_unix(path, ec).is_open(); });
      for (int i = 0; i < 1000 && !late.finished(); ++i) yield();
      EXPECT_FALSE(late.finished()) << "did not wait for the lock: " << ec.message();
      EXPECT_EQ(::listen(other, 8), 0);
      ::flock(dir, LOCK_UN);
    }
    EXPECT_FALSE(replaced);
    EXPECT_EQ(ec, asio::error::address_in_use);
    EXPECT_TRUE(dial_unix(path).is_open());
  });
  ::close(other);
  ::close(dir);
}

// A lock that its holder keeps does not keep a listener out for ever, but stale files stay.
TEST_F(unix_sockets, a_directory_that_stays_locked) {
  const int dir = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_EQ(::flock(dir, LOCK_EX), 0);
  warren::run([&] {
    unix_listener l = listen_unix(path);
    EXPECT_TRUE(dial_unix(path).is_open());
    l.unlink_on_close(false);
    l.close();
    EXPECT_EQ(thrown_by([&] { listen_unix(path); }),
              "listen unix:" + path +
                  ": in use, and another process keeps its directory locked; stop that, or remove the file if nobody listens on it");
    ::flock(dir, LOCK_UN);
    EXPECT_TRUE(listen_unix(path).is_open());
  });
  ::close(dir);
}

// Several that start at once beside a stale file: one gets it, and keeps it.
TEST_F(unix_sockets, one_of_many_replaces_a_stale_file) {
  warren::run([&] {
    for (int round = 0; round < 50; ++round) {
      listen_unix(path).unlink_on_close(false);
      constexpr int kServers = 6;
      std::array<unix_listener, kServers> servers;
      std::array<error_code, kServers> errors;
      {
        std::vector<std::unique_ptr<task>> starting;
        for (int i = 0; i < kServers; ++i)
          starting.push_back(std::make_unique<task>([&, i] { servers[i] = listen_unix(path, errors[i]); }));
      }
      int listening = 0;
      for (int i = 0; i < kServers; ++i) {
        listening += servers[i].is_open();
        EXPECT_EQ(errors[i], servers[i].is_open() ? error_code() : error_code(asio::error::address_in_use));
      }
      ASSERT_EQ(listening, 1) << "round " << round;
      ASSERT_TRUE(dial_unix(path).is_open());
    }
  });
}

TEST_F(unix_sockets, mode) {
  warren::run([&] {
    unix_listen_options o;
    o.mode = 0600;
    unix_listener l = listen_unix(path, o);
    struct stat s {};
    ASSERT_EQ(::stat(path.c_str(), &s), 0);
    EXPECT_EQ(s.st_mode & 0777, 0600u);
  });
}

#ifdef __linux__
TEST_F(unix_sockets, names_without_a_file) {
  warren::run([&] {
    const std::string name = "@warren_test_" + std::to_string(::getpid());
    unix_listener l = listen_unix(name);
    unix_conn a = dial_unix(name), b = l.accept();
    EXPECT_EQ(a.remote_address(), name);
    EXPECT_EQ(::access(name.c_str(), F_OK), -1);
    l.close();
    error_code ec;
    dial_unix(name, ec);
    EXPECT_EQ(ec, asio::error::connection_refused);
  });
}
#endif

TEST_F(unix_sockets, bad_paths_are_explained) {
  error_code ec;
  EXPECT_EQ(thrown_by([] { listen_unix(""); }), "listen unix:: empty path; write a path, for example /run/server.sock");
  EXPECT_EQ(thrown_by([] { dial_unix("@"); }), "dial unix:@: empty path; write a path, for example /run/server.sock");
  EXPECT_NE(thrown_by([] { listen_unix(std::string(108, 'x')); }).find("path of 108 bytes; a unix socket's has at most 107"),
            std::string::npos);
  EXPECT_FALSE(listen_unix(std::string_view("a\0b", 3), ec).is_open());
  EXPECT_EQ(ec, asio::error::invalid_argument);
  EXPECT_FALSE(dial_unix(path, ec).is_open());
  EXPECT_EQ(ec, error_code(ENOENT, asio::system_category()));
  EXPECT_FALSE(listen_unix("/no-such-directory/s", ec).is_open());
  EXPECT_EQ(ec, error_code(ENOENT, asio::system_category()));
}

// The kernel has no event for a full backlog: dial waits, until there is room, its deadline or its stop.
TEST_F(unix_sockets, a_full_backlog) {
  warren::run([&] {
    unix_listen_options o;
    o.backlog = 0;
    unix_listener l = listen_unix(path, o);
    std::vector<unix_conn> filling;
    error_code ec;
    dial_options d;
    d.timeout = 5ms;
    for (int i = 0; i < 8 && !ec; ++i) filling.push_back(dial_unix(path, ec, d));
    ASSERT_EQ(ec, asio::error::timed_out);
    {
      std::stop_source stop;
      dial_options s;
      s.stop = stop.get_token();
      task dialler([&] { dial_unix(path, ec, s); });
      std::thread([&] { stop.request_stop(); }).join();
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
    {
      task dialler([&] { EXPECT_TRUE(dial_unix(path, ec).is_open()); });
      yield();
      l.accept();
    }
    EXPECT_FALSE(ec);
  });
}

TEST_F(unix_sockets, close_wakes_accept_read_and_write) {
  warren::run([&] {
    unix_listener l = listen_unix(path);
    unix_conn a = dial_unix(path), b = l.accept();
    error_code ae, re, we;
    const std::string big(16 << 20, 'x');
    {
      task acceptor([&] { l.accept(ae); });
      char c;
      task reader([&] { a.read_some(asio::buffer(&c, 1), re); });
      task writer([&] { a.write(asio::buffer(big), we); });
      until_parked(3);
      l.close();
      a.close();
    }
    EXPECT_EQ(ae, asio::error::operation_aborted);
    EXPECT_EQ(re, asio::error::operation_aborted);
    EXPECT_EQ(we, asio::error::operation_aborted);
    a.deadline(1ms);
    EXPECT_EQ(a.peer_name(), "");
    EXPECT_EQ(l.address(), "");
  });
}

TEST_F(unix_sockets, streams_by_address) {
  warren::run([&] {
    for (const std::string& where : {"unix:" + path, std::string("127.0.0.1:0")}) {
      const std::unique_ptr<stream_listener> l = listen_stream(where);
      const std::unique_ptr<stream> a = dial_stream(l->address()), b = l->accept_stream();
      a->write(asio::buffer("x", 1));
      char c;
      EXPECT_EQ(asio::read(*b, asio::buffer(&c, 1)), 1u);
      error_code ec;
      l->accept_deadline(1ms);
      EXPECT_EQ(l->accept_stream(ec), nullptr);
      EXPECT_EQ(ec, asio::error::timed_out);
      l->close();
      EXPECT_FALSE(l->is_open());
    }
    error_code ec;
    EXPECT_EQ(dial_stream("unix:" + path, ec), nullptr);
    EXPECT_TRUE(ec);
    EXPECT_EQ(listen_stream("nonsense", ec), nullptr);
    EXPECT_EQ(ec, asio::error::invalid_argument);
  });
}

}  // namespace
}  // namespace warren::net_test
