#include "program.h"

#include <initializer_list>

namespace gcmodel {

const char* to_string(mode m) noexcept {
  switch (m) {
    case mode::stw: return "stw";
    case mode::dijkstra: return "dijkstra";
    case mode::yuasa: return "yuasa";
    case mode::hybrid: return "hybrid";
  }
  return "?";
}

program::program(const rules& r) {
  using i = instruction;
  const bool deletes = r.mode == mode::yuasa || r.mode == mode::hybrid;
  const bool inserts = r.mode == mode::dijkstra || r.mode == mode::hybrid;
  const auto write = [this](operation op, std::initializer_list<i> steps) {
    size_t n = 0;
    for (const i s : steps)
      if (s != i::end) code_[static_cast<size_t>(op)][n++] = s;
  };
  const i old = deletes ? i::shade_old : i::end;
  const i load = deletes ? i::load_old : i::end;
  const i fresh = inserts ? i::shade_new : i::end;
  const i before = r.only_if_black == rules::condition::container_before_store ? i::test_container : i::end;
  const i after = r.only_if_black == rules::condition::container_after_store ? i::test_container : i::end;
  switch (r.barrier) {
    case rules::order::store_test_shade: write(operation::assign, {load, before, i::store, i::test_flag, after, old, fresh}); break;
    case rules::order::test_shade_store: write(operation::assign, {i::test_flag, load, before, old, fresh, i::store}); break;
    case rules::order::test_store_shade: write(operation::assign, {i::test_flag, load, before, i::store, after, old, fresh}); break;
    case rules::order::exchange_test_shade: write(operation::assign, {before, i::exchange, i::test_flag, after, old, fresh}); break;
  }
  // A word under construction holds no live value: nothing is deleted.
  const i init = r.shade_on_initialisation ? fresh : i::end;
  switch (r.barrier) {
    case rules::order::store_test_shade:
    case rules::order::exchange_test_shade: write(operation::construct, {before, i::store, i::test_flag, after, init}); break;
    case rules::order::test_shade_store: write(operation::construct, {i::test_flag, before, init, i::store}); break;
    case rules::order::test_store_shade: write(operation::construct, {i::test_flag, before, i::store, after, init}); break;
  }
  code_[static_cast<size_t>(operation::make)] = code_[static_cast<size_t>(operation::construct)];
  write(operation::destroy, {i::test_flag, i::load_old, i::store, r.shade_on_destruction ? old : i::end});
  write(operation::go, {i::test_flag, r.shade_arguments_of_go ? fresh : i::end, i::publish});
  write(operation::hand, {i::store, i::test_flag, r.shade_hand_over ? i::shade_new : i::end});  // in every mode
}

bool program::ahead(operation op, uint8_t pc, instruction what) const noexcept {
  for (uint8_t k = pc; at(op, k) != instruction::end; ++k)
    if (at(op, k) == what) return true;
  return false;
}

bool program::tested(operation op, uint8_t pc) const noexcept {
  for (uint8_t k = 0; k < pc; ++k)
    if (at(op, k) == instruction::test_flag) return true;
  return false;
}

}  // namespace gcmodel
