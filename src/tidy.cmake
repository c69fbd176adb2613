# Targets format, format-check and tidy over our own sources. Each says how many files it looked at, and none of them is
# content with none. Included by CMakeLists.txt it defines the targets; run with -P it is what they do.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  foreach(mode format format-check tidy)
    add_custom_target(${mode}
      COMMAND ${CMAKE_COMMAND} -DMODE=${mode} -DTOP=${PROJECT_SOURCE_DIR} -DBUILD=${PROJECT_BINARY_DIR}
        -P ${CMAKE_CURRENT_LIST_FILE}
      USES_TERMINAL VERBATIM)
  endforeach()
  return()
endif()

file(GLOB_RECURSE files RELATIVE ${TOP} ${TOP}/src/*.[ch] ${TOP}/tests/*.[ch] ${TOP}/bench/*.[ch])
if(MODE STREQUAL "tidy")
  list(FILTER files INCLUDE REGEX "^src/.*\\.c$")
endif()
list(LENGTH files count)
if(count EQUAL 0)
  message(FATAL_ERROR "${MODE}: no file found below ${TOP}")
endif()

function(need_program variable preferred name package)
  find_program(${variable} NAMES ${preferred} ${name})
  if(NOT ${variable})
    message(FATAL_ERROR "${name} was not found; install it with: apt-get install ${package}")
  endif()
endfunction()

if(MODE STREQUAL "tidy")
  need_program(TOOL clang-tidy-14 clang-tidy clang-tidy-14)
  list(JOIN files "\n" lines)
  file(WRITE ${BUILD}/tidy-files "${lines}\n")
  # The compiler of the build may be another one, with warnings that clang does not know. One file at a time, as
  # clang-tidy 14 takes names of one for names of the next (it then reports va_list arguments that are in order).
  set(command xargs -a ${BUILD}/tidy-files -P 2 -n 1 ${TOOL} -p ${BUILD} --quiet
    --extra-arg=-Wno-unknown-warning-option)
else()
  need_program(TOOL clang-format-14 clang-format clang-format-14)
  set(options -i)
  if(MODE STREQUAL "format-check")
    set(options --dry-run --Werror)
  endif()
  set(command ${TOOL} ${options} ${files})
endif()
execute_process(COMMAND ${command} WORKING_DIRECTORY ${TOP} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${MODE}: ${count} files looked at, not all are right")
endif()
message(STATUS "${MODE}: ${count} files looked at")
