#!/bin/sh
# Format the C and C++ sources, or with --check say which are not.
# Other versions of clang-format than 14 break lines elsewhere.
set -eu
cd "$(dirname "$0")/.."
tool=clang-format
for candidate in clang-format-14 clang-format; do
  if command -v $candidate >/dev/null; then
    tool=$candidate
    break
  fi
done
version=$($tool --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
  echo "clang-format 14 is needed, here is ${version:-none}"
  exit 77
fi
mode=-i
if [ "${1:-}" = --check ]; then
  mode="--dry-run -Werror -ferror-limit=1"
fi
# shellcheck disable=SC2086
find core include tests bench examples -type f \
  \( -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp' \) -print0 |
  xargs -0 $tool $mode
