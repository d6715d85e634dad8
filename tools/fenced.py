"""The part of include/psm.h that binding generators read."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "psm.h"


def text():
    """What stands between the two fences."""
    match = re.search(r"/\* \[begin: read by binding generators\] \*/\n(.*)"
                      r"/\* \[end: read by binding generators\] \*/", HEADER.read_text(), re.S)
    if match is None:
        raise SystemExit(f"{HEADER}: the fences are missing")
    return match.group(1)


def functions():
    """The names of the functions declared there, in order."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text(), flags=re.S)
    return re.findall(r"\b([A-Za-z_]\w*)\s*\([^;{}]*\)\s*;", code)


if __name__ == "__main__":
    print(text(), end="")
