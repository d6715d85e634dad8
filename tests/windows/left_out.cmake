# Programs of tests/c that Windows has nothing for, and why. All their cases are reported as skipped.
# A case of another program that forks is skipped when it comes to that.
set(left_out_test_fork "Windows has no fork")
set(left_out_test_namespace "Windows has no PID namespaces, and its users need passwords")
set(left_out_test_step "it stops processes at their system calls, by ptrace")
set(left_out_test_seats "it steps through processes by ptrace, and starts a thousand by fork")
set(left_out_test_member "Windows has no descriptors to close, no fork and no exec")
set(left_out_test_churn "its register is memory that children inherit by fork")
set(left_out_test_badworld "it mounts file systems and forks; test_windows has what applies")
set(left_out_test_pages "Windows has no large pages for files")
set(left_out_test_trim "it takes the place of a system call of Linux")
set(left_out_test_exchange "it takes the place of a system call of Linux")
set(left_out_test_address "it makes address spaces smaller by a filter of the kernel of Linux; test_windows has what applies")
