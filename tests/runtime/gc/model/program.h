// What a mutator's operation on a ptr executes, instruction by instruction. Between any two of them the thread can be stopped by a signal,
// lose its P, and anybody else can run.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "state.h"

namespace gcmodel {

enum class instruction : uint8_t {
  end,
  load_old,        // the slot's value into a register
  store,           // the new value (null, for a destruction) into the slot
  exchange,        // both at once, visible at once
  test_flag,       // is the barrier on?
  test_container,  // if the object that holds the slot is not black, the barrier counts as off
  shade_old,
  shade_new,
  publish,  // go: the new goroutine can run from here on
};

// The programs of the operations under one set of rules. What follows test_flag is executed only if the flag was found set, except
// `store` in the orders that test first (a destruction with the flag off stores nothing: runtime/gc/barrier.h).
class program {
 public:
  explicit program(const rules& r);

  instruction at(operation op, uint8_t pc) const noexcept { return code_[static_cast<size_t>(op)][pc]; }
  // Is the instruction skipped if the flag was found clear?
  bool conditional(operation op, uint8_t pc) const noexcept {
    const instruction i = at(op, pc);
    return tested(op, pc) && i != instruction::publish && (i != instruction::store || op == operation::destroy);
  }
  // Is `what` still to come, at pc or later?
  bool ahead(operation op, uint8_t pc, instruction what) const noexcept;
  bool store_ahead(operation op, uint8_t pc) const noexcept {
    return ahead(op, pc, instruction::store) || ahead(op, pc, instruction::exchange);
  }
  bool tested(operation op, uint8_t pc) const noexcept;

 private:
  using code = std::array<instruction, 8>;
  std::array<code, 7> code_{};
};

}  // namespace gcmodel
