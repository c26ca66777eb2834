// A forked child that calls the runtime says so and ends; one that only execs or exits does not notice.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "runtime/sched/park.h"
#include "tests/death_style.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

struct ended {
  int status = 0;
  std::string said;
};

// Forks, calls f in the child and tells how that went; a child that comes back from f exits with 7.
template <class F>
ended in_forked_child(F&& f) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    f();
    _exit(7);
  }
  close(ends[1]);
  ended e;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) e.said.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  EXPECT_EQ(waitpid(pid, &e.status, 0), pid);
  return e;
}

void expect_named(const ended& e, const char* what) {
  EXPECT_TRUE(WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGABRT) << what << ": status " << e.status;
  EXPECT_NE(e.said.find("fatal error: the runtime was called in a forked child"), std::string::npos) << what << ": " << e.said;
  EXPECT_NE(e.said.find("warren::spawn_process"), std::string::npos) << what;
}

TEST(Fork, AChildThatCallsTheRuntimeEndsWithALineThatSaysSo) {
  run([] {
    expect_named(in_forked_child([] { yield(); }), "yield");
    expect_named(in_forked_child([] { go([] {}); }), "go");
    expect_named(in_forked_child([] { sleep(std::chrono::milliseconds(1)); }), "sleep");
    expect_named(in_forked_child([] { blocking([] {}); }), "blocking");
    expect_named(in_forked_child([] { run([] {}); }), "run");
    const auto c = make_chan<int>();
    expect_named(in_forked_child([&] { c.recv(); }), "a channel that has to wait");
    rt::g* const me = rt::getg();
    expect_named(in_forked_child([me] { rt::goready(me); }), "goready");
    yield();  // the parent goes on
  });
}

TEST(Fork, AChildThatLeavesABlockingRegionIsTold) {
  run([] {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    pid_t pid = -1;
    blocking([&] {
      pid = fork();
      if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
      }
    });
    // Only the parent comes here.
    close(ends[1]);
    ended e;
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) e.said.append(buffer, static_cast<size_t>(n));
    close(ends[0]);
    ASSERT_EQ(waitpid(pid, &e.status, 0), pid);
    expect_named(e, "leaving the region");
  });
}

TEST(Fork, AChildThatOnlyExecsOrExitsIsLeftAlone) {
  run([] {
    const ended quiet = in_forked_child([] {});
    EXPECT_TRUE(WIFEXITED(quiet.status) && WEXITSTATUS(quiet.status) == 7) << quiet.said;
    const ended other = in_forked_child([] { execl("/bin/sh", "sh", "-c", "exit 5", static_cast<char*>(nullptr)); });
    EXPECT_TRUE(WIFEXITED(other.status) && WEXITSTATUS(other.status) == 5) << other.said;
  });
}

TEST(Fork, AChildOfAProgramWhoseRuntimeHasEndedMayStartItsOwn) {
  run([] {});
  const ended e = in_forked_child([] {
    int ran = 0;
    run([&] { ran = 1; });
    _exit(ran == 1 ? 3 : 4);
  });
  EXPECT_TRUE(WIFEXITED(e.status) && WEXITSTATUS(e.status) == 3) << e.said;
}

TEST(Fork, SigquitEndsAForkedChildAsUsual) {
  run([] {
    const ended e = in_forked_child([] { raise(SIGQUIT); });
    EXPECT_TRUE(WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGQUIT) << e.status;
  });
}

}  // namespace
}  // namespace warren
