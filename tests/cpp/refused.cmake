# Compile refused.cpp once for each rule and look for the rule's sentence.
# usage: cmake -DCOMPILER=... -DFLAGS=... -DABSL=ON|OFF -P refused.cmake
set(rules
  "a class with virtual functions"                            #  1
  "allocates outside the segment"                             #  2
  "allocates outside the segment"                             #  3
  "allocates outside the segment"                             #  4
  "std::function and std::any"                                #  5
  "functions have other addresses"                            #  6
  "std::shared_ptr points to a table"                         #  7
  "serve one process. see psm::mutex"                         #  8
  "allocates outside the segment"                             #  9
  "std::unique_ptr needs psm::deleter"                        # 10
  "this atomic uses a lock"                                   # 11
  "std::function and std::any"                                # 12
  "functions have other addresses"                            # 13
  "serve one process. see psm::mutex"                         # 14
  "allocates outside the segment"                             # 15
  "deleted|implicitly-deleted"                                # 16
  "absl's hash differs")                                      # 17

function(compile number)
  execute_process(
    COMMAND ${COMPILER} ${FLAGS} ${ARGN} -fsyntax-only -DREFUSE=${number}
      ${CMAKE_CURRENT_LIST_DIR}/refused.cpp
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(result ${result} PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

compile(0)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "what is allowed does not compile:\n${output}")
endif()
set(number 0)
foreach(rule IN LISTS rules)
  math(EXPR number "${number} + 1")
  if(number EQUAL 17 AND NOT ABSL)
    message("skipped: Abseil is missing")
    continue()
  endif()
  compile(${number})
  if(result EQUAL 0)
    message(FATAL_ERROR "case ${number} compiles; it should say: ${rule}")
  elseif(NOT output MATCHES "${rule}")
    message(FATAL_ERROR "case ${number} does not say: ${rule}\n${output}")
  endif()
endforeach()
compile(0 -D_GLIBCXX_DEBUG)
if(result EQUAL 0 OR NOT output MATCHES "containers in debug mode")
  message(FATAL_ERROR "debug mode is not refused:\n${output}")
endif()
message("${number} cases and debug mode are refused")
