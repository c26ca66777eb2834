# Cross-built tests run under an emulator, ten times as slowly as natively (most of it goes into reserving address space: each warren::run
# costs 0.2 s there), and cannot do everything: tests/death_style.h.
set(warren_test_time 1)
set(warren_test_environment "")
if(CMAKE_CROSSCOMPILING)
  set(warren_test_time 5)
  set(warren_test_environment WARREN_TEST_EMULATED=1)
endif()

# warren_add_test(NAME name SOURCES a.cpp … LIBS lib … [LABELS l …] [TIMEOUT s] [ENV K=V …])
# makes one GoogleTest executable and one CTest entry of it.
function(warren_add_test)
  cmake_parse_arguments(T "" "NAME;TIMEOUT" "SOURCES;LIBS;LABELS;ENV" ${ARGN})
  add_executable(${T_NAME} ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE ${T_LIBS} GTest::gtest GTest::gtest_main warren_options)
  warren_add_test_run(NAME ${T_NAME} TEST ${T_NAME} TIMEOUT ${T_TIMEOUT} LABELS ${T_LABELS} ENV ${T_ENV})
endfunction()

# warren_add_test_run(NAME name TEST executable [LABELS l …] [TIMEOUT s] [ENV K=V …])
# makes one more CTest entry of an executable that warren_add_test has made: the same tests in another environment.
function(warren_add_test_run)
  cmake_parse_arguments(T "" "NAME;TEST;TIMEOUT" "LABELS;ENV" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  math(EXPR timeout "${T_TIMEOUT} * ${warren_test_time}")
  # Reports about goroutines that hold on to their thread depend on the load of the machine; tests that want them ask for them.
  set(environment WARREN_REPORT=0 ${T_ENV} ${warren_test_environment})
  add_test(NAME ${T_NAME} COMMAND ${T_TEST})
  set_tests_properties(${T_NAME} PROPERTIES TIMEOUT ${timeout} LABELS "${T_LABELS}" ENVIRONMENT "${environment}")
endfunction()
