// Stands before protobuf's own header in builds with ThreadSanitizer (cmake/sanitizers.cmake). Under that sanitizer g++ defines a macro for
// which protobuf 3.21 gives each map field two more members; the system's libprotobuf was built without it. Generated code and library
// would then disagree about where the rest of the field lies: a message with a map is read wrongly, and its destruction crashes. Here the
// header says what the library was built with.
//
// Narrower than undefining the macro for everything: libstdc++ needs it, or its shared_ptr is reported. <cstddef> reads it first for that.
#pragma once
#pragma GCC system_header
#include <cstddef>
#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include_next <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")
