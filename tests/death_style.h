// How the death tests get their child process.
//
// Normally the child starts the program anew (GoogleTest's style "threadsafe"): a fork of a process that has, or had, more threads is
// another thing to debug. Where the tests are emulated the program is one for another processor, which the kernel cannot start: there,
// and only there, the child is a fork ("fast"). Such a child begins with what its parent has done already: a death test whose parent has
// run goroutines or read the environment must be the first of its program (suites called *DeathTest are), or be skipped under emulation.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

namespace warren::tests {

// This program runs under an emulator: slowly, with little address space, without RLIMIT_AS, and unable to start itself once more.
// Said by CTest in cross builds (cmake/testing.cmake); to be set by hand where such a program is started by hand.
inline bool emulated() noexcept { return getenv("WARREN_TEST_EMULATED") != nullptr; }

// For SetUp, or the beginning of a test, before the first EXPECT_DEATH or EXPECT_EXIT.
inline void choose_death_style() { GTEST_FLAG_SET(death_test_style, emulated() ? "fast" : "threadsafe"); }

}  // namespace warren::tests
