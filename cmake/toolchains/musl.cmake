# This machine, with musl instead of the system's C library.
set(CMAKE_C_COMPILER musl-gcc)
