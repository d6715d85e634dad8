# Linux on IBM Z: big-endian, under QEMU.
set(PSM_CPU s390x)
include(${CMAKE_CURRENT_LIST_DIR}/qemu.cmake)
