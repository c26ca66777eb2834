# warren_nghttp2: libnghttp2 for everything that links it, so that no executable gets it twice.
#
# From the archive, if the package has one: a call goes into the library and back some hundred times, each time through the linker's tables
# to code gigabytes away, which costs a small unary call 7 % of its processor time, and a message that goes back and forth on a stream 3 %.
# The price: a fixed libnghttp2 reaches a server when that is linked anew, as everything of warren itself does.
option(WARREN_STATIC_NGHTTP2 "Link libnghttp2.a, if there is one, instead of the shared library" ON)

# Defines the target, unless it is there already. ARGN: REQUIRED or QUIET, as of pkg_check_modules.
function(warren_find_nghttp2)
  if(TARGET warren_nghttp2)
    return()
  endif()
  find_package(PkgConfig ${ARGN})
  if(NOT PkgConfig_FOUND)
    return()
  endif()
  pkg_check_modules(NGHTTP2 ${ARGN} IMPORTED_TARGET GLOBAL libnghttp2)
  if(NOT TARGET PkgConfig::NGHTTP2)
    return()
  endif()
  add_library(warren_nghttp2 INTERFACE)
  if(WARREN_STATIC_NGHTTP2)
    find_library(WARREN_NGHTTP2_ARCHIVE libnghttp2.a HINTS ${NGHTTP2_LIBDIR})
  endif()
  if(WARREN_STATIC_NGHTTP2 AND WARREN_NGHTTP2_ARCHIVE)
    target_include_directories(warren_nghttp2 SYSTEM INTERFACE ${NGHTTP2_INCLUDE_DIRS})
    target_compile_definitions(warren_nghttp2 INTERFACE NGHTTP2_STATICLIB)
    target_link_libraries(warren_nghttp2 INTERFACE ${WARREN_NGHTTP2_ARCHIVE})
  else()
    target_link_libraries(warren_nghttp2 INTERFACE PkgConfig::NGHTTP2)
  endif()
endfunction()
