// Which words of a T may hold a collected pointer: computed at compile time, refused where it cannot be known.
//
// map_of<T> answers for every type that may be (part of) a collected object:
//   scan        some word of it may hold a collected pointer
//   destructor  something in it must be destroyed for a reason other than its ptrs
//   mark(b, o)  sets the bits of those words in b, for a T at offset o
// The world of types is closed: what is not listed here, is no aggregate, lists no fields and promises nothing does not compile. A word
// that is a pointer only at times (optional, variant) is marked always: the collector takes any word for what it is, and never looks at the
// flag that tells (which may change meanwhile).
#pragma once
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "warren/detail/fields.h"

namespace warren {

template <class T>
class ptr;
template <class T>
class array;
template <class T>
class root;

// What a class may say of itself, as `using collected = warren::…;`, or for a class one cannot change by specializing warren::collected_as.
//   finalized          its destructor runs, once, on a goroutine of the runtime, some time after the object became unreachable. Objects it
//   points to are still whole then.
//                      The object may not be made reachable again. Its memory is free after the next collection but one.
//   noscan             the author's promise: no word of it ever holds a collected pointer. Unchecked.
//   ambiguous          every word of it may hold one: a class with unions, or pointers from elsewhere.
//   finalized_with<L>  finalized, and L (noscan or ambiguous).
struct finalized {};
struct noscan {};
struct ambiguous {};
template <class Layout>
struct finalized_with {};

template <class T>
struct collected_as {
  using collected = void;
};

}  // namespace warren

namespace warren::detail {

// ---- descriptors ------------------------------------------------------------------------------------------------------------------------
enum class layout_kind : uint8_t { noscan = 0, precise = 1, ambiguous = 2 };

// Most objects are plain: of 16 to 128 bytes, with no wish for alignment, so that size and kind alone say where one is made: in this span
// class (runtime/heap/allocate.h compares it with the tables). 0: not so.
constexpr uint8_t plain_span_class(size_t size, uint32_t align, layout_kind kind) noexcept {
  if (size < 16 || size > 128 || align > 8) return 0;
  const size_t size_class = size <= 32 ? (size + 7) / 8 : 4 + (size - 32 + 15) / 16;
  return static_cast<uint8_t>(size_class * 3 + static_cast<size_t>(kind));
}

// What the runtime needs to know to make and scan a T. One constant per type.
struct type_descriptor {
  size_t size;
  uint32_t align;
  layout_kind kind;
  uint32_t pointer_words;  // words from the start up to the last that may hold a pointer
  const uint64_t* words;   // precise: bit i of the array = word i may hold one
  void (*destroy)(void*);  // finalized types; else nullptr
  const char* name;        // contains the type's name, for reports
  uint8_t plain = plain_span_class(size, align, kind);
};

template <size_t Words>
struct word_bits {
  uint64_t w[(Words + 63) / 64 + 1] = {};
  constexpr void set(size_t i) { w[i / 64] |= uint64_t{1} << (i % 64); }
  constexpr bool get(size_t i) const { return (w[i / 64] >> (i % 64)) & 1; }
};

template <class>
inline constexpr bool always_false = false;

template <class T>
constexpr const char* type_name() {
  return __PRETTY_FUNCTION__;
}

// ---- what a class says of itself
// ------------------------------------------------------------------------------------------------------------
template <class T>
struct statement {
  using type = typename collected_as<T>::collected;
};
template <class T>
requires requires { typename T::collected; }
struct statement<T> {
  using type = typename T::collected;
};
template <class T>
using statement_of = typename statement<T>::type;

template <class S>
struct read_statement {
  static_assert(std::is_void_v<S>,
                "warren: `collected` must be warren::finalized, warren::noscan, warren::ambiguous or warren::finalized_with<…>");
  static constexpr bool finalized = false;
  using layout = void;
};
template <>
struct read_statement<warren::finalized> {
  static constexpr bool finalized = true;
  using layout = void;
};
template <>
struct read_statement<warren::noscan> {
  static constexpr bool finalized = false;
  using layout = warren::noscan;
};
template <>
struct read_statement<warren::ambiguous> {
  static constexpr bool finalized = false;
  using layout = warren::ambiguous;
};
template <class L>
struct read_statement<finalized_with<L>> {
  static_assert(std::is_same_v<L, warren::noscan> || std::is_same_v<L, warren::ambiguous>,
                "warren: finalized_with takes warren::noscan or warren::ambiguous");
  static constexpr bool finalized = true;
  using layout = L;
};

template <class T>
constexpr bool is_finalized = read_statement<statement_of<T>>::finalized;

// ---- maps: building blocks
// ----------------------------------------------------------------------------------------------------------------
template <class T>
struct map_of;

struct nothing_map {
  static constexpr bool scan = false;
  static constexpr bool destructor = false;
  template <size_t N>
  static constexpr void mark(word_bits<N>&, size_t) {}
};
struct slot_map {
  static constexpr bool scan = true;
  static constexpr bool destructor = false;
  template <size_t N>
  static constexpr void mark(word_bits<N>& b, size_t offset) {
    b.set(offset / sizeof(void*));
  }
};
template <size_t Size, bool Destructor>
struct every_word_map {
  static constexpr bool scan = Size >= sizeof(void*);
  static constexpr bool destructor = Destructor;
  template <size_t N>
  static constexpr void mark(word_bits<N>& b, size_t offset) {
    constexpr size_t w = sizeof(void*);
    for (size_t o = (offset + w - 1) / w * w; o + w <= offset + Size; o += w) b.set(o / w);
  }
};
// A word of a wrapper that holds one of Ts at a time.
template <class Whole, class... Ts>
struct one_of_map : std::conditional_t<(map_of<std::remove_cv_t<Ts>>::scan || ...),
                                       every_word_map<sizeof(Whole), (map_of<std::remove_cv_t<Ts>>::destructor || ...)>, nothing_map> {
  static constexpr bool destructor = (map_of<std::remove_cv_t<Ts>>::destructor || ...);
};

// Fields at known offsets.
template <class Offsets, class... F>
struct fields_map {
  static constexpr bool scan = (map_of<std::remove_cv_t<F>>::scan || ...);
  static constexpr bool destructor = (map_of<std::remove_cv_t<F>>::destructor || ...);
  template <size_t N>
  static constexpr void mark(word_bits<N>& b, size_t offset) {
    [[maybe_unused]] size_t i = 0;
    (map_of<std::remove_cv_t<F>>::mark(b, offset + Offsets::value[i++]), ...);
  }
};

// Offsets of fields one after the other, as a class without bases has them.
template <class... F>
struct sequential {
  struct result {
    size_t value[sizeof...(F) + 1] = {};
    size_t size = 0;
    size_t align = 1;
  };
  static constexpr result compute() {
    result r;
    [[maybe_unused]] size_t i = 0;
    [[maybe_unused]] auto add = [&](size_t size, size_t align) {
      r.size = (r.size + align - 1) / align * align;
      r.value[i++] = r.size;
      r.size += size;
      if (align > r.align) r.align = align;
    };
    (add(sizeof(F), alignof(F)), ...);
    r.size = (r.size + r.align - 1) / r.align * r.align;
    if (r.size == 0) r.size = 1;
    return r;
  }
  static constexpr result layout = compute();
  static constexpr const size_t* value = layout.value;
};

// ---- aggregates
// ----------------------------------------------------------------------------------------------------------------------------- The
// computed layout is the real one if size and alignment agree and the alignment is at most a word. Proof: alignas on a field can only push
// it further; a field of alignment 8 is then pushed by a multiple of 8, and so is every later one, as none has a larger alignment that
// could swallow the push: the size would differ. Bit-fields and [[no_unique_address]] pull fields closer, which shows in the same way; an
// aggregate that has both kinds, cancelling out, escapes this check.
template <class T, class... F>
struct aggregate_layout : fields_map<sequential<F...>, F...> {
  static constexpr bool laid_out = sequential<F...>::layout.size == sizeof(T) && sequential<F...>::layout.align == alignof(T);
  static constexpr bool provable = alignof(T) <= sizeof(void*);
  static_assert((laid_out && provable) || !fields_map<sequential<F...>, F...>::scan,  // without pointers it does not matter where they are

                "warren: the fields of this aggregate do not lie where their types say (bit-fields, alignas or packing): list them with "
                "WARREN_FIELDS(…)");
};
template <class T, class List>
struct aggregate_layout_of;
template <class T, class... F>
struct aggregate_layout_of<T, type_list<F...>> : aggregate_layout<T, F...> {
  // A destructor written by the author is not constexpr (as a rule), the one the compiler makes is, if those of the fields are:
  // __is_literal_type tells.
  static constexpr bool fields_literal = (__is_literal_type(F) && ...);
  static constexpr bool own_destructor =
      !std::is_trivially_destructible_v<T> && ((std::is_trivially_destructible_v<F> && ...) || (fields_literal && !__is_literal_type(T)));
  static constexpr bool destructor = aggregate_layout<T, F...>::destructor || own_destructor;
};

template <class T>
constexpr auto map_aggregate() {
  using a = aggregate<T>;
  if constexpr (a::has_base) {
    static_assert(always_false<T>, "warren: an aggregate with a base class: list its fields with WARREN_FIELDS_WITH_BASE(base, …)");
    return nothing_map();
  } else if constexpr (a::has_reference) {
    static_assert(always_false<T>, "warren: a collected object cannot hold a reference: use warren::ptr");
    return nothing_map();
  } else if constexpr (a::has_stubborn_field) {
    static_assert(always_false<T>,
                  "warren: a field of this aggregate can be neither moved nor copied, so its type stays hidden: list the fields with "
                  "WARREN_FIELDS(…)");
    return nothing_map();
  } else if constexpr (a::fields == 0) {
    static_assert(always_false<T>, "warren: the fields of this aggregate cannot be counted: list them with WARREN_FIELDS(…)");
    return nothing_map();
  } else if constexpr (a::initializers >= kMaxInitializers || a::fields > kMaxFields) {
    static_assert(always_false<T>,
                  "warren: more than 32 fields (or large C arrays beside a field without default): list the fields with WARREN_FIELDS(…), "
                  "or use std::array");
    return nothing_map();
  } else {
    return aggregate_layout_of<T, aggregate_types<T>>();
  }
}

// ---- listed fields
// ----------------------------------------------------------------------------------------------------------------------------
template <class T, class Base, class... F>
struct listed_map {
  // The base subobject: at 0, or behind the vptr that only the derived class has.
  static constexpr size_t base_offset() {
    if constexpr (std::is_void_v<Base>) {
      return 0;
    } else {
      if (!std::is_polymorphic_v<T> || std::is_polymorphic_v<Base>) return 0;
      return alignof(Base) > sizeof(void*) ? alignof(Base) : sizeof(void*);
    }
  }
  struct own {
    static constexpr auto list = field_access::list<T>();
    static constexpr const size_t* value = [] {
      if constexpr (std::is_void_v<Base>) {
        return list.offsets;
      } else {
        return list.own.offsets;
      }
    }();
  };
  using own_map = fields_map<own, F...>;
  using base_map = std::conditional_t<std::is_void_v<Base>, nothing_map, map_of<Base>>;

  static constexpr bool scan = own_map::scan || base_map::scan;
  // A destructor of the author's shows where all parts are trivially destructible and the class is not. It does not show beside a ptr, and
  // where it is virtual: such classes are taken at their word that they need no destructor, and must say `finalized` if they do.
  static constexpr bool own_destructor =
      !std::is_trivially_destructible_v<T> && !std::is_polymorphic_v<T> &&
      (std::is_void_v<Base> || std::is_trivially_destructible_v<Base>)&&(std::is_trivially_destructible_v<F> && ...);
  static constexpr bool destructor = own_map::destructor || base_map::destructor || own_destructor;

  template <size_t N>
  static constexpr void mark(word_bits<N>& b, size_t offset) {
    own_map::mark(b, offset);
    base_map::mark(b, offset + base_offset());
  }

  // Is there an aligned word none of whose bytes belongs to a listed field, the base or the vptr? A forgotten pointer always leaves one.
  static constexpr bool has_gap() {
    constexpr size_t w = sizeof(void*);
    bool used[sizeof(T) / w + 1] = {};
    auto cover = [&](size_t offset, size_t size) {
      for (size_t o = offset; o < offset + size; ++o) used[o / w] = true;
    };
    if (std::is_polymorphic_v<T>) cover(0, w);
    if constexpr (!std::is_void_v<Base>) cover(base_offset(), sizeof(Base));
    [[maybe_unused]] size_t i = 0;
    (cover(own::value[i++], sizeof(F)), ...);
    for (size_t k = 0; k < sizeof(T) / w; ++k) {
      if (!used[k]) return true;
    }
    return false;
  }
  static_assert(std::is_empty_v<T> || !has_gap(),
                "warren: WARREN_FIELDS leaves out a word of this class: list every field (padding and a base class too; a base by "
                "WARREN_FIELDS_WITH_BASE)");
};
template <class T, class List>
struct listed_map_of;
template <class T, class... F>
struct listed_map_of<T, field_list<F...>> : listed_map<T, void, F...> {};
template <class T, class Base, class... F>
struct listed_map_of<T, field_list_with_base<Base, F...>> : listed_map<T, Base, F...> {
  static_assert(std::is_base_of_v<Base, T>, "warren: WARREN_FIELDS_WITH_BASE names a class that is not a base");
  static_assert(
      requires(Base * b) { static_cast<T*>(b); }, "warren: collected classes cannot have virtual bases");
};

// ---- classes known by their shape
// -----------------------------------------------------------------------------------------------------------
template <class T>
concept std_container = requires {
  typename T::value_type;
  typename T::allocator_type;
};
template <class T>
concept owning_pointer = requires(T& t) {
  typename T::element_type;
  t.reset();
};
template <class T>
concept view = !std_container<T> && requires(T & t) {
  typename T::value_type;
  t.data();
  t.size();
};
template <class T>
concept std_function = requires(const T& t) {
  typename T::result_type;
  t.target_type();
};
template <class T>
concept iterator = requires {
  typename T::iterator_category;
  typename T::difference_type;
  typename T::reference;
};
template <class T>
concept reference_wrapper = requires(const T& t) {
  typename T::type;
  { t.get() } -> std::same_as<typename T::type&>;
};
template <class T>
concept duration = requires {
  typename T::rep;
  typename T::period;
}
&&std::is_arithmetic_v<typename T::rep>;
template <class T>
concept time_point = requires {
  typename T::clock;
  typename T::duration;
}
&&duration<typename T::duration>;
template <class T>
concept atomic = requires(T& t) {
  typename T::value_type;
  t.load();
  t.is_lock_free();
};

template <bool Destructor>
struct opaque_map : nothing_map {
  static constexpr bool destructor = Destructor;
};

template <class T>
constexpr auto map_class() {
  using said = read_statement<statement_of<T>>;
  if constexpr (std::is_same_v<typename said::layout, noscan>) {
    return opaque_map<!std::is_trivially_destructible_v<T>>();
  } else if constexpr (std::is_same_v<typename said::layout, ambiguous>) {
    return every_word_map<sizeof(T), !std::is_trivially_destructible_v<T>>();
  } else if constexpr (field_access::has_list<T>) {
    return listed_map_of<T, std::remove_const_t<decltype(field_access::list<T>())>>();
  } else if constexpr (std::is_union_v<T>) {
    static_assert(always_false<T>,
                  "warren: a union in a collected object: use std::variant, or state `using collected = warren::ambiguous;`");
    return nothing_map();
  } else if constexpr (std_container<T>) {
    static_assert(!map_of<std::remove_cv_t<typename T::value_type>>::scan,
                  "warren: a std container of collected pointers: the collector does not see its memory; use warren::vector, "
                  "warren::hash_map or warren::ordered_map, or elements of warren::root");
    return opaque_map<true>();
  } else if constexpr (owning_pointer<T>) {
    static_assert(always_false<T>,
                  "warren: a collected object cannot hold a unique_ptr, shared_ptr or their like: nobody would see what it points to; use "
                  "warren::ptr");
    return nothing_map();
  } else if constexpr (view<T>) {
    static_assert(
        always_false<T>,
        "warren: a collected object cannot hold a view (string_view, span): it does not keep what it shows; use warren::string or "
        "warren::array");
    return nothing_map();
  } else if constexpr (std_function<T>) {
    static_assert(always_false<T>,
                  "warren: a collected object cannot hold a std::function: it keeps its closure where the collector does not look; use "
                  "warren::function");
    return nothing_map();
  } else if constexpr (iterator<T>) {
    static_assert(always_false<T>,
                  "warren: a collected object cannot hold an iterator: it does not keep what it points into; hold a key, an index or a "
                  "warren::ptr to the element");
    return nothing_map();
  } else if constexpr (reference_wrapper<T>) {
    static_assert(always_false<T>, "warren: a collected object cannot hold a reference: use warren::ptr");
    return nothing_map();
  } else if constexpr (duration<T> || time_point<T>) {
    return nothing_map();
  } else if constexpr (atomic<T>) {
    static_assert(!map_of<typename T::value_type>::scan, "warren: std::atomic of a collected pointer has no barrier: use warren::ptr");
    return nothing_map();
  } else if constexpr (std::is_empty_v<T>) {
    return opaque_map<!std::is_trivially_destructible_v<T>>();
  } else if constexpr (std::is_aggregate_v<T>) {
    return map_aggregate<T>();
  } else {
    static_assert(
        always_false<T>,
        "warren: it is not known where this class keeps pointers: list its fields with WARREN_FIELDS(…), or state `using collected = "
        "warren::noscan;` (or ambiguous), or specialize warren::collected_as");
    return nothing_map();
  }
}
template <class T>
constexpr auto map_other() {
  if constexpr (std::is_reference_v<T>) {
    static_assert(always_false<T>, "warren: a collected object cannot hold a reference: use warren::ptr");
    return nothing_map();
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return map_class<T>();
  } else {
    return nothing_map();  // numbers, enumerations, pointers to members, nullptr_t
  }
}

// ---- map_of
// -----------------------------------------------------------------------------------------------------------------------------------
template <class T>
struct map_of : decltype(map_other<T>()) {};

template <class T>
struct map_of<T*> : nothing_map {
  static_assert(std::is_function_v<T>, "warren: a collected object cannot hold a raw pointer: use warren::ptr<T>");
};
template <class T>
struct map_of<ptr<T>> : slot_map {};
template <class T>
struct map_of<array<T>> : slot_map {
  static_assert(offsetof(array<T>, first_) == 0);
};
template <class T>
struct map_of<root<T>> : nothing_map {
  static_assert(always_false<T>,
                "warren: a root inside a collected object keeps its target for ever if that leads back here: use warren::ptr");
};
template <class T, size_t N>
struct map_of<T[N]> {
  using element = map_of<std::remove_cv_t<T>>;
  static constexpr bool scan = element::scan;
  static constexpr bool destructor = element::destructor;
  template <size_t W>
  static constexpr void mark(word_bits<W>& b, size_t offset) {
    if constexpr (scan) {
      for (size_t i = 0; i < N; ++i) element::mark(b, offset + i * sizeof(T));
    }
  }
};
template <class T, size_t N>
struct map_of<std::array<T, N>> : map_of<T[N]> {
  static_assert(sizeof(std::array<T, N>) == sizeof(T[N]));
};
template <class T>
struct map_of<std::array<T, 0>> : nothing_map {};
template <class A, class B>
struct map_of<std::pair<A, B>> : fields_map<sequential<A, B>, A, B> {
  static_assert(sequential<A, B>::layout.size == sizeof(std::pair<A, B>));
};
// Where a tuple, an optional or a variant puts things is the library's business.
template <class... T>
struct map_of<std::tuple<T...>> : one_of_map<std::tuple<T...>, T...> {};
template <class T>
struct map_of<std::optional<T>> : one_of_map<std::optional<T>, T> {};
template <class... T>
struct map_of<std::variant<T...>> : one_of_map<std::variant<T...>, T...> {};
template <>
struct map_of<std::monostate> : nothing_map {};

// ---- the descriptor
// -----------------------------------------------------------------------------------------------------------------------------
template <class T>
struct described {
  using map = map_of<std::remove_cv_t<T>>;
  static constexpr size_t words = (sizeof(T) + sizeof(void*) - 1) / sizeof(void*);
  static constexpr word_bits<words> compute() {
    word_bits<words> b;
    if constexpr (map::scan) map::mark(b, 0);
    return b;
  }
  static constexpr word_bits<words> bits = compute();
  static constexpr uint32_t pointer_words() {
    uint32_t last = 0;
    for (size_t i = 0; i < words; ++i) {
      if (bits.get(i)) last = static_cast<uint32_t>(i + 1);
    }
    return last;
  }
  static constexpr layout_kind kind() {
    if (!map::scan) return layout_kind::noscan;
    if (std::is_class_v<T> && said_ambiguous()) return layout_kind::ambiguous;
    return layout_kind::precise;
  }
  static constexpr bool said_ambiguous() {
    if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
      return std::is_same_v<typename read_statement<statement_of<T>>::layout, ambiguous>;
    } else {
      return false;
    }
  }
  static void destroy(void* object) { static_cast<T*>(object)->~T(); }
  static constexpr void (*destroyer())(void*) {
    if constexpr (std::is_class_v<T> && is_finalized<T>) {
      return &destroy;
    } else {
      return nullptr;
    }
  }
};

template <class T>
inline constexpr type_descriptor descriptor_of{
    sizeof(T),     alignof(T), described<T>::kind(), described<T>::pointer_words(), described<T>::bits.w, described<T>::destroyer(),
    type_name<T>()};

// Everything that keeps T from being a collected type, as errors of the compiler.
template <class T>
constexpr void check_collected() {
  using map = map_of<std::remove_cv_t<T>>;
  static_assert(alignof(T) <= 8192, "warren: collected objects are aligned to 8192 bytes at most");
  if constexpr (std::is_class_v<T>) {
    static_assert(
        is_finalized<T> || !map::destructor,
        "warren: this type holds something the collector cannot free (its destructor does more than end ptrs): state `using collected = "
        "warren::finalized;` to have the destructor run, or hold what needs none (warren::string, vector, hash_map, function)");
  } else {
    static_assert(!map::destructor, "warren: this type holds something the collector cannot free");
  }
}

// Is a zeroed T what T() would make? Not of every trivial type: a null pointer to a data member is -1 (Itanium C++ ABI, 2.3). The compiler
// is asked for the bytes; types of which it does not know them while compiling (padding, unions, very large ones) are constructed.
template <class T>
constexpr bool is_made_of_zeros() {
  const auto bytes = std::bit_cast<std::array<unsigned char, sizeof(T)>>(T());
  for (const unsigned char b : bytes)
    if (b != 0) return false;
  return true;
}
constexpr size_t kMostBytesLookedAt = 16384;  // some ms of compiling
template <class T>
concept trivially_zero = std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T> &&
    (std::is_arithmetic_v<T> ||
     (sizeof(T) <= kMostBytesLookedAt && requires { typename std::bool_constant<is_made_of_zeros<T>()>; } && is_made_of_zeros<T>()));
template <class T>
constexpr bool zero_is_default = trivially_zero<T>;
template <class T>
constexpr bool zero_is_default<ptr<T>> = true;
template <class T>
constexpr bool zero_is_default<array<T>> = true;

}  // namespace warren::detail
