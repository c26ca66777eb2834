# Every target of the project links this: one place for what the project compiles with.
add_library(warren_options INTERFACE)
# Frame pointers: signal handlers and dumps unwind by them alone.
# Stack-clash probes: a large frame must hit the guard page, not jump it.
target_compile_options(warren_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -fno-omit-frame-pointer -fstack-clash-protection>)
