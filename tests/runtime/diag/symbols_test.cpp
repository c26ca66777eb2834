#include "runtime/diag/symbols.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>

namespace warren::rt {
namespace {

[[gnu::noinline]] int known_only_here(int n) {
  asm volatile("" ::: "memory");
  return n + 1;
}

TEST(Symbols, AStaticFunctionIsFound) {
  const auto symbols = std::make_unique<symbolizer>();
  const auto* pc = reinterpret_cast<const std::byte*>(&known_only_here) + 1;
  for (int i = 0; i < 2; ++i) {  // looked up, and from the cache
    const code_place place = symbols->find(pc);
    char name[200];
    EXPECT_STREQ(function_name(place, name, sizeof name, true), "warren::rt::(anonymous namespace)::known_only_here");
    EXPECT_EQ(place.offset, 1u);
    EXPECT_NE(std::string(place.module).find("symbols_test"), std::string::npos);
    function_name(place, name, sizeof name, false);
    EXPECT_EQ(name[0], '_');
    char tiny[8];
    EXPECT_EQ(std::string(function_name(place, tiny, sizeof tiny, true)), "warren:") << "cut, not overrun";
  }
  EXPECT_EQ(known_only_here(1), 2);
}

TEST(Symbols, ALibrarysFunctionIsFound) {
  const auto symbols = std::make_unique<symbolizer>();
  const code_place place = symbols->find(reinterpret_cast<const void*>(&getenv));
  EXPECT_NE(place.module[0], 0);
}

TEST(Symbols, WhatIsNoCodeIsNotNamed) {
  const auto symbols = std::make_unique<symbolizer>();
  const int on_the_stack = 0;
  for (const void* p :
       {static_cast<const void*>(nullptr), static_cast<const void*>(&on_the_stack), reinterpret_cast<const void*>(~uintptr_t{0})}) {
    const code_place place = symbols->find(p);
    EXPECT_EQ(place.function, nullptr);
    char name[20];
    EXPECT_STREQ(function_name(place, name, sizeof name, true), "?");
  }
}

TEST(Symbols, ParametersAreLeftOut) {
  code_place place;
  char name[200];
  const auto named = [&](const char* mangled) {
    place.function = mangled;
    return std::string(function_name(place, name, sizeof name, true));
  };
  EXPECT_EQ(named("_ZN3foo3barEiPFvvE"), "foo::bar");
  EXPECT_EQ(named("_ZNK3foo3barEv"), "foo::bar");
  EXPECT_EQ(named("_ZZ4mainENKUlvE_clEv"), "main::{lambda()#1}::operator()");
  EXPECT_EQ(named("main"), "main");
}

}  // namespace
}  // namespace warren::rt
