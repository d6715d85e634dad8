# Linux on 32-bit x86, run by the same kernel as 64-bit programs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR i686)
set(CMAKE_C_COMPILER i686-linux-gnu-gcc)
# Not a warning but a note, on structs that no older compiler shares with this one.
set(CMAKE_C_FLAGS_INIT "-Wno-psabi")
# The cross C library lies beside the system's own, where its loader is not looked for.
set(psm_sysroot /usr/i686-linux-gnu/lib)
if(EXISTS ${psm_sysroot}/ld-linux.so.2)
  set(CMAKE_EXE_LINKER_FLAGS_INIT
    "-Wl,--dynamic-linker=${psm_sysroot}/ld-linux.so.2 -Wl,-rpath,${psm_sysroot}")
endif()
