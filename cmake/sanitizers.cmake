# WARREN_SANITIZE=address|thread instruments the whole build; the runtime's switches carry the annotations.
if(WARREN_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With this sanitizer g++ 12 takes moved-from members of std::function, std::optional and <regex> for uninitialized ones.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
  endif()
  add_link_options(-fsanitize=address)
elseif(WARREN_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_compile_definitions(WARREN_SIGNALS_KEPT_BACK)  # runtime/os/futex.cpp
  # Headers of libraries that lay out their objects differently under this sanitizer, while the system's library does not.
  include_directories(BEFORE SYSTEM ${CMAKE_CURRENT_LIST_DIR}/thread_sanitizer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # gcc's TSan does not model atomic_thread_fence and says so at each use. The fences here order atomics only, whose races it cannot report anyway.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
  add_link_options(-fsanitize=thread)
elseif(NOT WARREN_SANITIZE STREQUAL "")
  message(FATAL_ERROR "WARREN_SANITIZE=${WARREN_SANITIZE} is not known; use address, thread or nothing")
endif()
