# Ask PROGRAM for its cases and write OUTPUT, which CTest includes: one test
# for each, named NAME.case without "test_".
file(REMOVE ${OUTPUT})
execute_process(
  COMMAND ${LAUNCHER} ${PROGRAM} --list
  OUTPUT_VARIABLE listing RESULT_VARIABLE result TIMEOUT 60)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${NAME} --list failed: ${result}")
endif()
string(REGEX MATCHALL "[^\r\n]+" cases "${listing}")
if(NOT cases)
  message(FATAL_ERROR "${NAME} --list names no case")
endif()

string(REGEX REPLACE "^test_" "" short ${NAME})
set(command "")
foreach(word IN LISTS LAUNCHER PROGRAM)
  string(APPEND command " [==[${word}]==]")
endforeach()
# The program's own watchdog comes first: it names the case and clears up.
math(EXPR own_timeout "${TIMEOUT} - 10")
set(environment
  PSM_TEST_TIMEOUT=${own_timeout}
  LSAN_OPTIONS=print_suppressions=0
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1)
if(EMULATED) # the programs that it starts need the emulator as well
  list(JOIN LAUNCHER " " words)
  list(APPEND environment "PSM_TEST_EMULATOR=${words}")
endif()
set(text "")
foreach(case IN LISTS cases)
  string(STRIP "${case}" case)
  string(APPEND text
    "add_test([==[${short}.${case}]==]${command} [==[${case}]==])\n"
    "set_tests_properties([==[${short}.${case}]==] PROPERTIES\n"
    "  LABELS [==[${LABELS}]==] TIMEOUT ${TIMEOUT} SKIP_RETURN_CODE 77\n"
    "  ENVIRONMENT [==[${environment}]==])\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
