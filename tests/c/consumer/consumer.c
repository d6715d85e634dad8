/* A C program that knows only the installed header and library. */
#include <psm.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  PSMHandle segment = NULL;
  char version[32];
  char *text;

  if (argc != 2) {
    fprintf(stderr, "usage: %s SEGMENT\n", argv[0]);
    return 2;
  }
  snprintf(version, sizeof version, "%d.%d.%d", PSM_VERSION_MAJOR, PSM_VERSION_MINOR,
           PSM_VERSION_PATCH);
  if (strcmp(version, PSMversion()) != 0) {
    fprintf(stderr, "header is %s, library is %s\n", version, PSMversion());
    return 1;
  }
  PSMinit(argv[1], 1 << 20, NULL, &segment);
  if (segment == NULL) {
    fprintf(stderr, "PSMinit: %s\n", PSMerrorString(PSMlastError()));
    return 1;
  }
  text = PSMalloc(segment, 100);
  if (text == NULL) {
    fprintf(stderr, "PSMalloc: %s\n", PSMerrorString(PSMlastError()));
    return 1;
  }
  strcpy(text, "installed");
  memcpy(PSMgetUser(segment), &text, sizeof text);
  PSMfree(segment, text);
  if (PSMlastError() != PSM_OK || PSMgetError(segment) != 0) {
    fprintf(stderr, "PSMfree: %s\n", PSMerrorString(PSMlastError()));
    return 1;
  }
  PSMdeinit(segment);
  printf("C, psm %s\n", version);
  return 0;
}
