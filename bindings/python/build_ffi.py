"""Write the C wrapper of psm._psm: build_ffi.py OUTPUT HEADER...

What Python sees of C is the fenced part of each header, read as it is.
"""

import sys
import sysconfig
from pathlib import Path

from cffi import FFI

BEGIN = "/* [begin: read by binding generators] */"
END = "/* [end: read by binding generators] */"


def fenced(header: Path) -> str:
    """The text of `header` between its two fences."""
    text = header.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{header}: expected exactly one fenced part")
    return text.split(BEGIN)[1].split(END)[0]


def main(output: Path, headers: "list[Path]") -> None:
    ffi = FFI()
    for header in headers:
        ffi.cdef(fenced(header))
    includes = "\n".join(f'#include "{header.name}"' for header in headers)
    # A free-threaded build has no stable ABI to be limited to.
    limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
    ffi.set_source("psm._psm", includes, py_limited_api=limited)
    ffi.emit_c_code(str(output))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
