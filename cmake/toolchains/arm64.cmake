# Linux on 64-bit ARM, which orders memory weakly, under QEMU.
set(PSM_CPU aarch64)
include(${CMAKE_CURRENT_LIST_DIR}/qemu.cmake)
