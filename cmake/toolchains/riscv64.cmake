# Linux on 64-bit RISC-V, under QEMU.
set(PSM_CPU riscv64)
include(${CMAKE_CURRENT_LIST_DIR}/qemu.cmake)
