# Windows i686 by mingw-w64; programs run under wine, where its loader for 32 bits is.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR i686)
set(PSM_MINGW i686-w64-mingw32)
find_program(PSM_WINE NAMES wine PATHS /usr/lib/wine /usr/lib/i386-linux-gnu/wine NO_DEFAULT_PATH)
include(${CMAKE_CURRENT_LIST_DIR}/mingw.cmake)
