# Cross-building for aarch64 with Debian's g++-aarch64-linux-gnu; the tests run under qemu-user. Used by the preset arm64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# gcc assumes 64 KiB guards on aarch64 and probes large frames only that often; warren's guards are 16 KiB (runtime/stack/stack_arena.cpp).
set(CMAKE_C_FLAGS_INIT "--param stack-clash-protection-guard-size=12")
set(CMAKE_CXX_FLAGS_INIT "--param stack-clash-protection-guard-size=12")

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# CTest puts this before every test's command. -R: the emulator keeps a table entry for every page of address space the program reserves,
# and warren reserves hundreds of GiB (600 MB and 1.4 s per start for the stacks alone); in 16 GiB the runtime settles for less.
find_program(WARREN_QEMU_AARCH64 NAMES qemu-aarch64 qemu-aarch64-static)
if(WARREN_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${WARREN_QEMU_AARCH64};-R;16G;-L;/usr/aarch64-linux-gnu")
endif()
