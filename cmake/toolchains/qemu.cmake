# Included with PSM_CPU: a processor that is not this machine's.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${PSM_CPU})
set(CMAKE_C_COMPILER ${PSM_CPU}-linux-gnu-gcc)
find_program(PSM_QEMU NAMES qemu-${PSM_CPU}-static qemu-${PSM_CPU} REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR ${PSM_QEMU} -L /usr/${PSM_CPU}-linux-gnu)
