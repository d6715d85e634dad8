# Windows x86-64 by mingw-w64; programs run under wine, if there is one.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(PSM_MINGW x86_64-w64-mingw32)
find_program(PSM_WINE NAMES wine64 wine PATHS /usr/lib/wine)
include(${CMAKE_CURRENT_LIST_DIR}/mingw.cmake)
