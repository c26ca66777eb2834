#include "netpoll/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <asio/read.hpp>
#include <asio/write.hpp>
#include <atomic>
#include <string>
#include <vector>

#include "warren/go.h"
#include "warren/process.h"
#include "warren/sync.h"

namespace warren {
namespace {

using asio::error_code;

std::string read_all(stream& s) {
  std::string out;
  char buffer[4096];
  error_code ec;
  for (;;) {
    const size_t n = s.read_some(asio::buffer(buffer), ec);
    out.append(buffer, n);
    if (ec) break;
  }
  EXPECT_EQ(ec, asio::error::eof);
  return out;
}

process shell(const std::string& script) {
  return spawn_process({.program = "sh", .arguments = {"-c", script}, .output = process_io::pipe()});
}
std::string output_of(const std::string& script) {
  process p = shell(script);
  std::string out = read_all(p.output());
  EXPECT_TRUE(p.wait().success()) << script;
  return out;
}

// With the poller waiting for the child's end, and with blocking waits.
class Process : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { rt::test_without_pidfd = GetParam(); }
  void TearDown() override { rt::test_without_pidfd = false; }
};
INSTANTIATE_TEST_SUITE_P(Waits, Process, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "InBlockingRegions" : "InThePoller"; });

TEST_P(Process, TalksThroughPipesAndEnds) {
  run([] {
    process p = spawn_process({.program = "cat", .input = process_io::pipe(), .output = process_io::pipe()});
    EXPECT_GT(p.id(), 0);
    EXPECT_FALSE(p.error().is_open());
    std::string data(1 << 20, 'x');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>('a' + i % 26);
    wait_group writer;
    writer.go([&] {
      asio::write(p.input(), asio::buffer(data));
      p.input().close();
    });
    EXPECT_TRUE(read_all(p.output()) == data);
    const exit_status s = p.wait();
    EXPECT_TRUE(s.success());
    EXPECT_EQ(s.signal, 0);
    writer.wait();
  });
}

TEST_P(Process, TellsHowItEnded) {
  run([] {
    EXPECT_EQ(shell("exit 37").wait().code, 37);
    const exit_status killed = shell("kill -TERM $$").wait();
    EXPECT_EQ(killed.code, -1);
    EXPECT_EQ(killed.signal, SIGTERM);
    EXPECT_FALSE(killed.success());
  });
}

TEST_P(Process, KillReachesItUntilItsEndWasSeen) {
  run([] {
    process p = spawn_process({.program = "cat", .input = process_io::pipe()});
    std::atomic<int> seen{0};
    wait_group wg;
    for (int i = 0; i < 3; ++i) {
      wg.add(1);
      go([&] {
        if (p.wait().signal == SIGKILL) ++seen;  // all of them get the same answer
        wg.done();
      });
    }
    for (int i = 0; i < 20; ++i) yield();
    p.kill(SIGKILL);
    wg.wait();
    EXPECT_EQ(seen, 3);
    error_code ec;
    p.kill(SIGKILL, ec);
    EXPECT_EQ(ec.value(), ESRCH);
    EXPECT_EQ(p.wait().signal, SIGKILL) << "remembered";
  });
}

TEST_P(Process, ManyAtOnce) {
  run([] {
    constexpr int kMany = 24;
    std::atomic<int> right{0};
    wait_group wg;
    for (int i = 0; i < kMany; ++i) {
      wg.add(1);
      go([&, i] {
        process p = shell("echo " + std::to_string(i) + "; exit " + std::to_string(i));
        if (read_all(p.output()) == std::to_string(i) + "\n" && p.wait().code == i) ++right;
        wg.done();
      });
    }
    wg.wait();
    EXPECT_EQ(right, kMany);
  });
}

TEST(ProcessWaits, ThePollerWaitsWhereThereIsAPidfd) {
  run([] {
    // On one P the others run while this waits; the child ends only when they have.
    process p = spawn_process({.program = "cat", .input = process_io::pipe()});
    wait_group closer;
    closer.go([&] {
      for (int i = 0; i < 100; ++i) yield();
      p.input().close();
    });
    EXPECT_TRUE(p.wait().success());
    closer.wait();
  });
}

TEST(ProcessStart, WhatCannotRunIsAnError) {
  run([] {
    error_code ec;
    process p = spawn_process({.program = "/no/such/program"}, ec);
    EXPECT_EQ(ec.value(), ENOENT);
    EXPECT_EQ(p.id(), 0);
    p.wait(ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    spawn_process({.program = "surely-no-such-program-in-path"}, ec);
    EXPECT_EQ(ec.value(), ENOENT);
    spawn_process({.program = ""}, ec);
    EXPECT_EQ(ec.value(), ENOENT);
    spawn_process({.program = "/etc/passwd"}, ec);
    EXPECT_EQ(ec.value(), EACCES);
    spawn_process({.program = "true", .directory = "/no/such/directory"}, ec);
    EXPECT_EQ(ec.value(), ENOENT);
    spawn_process({.program = "true", .output = process_io::descriptor(-1)}, ec);
    EXPECT_EQ(ec.value(), EBADF);
    try {
      spawn_process({.program = "/no/such/program"});
      ADD_FAILURE() << "did not throw";
    } catch (const net_error& e) {
      EXPECT_NE(std::string(e.what()).find("spawn /no/such/program: "), std::string::npos) << e.what();
    }
  });
}

TEST(ProcessStart, EnvironmentAndDirectory) {
  run([] {
    process p = spawn_process({.program = "/bin/sh",
                               .arguments = {"-c", "echo $ONE-$HOME; pwd"},
                               .environment = std::vector<std::string>{"ONE=1"},
                               .directory = "/",
                               .output = process_io::pipe()});
    EXPECT_EQ(read_all(p.output()), "1-\n/\n");
    EXPECT_TRUE(p.wait().success());
    setenv("WARREN_PROCESS_TEST", "passed on", 1);
    EXPECT_EQ(output_of("echo $WARREN_PROCESS_TEST"), "passed on\n");
    unsetenv("WARREN_PROCESS_TEST");
  });
}

TEST(ProcessStart, NothingIsInheritedByAccident) {
  run([] {
    const int leaky = ::open("/dev/null", O_RDONLY);  // without close-on-exec
    ASSERT_GE(leaky, 3);
    process lister = spawn_process({.program = "ls", .arguments = {"/proc/self/fd"}, .output = process_io::pipe()});
    EXPECT_EQ(read_all(lister.output()), "0\n1\n2\n3\n") << "3 is the folder that it lists";
    EXPECT_TRUE(lister.wait().success());
    ::close(leaky);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
    signal(SIGUSR2, SIG_IGN);
    EXPECT_EQ(output_of("grep -E 'Sig(Blk|Ign)' /proc/self/status | grep -v -E ':.0000000(000000000|180000000)$'; true"), "");
    signal(SIGUSR2, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
  });
}

TEST(ProcessStart, StreamsMayShareOneDescriptorInAnyOrder) {
  run([] {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    process p = spawn_process({.program = "sh",
                               .arguments = {"-c", "echo out; echo err >&2"},
                               .output = process_io::descriptor(ends[1]),
                               .error = process_io::descriptor(ends[1])});
    ::close(ends[1]);
    EXPECT_TRUE(p.wait().success());
    char text[16] = "";
    EXPECT_EQ(::read(ends[0], text, sizeof text), 8);
    EXPECT_STREQ(text, "out\nerr\n");
    ::close(ends[0]);
    // Crossed: the child's output goes where this program's error goes, and the other way round.
    process crossed = spawn_process({.program = "true", .output = process_io::descriptor(2), .error = process_io::descriptor(1)});
    EXPECT_TRUE(crossed.wait().success());
  });
}

TEST(ProcessPipes, AChildThatIsGoneIsABrokenPipeAndNoSignal) {
  run([] {
    process p = spawn_process({.program = "true", .input = process_io::pipe()});
    EXPECT_TRUE(p.wait().success());
    error_code ec;
    p.input().write_some(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, asio::error::broken_pipe);
    sigset_t pending;
    sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
  });
}

TEST(ProcessPipes, DeadlinesAndClosing) {
  run([] {
    process p = spawn_process({.program = "cat", .input = process_io::pipe(), .output = process_io::pipe()});
    error_code ec;
    char byte;
    EXPECT_EQ(p.output().try_read_some(asio::buffer(&byte, 1), ec), 0u);
    EXPECT_EQ(ec, asio::error::would_block);
    p.output().read_deadline(std::chrono::milliseconds(1));
    p.output().read_some(asio::buffer(&byte, 1), ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_FALSE(p.output().wait_readable(ec));
    EXPECT_EQ(ec, asio::error::timed_out);
    p.output().read_deadline(stream::clock::time_point::max());
    p.input().write_some(asio::buffer("y", 1));
    EXPECT_TRUE(p.output().wait_readable(ec)) << ec.message();
    EXPECT_EQ(p.output().read_some(asio::buffer(&byte, 1)), 1u);
    EXPECT_EQ(byte, 'y');
    // A full pipe: everything is written once somebody reads.
    const std::string much(300'000, 'z');
    std::string back(much.size(), 0);
    go([&] { p.input().write(asio::buffer(much)); });
    asio::read(p.output(), asio::buffer(back));
    EXPECT_TRUE(back == much);
    p.input().close();
    p.input().write_some(asio::buffer("x", 1), ec);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
    EXPECT_TRUE(p.wait().success());
  });
}

}  // namespace
}  // namespace warren
