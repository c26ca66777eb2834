// What the fields of a class are, and where: by listing them (WARREN_FIELDS) or, for an aggregate, by asking the compiler.
//
// An aggregate's fields are counted by trying how many initializers it takes ({} each; or, where a field cannot be made from {}, an object
// that converts to anything), and their types read off a structured binding. Their offsets follow from the types, since an ABI lays fields
// out in order at the next multiple of their alignment; that this was so is checked against sizeof and alignof (see aggregate_layout). A
// class with bases, bit-fields or alignas on a field fails the check and has to list its fields.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace warren::detail {

template <class...>
struct type_list {};

// ---- listed fields ----------------------------------------------------------------------------------------------------------------------
template <class T>
struct field {
  using type = T;
  size_t offset;
};
template <class... T>
struct field_list {
  size_t offsets[sizeof...(T) + 1];
};
template <class Base, class... T>
struct field_list_with_base {
  field_list<T...> own;
};

template <class... T>
constexpr field_list<T...> fields(field<T>... f) {
  return {{f.offset..., 0}};
}
template <class Base, class... T>
constexpr field_list_with_base<Base, T...> fields_with_base(field<T>... f) {
  return {{{f.offset..., 0}}};
}

struct field_access {
  template <class T>
  static constexpr auto list() {
    return T::template warren_fields_<T>();
  }
  template <class T>
  static constexpr bool has_list = requires {
    T::template warren_fields_<T>();
  };
};

// ---- counted fields ---------------------------------------------------------------------------------------------------------------------
// Converts to any field of Whole, but not to Whole itself nor to a base of it: a first initializer that only a base would take shows that
// there is a base.
template <class Whole>
struct any_field {
  template <class U>
  requires(!std::is_same_v<U, Whole> && !std::is_base_of_v<U, Whole>) operator U() const noexcept;
};
template <class Whole>
struct any_base {
  template <class U>
  requires(std::is_base_of_v<U, Whole> && !std::is_same_v<U, Whole>) operator U() const noexcept;
};
struct any_reference {
  template <class U>
  operator U&() const noexcept;
};

template <class T, size_t>
using repeat = T;

template <class T, size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{repeat<any_field<T>, I>{}...}; };
}
template <class T, size_t... I>
constexpr bool takes_then_reference(std::index_sequence<I...>) {
  return requires { T{repeat<any_field<T>, I>{}..., any_reference{}}; };
}
template <class T, size_t... I, size_t... J>
constexpr bool takes_around_braces(std::index_sequence<I...>, std::index_sequence<J...>) {
  return requires { T{repeat<any_field<T>, I>{}..., {}, repeat<any_field<T>, J>{}...}; };
}

inline constexpr size_t kMaxFields = 32;
inline constexpr size_t kMaxInitializers = 256;  // elements of C arrays count one by one here

template <class T>
constexpr bool starts_with_base = requires {
  T{any_base<T>{}};
};

// Number of initializers T takes when those of C arrays are written without braces: the largest that compiles. A smaller one may not, if a
// field has no default: behind a number that fails we look up to 32 further.
template <class T, size_t N = 0, size_t Failed = 0>
constexpr size_t count_initializers() {
  if constexpr (N + Failed + 1 > kMaxInitializers || Failed > kMaxFields || N + Failed + 1 > 8 * sizeof(T)) {
    return N;
  } else if constexpr (takes<T>(std::make_index_sequence<N + Failed + 1>())) {
    return count_initializers<T, N + Failed + 1, 0>();
  } else {
    return count_initializers<T, N, Failed + 1>();
  }
}
// How many of the Total initializers belong to the field that begins with number At: 1, but for a C array. `{}` in its place takes the
// whole field.
template <class T, size_t Total, size_t At, size_t Width = 1>
constexpr size_t initializers_of_field() {
  if constexpr (At + Width > Total) {
    return 1;  // takes no {} at all: not default-constructible, hence no array we could split
  } else if constexpr (takes_around_braces<T>(std::make_index_sequence<At>(), std::make_index_sequence<Total - At - Width>())) {
    return Width;
  } else {
    return initializers_of_field<T, Total, At, Width + 1>();
  }
}
template <class T, size_t Total, size_t At = 0, size_t Fields = 0>
constexpr size_t count_fields() {
  if constexpr (At >= Total) {
    return Fields;
  } else {
    return count_fields<T, Total, At + initializers_of_field<T, Total, At>(), Fields + 1>();
  }
}

// The usual case: every field can be made from {}, which takes a C array whole.
// clang-format off
#define WARREN_DETAIL_B8 {}, {}, {}, {}, {}, {}, {}, {}
template <class T, size_t N>
constexpr bool takes_empty_braces() {
  if constexpr (N == 0) { return true; }
  else if constexpr (N == 1) { return requires { T{{}}; }; }
  else if constexpr (N == 2) { return requires { T{{}, {}}; }; }
  else if constexpr (N == 3) { return requires { T{{}, {}, {}}; }; }
  else if constexpr (N == 4) { return requires { T{{}, {}, {}, {}}; }; }
  else if constexpr (N == 5) { return requires { T{{}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 6) { return requires { T{{}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 7) { return requires { T{{}, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 8) { return requires { T{WARREN_DETAIL_B8}; }; }
  else if constexpr (N == 9) { return requires { T{WARREN_DETAIL_B8, {}}; }; }
  else if constexpr (N == 10) { return requires { T{WARREN_DETAIL_B8, {}, {}}; }; }
  else if constexpr (N == 11) { return requires { T{WARREN_DETAIL_B8, {}, {}, {}}; }; }
  else if constexpr (N == 12) { return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}}; }; }
  else if constexpr (N == 13) { return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 14) { return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 15) { return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 16) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8}; }; }
  else if constexpr (N == 17) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}}; }; }
  else if constexpr (N == 18) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}}; }; }
  else if constexpr (N == 19) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}}; }; }
  else if constexpr (N == 20) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}}; }; }
  else if constexpr (N == 21) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 22) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 23) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 24) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8}; }; }
  else if constexpr (N == 25) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}}; }; }
  else if constexpr (N == 26) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}}; }; }
  else if constexpr (N == 27) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}}; }; }
  else if constexpr (N == 28) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}}; }; }
  else if constexpr (N == 29) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 30) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 31) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}}; }; }
  else if constexpr (N == 32) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8}; }; }
  else if constexpr (N == 33) { return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}}; }; }
  else { return false; }
}
template <class T, size_t N>
constexpr bool takes_empty_braces_and_more() {
  if constexpr (N == 0) { return true; }
  else if constexpr (N == 1) {
    return requires { T{{}, any_field<T>{}}; } ||
           requires { T{{}, any_reference{}}; };
  }
  else if constexpr (N == 2) {
    return requires { T{{}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, any_reference{}}; };
  }
  else if constexpr (N == 3) {
    return requires { T{{}, {}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 4) {
    return requires { T{{}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 5) {
    return requires { T{{}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 6) {
    return requires { T{{}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 7) {
    return requires { T{{}, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{{}, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 8) {
    return requires { T{WARREN_DETAIL_B8, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, any_reference{}}; };
  }
  else if constexpr (N == 9) {
    return requires { T{WARREN_DETAIL_B8, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, any_reference{}}; };
  }
  else if constexpr (N == 10) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 11) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 12) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 13) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 14) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 15) {
    return requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 16) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_reference{}}; };
  }
  else if constexpr (N == 17) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_reference{}}; };
  }
  else if constexpr (N == 18) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 19) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 20) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 21) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 22) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 23) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 24) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_reference{}}; };
  }
  else if constexpr (N == 25) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_reference{}}; };
  }
  else if constexpr (N == 26) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 27) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 28) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 29) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 30) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 31) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, {}, {}, {}, {}, {}, {}, any_reference{}}; };
  }
  else if constexpr (N == 32) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, any_reference{}}; };
  }
  else if constexpr (N == 33) {
    return requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_field<T>{}}; } ||
           requires { T{WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, WARREN_DETAIL_B8, {}, any_reference{}}; };
  }
  else { return true; }
}
#undef WARREN_DETAIL_B8
// clang-format on
template <class T, size_t N = 0>
constexpr size_t count_empty_braces() {
  if constexpr (takes_empty_braces<T, N + 1>()) {
    return count_empty_braces<T, N + 1>();
  } else {
    return N;
  }
}

template <class T>
struct aggregate_by_braces {
  static constexpr size_t initializers = count_empty_braces<T>();
  static constexpr size_t fields = initializers;
  static constexpr bool has_reference = false;  // of the kind that cannot be made from {}
  static constexpr bool has_stubborn_field = false;
};
template <class T>
struct aggregate_by_conversion {
  static constexpr size_t initializers = count_initializers<T>();
  static constexpr size_t fields = count_fields<T, initializers>();
  // A place that takes something converting to a reference and nothing converting to a value.
  static constexpr bool has_reference = []<size_t... N>(std::index_sequence<N...>) {
    return ((takes_then_reference<T>(std::make_index_sequence<N>()) && !takes<T>(std::make_index_sequence<N + 1>())) || ...);
  }
  (std::make_index_sequence<kMaxFields>());
  // One that any_field cannot stand for, as the conversion would have to move it.
  static constexpr bool has_stubborn_field = takes_around_braces<T>(std::make_index_sequence<initializers>(), std::index_sequence<>());
};
template <class T>
struct aggregate
    : std::conditional_t<takes_empty_braces_and_more<T, count_empty_braces<T>()>(), aggregate_by_conversion<T>, aggregate_by_braces<T>> {
  static constexpr bool has_base = starts_with_base<T>;
};

// clang-format off
template <class T, size_t N>
auto bind_fields(T& t) {
  if constexpr (N == 0) { return type_list<>(); }
  else if constexpr (N == 1) { auto& [a0] = t; return type_list<decltype(a0)>(); }
  else if constexpr (N == 2) { auto& [a0, a1] = t; return type_list<decltype(a0), decltype(a1)>(); }
  else if constexpr (N == 3) { auto& [a0, a1, a2] = t; return type_list<decltype(a0), decltype(a1), decltype(a2)>(); }
  else if constexpr (N == 4) { auto& [a0, a1, a2, a3] = t; return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3)>(); }
  else if constexpr (N == 5) {
    auto& [a0, a1, a2, a3, a4] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4)>(); }
  else if constexpr (N == 6) {
    auto& [a0, a1, a2, a3, a4, a5] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5)>(); }
  else if constexpr (N == 7) {
    auto& [a0, a1, a2, a3, a4, a5, a6] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5), decltype(a6)>(); }
  else if constexpr (N == 8) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7)>(); }
  else if constexpr (N == 9) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8)>(); }
  else if constexpr (N == 10) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9)>(); }
  else if constexpr (N == 11) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10)>(); }
  else if constexpr (N == 12) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11)>(); }
  else if constexpr (N == 13) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12)>(); }
  else if constexpr (N == 14) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13)>(); }
  else if constexpr (N == 15) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14)>(); }
  else if constexpr (N == 16) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15)>(); }
  else if constexpr (N == 17) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16)>(); }
  else if constexpr (N == 18) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17)>(); }
  else if constexpr (N == 19) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18)>(); }
  else if constexpr (N == 20) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19)>(); }
  else if constexpr (N == 21) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20)>(); }
  else if constexpr (N == 22) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21)>(); }
  else if constexpr (N == 23) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22)>(); }
  else if constexpr (N == 24) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23)>(); }
  else if constexpr (N == 25) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24)>(); }
  else if constexpr (N == 26) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25)>(); }
  else if constexpr (N == 27) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26)>(); }
  else if constexpr (N == 28) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26, a27] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26),
        decltype(a27)>(); }
  else if constexpr (N == 29) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26, a27, a28] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26),
        decltype(a27), decltype(a28)>(); }
  else if constexpr (N == 30) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26, a27, a28, a29] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26),
        decltype(a27), decltype(a28), decltype(a29)>(); }
  else if constexpr (N == 31) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26, a27, a28, a29, a30] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26),
        decltype(a27), decltype(a28), decltype(a29), decltype(a30)>(); }
  else if constexpr (N == 32) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
        a23, a24, a25, a26, a27, a28, a29, a30, a31] = t;
    return type_list<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5),
        decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11), decltype(a12),
        decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18), decltype(a19),
        decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25), decltype(a26),
        decltype(a27), decltype(a28), decltype(a29), decltype(a30), decltype(a31)>(); }
}
// clang-format on

template <class T>
using aggregate_types = decltype(bind_fields<T, aggregate<T>::fields>(std::declval<T&>()));

}  // namespace warren::detail

// WARREN_FIELDS(a, b, …) inside a class lists all its fields, in any order, up to 32. WARREN_FIELDS_WITH_BASE(base, a, b, …): and those of
// its one base. Access to what follows does not change. A class that is derived from another with a list needs a list of its own.
// clang-format off
#define WARREN_FIELDS(...)                                                                                  \
  friend struct ::warren::detail::field_access;                                                             \
  WARREN_DETAIL_LIST(::warren::detail::fields __VA_OPT__(,) __VA_ARGS__)
#define WARREN_FIELDS_WITH_BASE(base, ...)                                                                  \
  friend struct ::warren::detail::field_access;                                                             \
  WARREN_DETAIL_LIST(::warren::detail::fields_with_base<base> __VA_OPT__(,) __VA_ARGS__)

// offsetof of a class that is not standard-layout is "conditionally supported", which both compilers do as long as no virtual
// base is in between.
#define WARREN_DETAIL_LIST(how, ...)                                                                        \
  template <class warren_self_>                                                                             \
  static constexpr auto warren_fields_() {                                                                  \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Winvalid-offsetof\"")                 \
    return how(WARREN_DETAIL_EACH(__VA_ARGS__));                                                            \
    _Pragma("GCC diagnostic pop")                                                                           \
  }                                                                                                         \
  static_assert(true)
#define WARREN_DETAIL_FIELD(n) ::warren::detail::field<decltype(warren_self_::n)> { __builtin_offsetof(warren_self_, n) }
#define WARREN_DETAIL_E1(a) WARREN_DETAIL_FIELD(a)
#define WARREN_DETAIL_E2(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E1(__VA_ARGS__)
#define WARREN_DETAIL_E3(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E2(__VA_ARGS__)
#define WARREN_DETAIL_E4(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E3(__VA_ARGS__)
#define WARREN_DETAIL_E5(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E4(__VA_ARGS__)
#define WARREN_DETAIL_E6(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E5(__VA_ARGS__)
#define WARREN_DETAIL_E7(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E6(__VA_ARGS__)
#define WARREN_DETAIL_E8(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E7(__VA_ARGS__)
#define WARREN_DETAIL_E9(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E8(__VA_ARGS__)
#define WARREN_DETAIL_E10(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E9(__VA_ARGS__)
#define WARREN_DETAIL_E11(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E10(__VA_ARGS__)
#define WARREN_DETAIL_E12(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E11(__VA_ARGS__)
#define WARREN_DETAIL_E13(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E12(__VA_ARGS__)
#define WARREN_DETAIL_E14(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E13(__VA_ARGS__)
#define WARREN_DETAIL_E15(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E14(__VA_ARGS__)
#define WARREN_DETAIL_E16(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E15(__VA_ARGS__)
#define WARREN_DETAIL_E17(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E16(__VA_ARGS__)
#define WARREN_DETAIL_E18(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E17(__VA_ARGS__)
#define WARREN_DETAIL_E19(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E18(__VA_ARGS__)
#define WARREN_DETAIL_E20(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E19(__VA_ARGS__)
#define WARREN_DETAIL_E21(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E20(__VA_ARGS__)
#define WARREN_DETAIL_E22(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E21(__VA_ARGS__)
#define WARREN_DETAIL_E23(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E22(__VA_ARGS__)
#define WARREN_DETAIL_E24(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E23(__VA_ARGS__)
#define WARREN_DETAIL_E25(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E24(__VA_ARGS__)
#define WARREN_DETAIL_E26(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E25(__VA_ARGS__)
#define WARREN_DETAIL_E27(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E26(__VA_ARGS__)
#define WARREN_DETAIL_E28(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E27(__VA_ARGS__)
#define WARREN_DETAIL_E29(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E28(__VA_ARGS__)
#define WARREN_DETAIL_E30(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E29(__VA_ARGS__)
#define WARREN_DETAIL_E31(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E30(__VA_ARGS__)
#define WARREN_DETAIL_E32(a, ...) WARREN_DETAIL_FIELD(a), WARREN_DETAIL_E31(__VA_ARGS__)
#define WARREN_DETAIL_E0()
#define WARREN_DETAIL_NTH(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, \
    _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, n, ...) n
#define WARREN_DETAIL_EACH(...) __VA_OPT__(WARREN_DETAIL_COUNT(__VA_ARGS__)(__VA_ARGS__))
#define WARREN_DETAIL_COUNT(...) \
  WARREN_DETAIL_NTH(__VA_ARGS__, WARREN_DETAIL_E32, \
    WARREN_DETAIL_E31, WARREN_DETAIL_E30, WARREN_DETAIL_E29, WARREN_DETAIL_E28, WARREN_DETAIL_E27, \
    WARREN_DETAIL_E26, WARREN_DETAIL_E25, WARREN_DETAIL_E24, WARREN_DETAIL_E23, WARREN_DETAIL_E22, \
    WARREN_DETAIL_E21, WARREN_DETAIL_E20, WARREN_DETAIL_E19, WARREN_DETAIL_E18, WARREN_DETAIL_E17, \
    WARREN_DETAIL_E16, WARREN_DETAIL_E15, WARREN_DETAIL_E14, WARREN_DETAIL_E13, WARREN_DETAIL_E12, \
    WARREN_DETAIL_E11, WARREN_DETAIL_E10, WARREN_DETAIL_E9, WARREN_DETAIL_E8, WARREN_DETAIL_E7, \
    WARREN_DETAIL_E6, WARREN_DETAIL_E5, WARREN_DETAIL_E4, WARREN_DETAIL_E3, WARREN_DETAIL_E2, \
    WARREN_DETAIL_E1, WARREN_DETAIL_E0)
// clang-format on
