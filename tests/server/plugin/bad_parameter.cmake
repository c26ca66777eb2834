# The real protoc with the real plugin: a bad parameter ends protoc with an error of one line, a good call writes the header.
# cmake -DPROTOC=… -DPLUGIN=… -DCASES=… -DOUT=… -P bad_parameter.cmake
file(MAKE_DIRECTORY ${OUT})
execute_process(
  COMMAND ${PROTOC} -I ${CASES} --plugin=protoc-gen-warren=${PLUGIN} --warren_out=lite:${OUT} no_package.proto
  RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_QUIET)
if(status EQUAL 0)
  message(FATAL_ERROR "protoc accepted a parameter that the plugin does not know")
endif()
if(NOT message MATCHES "^[^\n]*no_package.proto: unknown parameter 'lite': protoc-gen-warren takes none; write --warren_out=DIR\n$")
  message(FATAL_ERROR "not the one line expected: ${message}")
endif()
execute_process(
  COMMAND ${PROTOC} -I ${CASES} --plugin=protoc-gen-warren=${PLUGIN} --warren_out=${OUT} no_package.proto
  RESULT_VARIABLE status ERROR_VARIABLE message)
if(NOT status EQUAL 0 OR NOT EXISTS ${OUT}/no_package.warren.h)
  message(FATAL_ERROR "no header: ${message}")
endif()
execute_process(COMMAND ${PLUGIN} nonsense RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_QUIET)
if(NOT status EQUAL 2)
  message(FATAL_ERROR "started by hand with an argument the plugin must exit 2, not ${status}")
endif()
