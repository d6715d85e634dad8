/* LeakSanitizer asks the program for this; a file could be out of reach of a
 * case that has changed its user. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void) {
  return "leak:vasprintf\n"; /* names that the harness keeps until the end */
}
