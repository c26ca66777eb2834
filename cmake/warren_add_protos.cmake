# warren_add_protos(target [ROOT dir] [IMPORT_DIRS dir…] [MESSAGES_ONLY] file.proto…)
#
# Runs protoc for each file: C++ messages (X.pb.h, X.pb.cc), and services as warren serves them (X.warren.h), by protoc-gen-warren.
# The sources are added to the target, which must exist; their directory to its public include path; and it is linked to what they need.
#
#   add_executable(greeter greeter.cpp)
#   warren_add_protos(greeter helloworld.proto)     # greeter.cpp: #include "helloworld.warren.h"
#
# ROOT is the directory that `import "…"` and #include "….warren.h" start from: the current source directory unless given. Files are
# relative to it. IMPORT_DIRS are further places to find imports. MESSAGES_ONLY leaves out protoc-gen-warren: no X.warren.h, no warren.
#
# Works for a project that has warren by add_subdirectory: functions are visible everywhere once defined, and the plugin is built by then.
function(warren_add_protos target)
  cmake_parse_arguments(PARSE_ARGV 1 A "MESSAGES_ONLY" "ROOT" "IMPORT_DIRS")
  if(NOT TARGET ${target})
    message(FATAL_ERROR "warren_add_protos(${target}): there is no such target; add_executable or add_library comes before")
  endif()
  if(NOT A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "warren_add_protos(${target}): no .proto file given")
  endif()
  if(NOT A_ROOT)
    set(A_ROOT ${CMAKE_CURRENT_SOURCE_DIR})
  endif()
  get_filename_component(root ${A_ROOT} ABSOLUTE)
  # Imported targets are seen only in the directory that found them, hence here, for the caller.
  find_package(Protobuf REQUIRED)

  # Per target, so that two targets may generate the same file with different imports.
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${target}.protos)
  file(MAKE_DIRECTORY ${out})
  set(paths -I ${root})
  foreach(dir IN LISTS A_IMPORT_DIRS)
    get_filename_component(dir ${dir} ABSOLUTE)
    list(APPEND paths -I ${dir})
  endforeach()

  foreach(file IN LISTS A_UNPARSED_ARGUMENTS)
    get_filename_component(path ${file} ABSOLUTE BASE_DIR ${root})
    if(NOT EXISTS ${path})
      message(FATAL_ERROR "warren_add_protos(${target}): there is no ${path}; files are relative to ROOT, which is ${root}")
    endif()
    file(RELATIVE_PATH name ${root} ${path})
    if(name MATCHES "^\\.\\./")
      message(FATAL_ERROR "warren_add_protos(${target}): ${path} is not below ROOT, which is ${root}; give ROOT a directory above it")
    endif()
    string(REGEX REPLACE "\\.proto$" "" base ${name})
    set(products ${out}/${base}.pb.h ${out}/${base}.pb.cc)
    set(with --cpp_out=${out})
    set(needs ${path})
    if(NOT A_MESSAGES_ONLY)
      list(APPEND products ${out}/${base}.warren.h)
      list(APPEND with --plugin=protoc-gen-warren=$<TARGET_FILE:protoc_gen_warren> --warren_out=${out})
      list(APPEND needs protoc_gen_warren)
    endif()
    add_custom_command(
      OUTPUT ${products}
      COMMAND protobuf::protoc ${paths} ${with} --dependency_out=${out}/${base}.d ${name}
      DEPENDS ${needs}
      DEPFILE ${out}/${base}.d
      COMMENT "protoc ${name} for ${target}"
      VERBATIM)
    target_sources(${target} PRIVATE ${products})
    # protobuf's own output is not ours to keep free of warnings.
    set_source_files_properties(${out}/${base}.pb.cc PROPERTIES COMPILE_OPTIONS "-w")
  endforeach()

  get_target_property(type ${target} TYPE)
  set(scope PUBLIC)
  if(type STREQUAL "EXECUTABLE")
    set(scope PRIVATE)
  endif()
  target_include_directories(${target} SYSTEM ${scope} ${out})
  target_link_libraries(${target} ${scope} protobuf::libprotobuf)
  if(NOT A_MESSAGES_ONLY)
    target_link_libraries(${target} ${scope} warren::server)
  endif()
endfunction()
