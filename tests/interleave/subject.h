// What the tests of this folder have in common: programs that must pass, and mistakes that must be found.
//
// A subject is one small program around a part of the runtime. Every subject must pass within its bounds. A mistake is a change for the
// worse: a weaker memory order on a named line, made while the program runs (weakening), or other source text (a mutant: the same test
// program compiled with one text of one file replaced by another, see warren_add_mutant). Each must be found by one of the subjects, and be
// called what it is.
#pragma once
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "interleave.h"

namespace interleave {

struct subject {
  const char* name;
  void (*program)(scenario&);
  limits bounds{};
};

struct mistake {
  weakening weak;
  outcome expected;
};

inline void PrintTo(const subject& s, std::ostream* out) { *out << s.name; }
inline void PrintTo(const mistake& m, std::ostream* out) { *out << m.weak.file << ": " << m.weak.text; }

// WARREN_INTERLEAVE_PREEMPTIONS=n widens the bounds (the tests labelled stress). WARREN_INTERLEAVE_REPLAY=schedule repeats one execution.
inline limits widened(limits l) {
  if (const char* more = getenv("WARREN_INTERLEAVE_PREEMPTIONS")) {
    const int n = atoi(more);
    if (n > l.preemptions) l.preemptions = n;
    l.executions = 100'000'000;
  }
  l.replay = getenv("WARREN_INTERLEAVE_REPLAY");
  return l;
}

inline void must_pass(const subject& s) {
  const result r = explore(s.program, widened(s.bounds));
  EXPECT_EQ(r.kind, outcome::passed) << r;
  printf("%s: %llu executions, the longest of %llu steps\n", s.name, static_cast<unsigned long long>(r.executions),
         static_cast<unsigned long long>(r.longest));
}

// expected == passed: any kind will do.
template <class Subjects>
void must_be_found(const Subjects& subjects, const weakening* weak, outcome expected) {
  std::string seen;
  for (const subject& s : subjects) {
    const result r = weak != nullptr ? explore(s.program, *weak, s.bounds) : explore(s.program, s.bounds);
    if (r.kind == expected) {
      printf("found by %s, execution %llu, %d preemptions: %s\n", s.name, static_cast<unsigned long long>(r.executions), r.preemptions,
             r.what.c_str());
      EXPECT_NE(r.trace, "");
      if (getenv("WARREN_INTERLEAVE_TRACE") != nullptr) printf("%s", r.trace.c_str());
      return;
    }
    seen += std::string("\n") + s.name + ": " + to_string(r.kind) + " " + r.what;
  }
  ADD_FAILURE() << "not found as " << to_string(expected) << " by any subject:" << seen;
}

}  // namespace interleave

#ifdef WARREN_MUTANT
#define INTERLEAVE_SUBJECTS(suite, subjects) \
  TEST(suite##Mutant, IsFound) { interleave::must_be_found(subjects, nullptr, interleave::outcome::WARREN_MUTANT); }
#define INTERLEAVE_MISTAKES(suite, subjects, mistakes)
#else
#define INTERLEAVE_SUBJECTS(suite, subjects)                                            \
  class suite##Interleavings : public ::testing::TestWithParam<interleave::subject> {}; \
  TEST_P(suite##Interleavings, Pass) { interleave::must_pass(GetParam()); }             \
  INSTANTIATE_TEST_SUITE_P(All, suite##Interleavings, ::testing::ValuesIn(subjects), [](const auto& info) { return info.param.name; });
#define INTERLEAVE_MISTAKES(suite, subjects, mistakes)                                                              \
  class suite##Mistakes : public ::testing::TestWithParam<interleave::mistake> {};                                  \
  TEST_P(suite##Mistakes, AreFound) { interleave::must_be_found(subjects, &GetParam().weak, GetParam().expected); } \
  INSTANTIATE_TEST_SUITE_P(All, suite##Mistakes, ::testing::ValuesIn(mistakes));
#endif
