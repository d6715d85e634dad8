"""Reads and changes a map of Rust by its repr(C) view: adds 1 to every count.

usage: view.py NAME
"""

import sys

import psm

psm.cdef(
    """
    struct entry { const char *text; uint64_t length; uint64_t *count; };
    struct view { uint64_t entries; struct entry *entry; };
    """
)
with psm.open(sys.argv[1]) as segment:
    view = segment.cast("struct view *", segment.user)
    letters = 0
    for i in range(view.entries):
        entry = view.entry[i]
        letters += sum(psm.ffi.buffer(entry.text, entry.length)[:])
        entry.count[0] += 1
    print("ok", view.entries, letters)
    del view, entry
