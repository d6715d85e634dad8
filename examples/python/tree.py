"""Read and change a structure that a C program has built: see ../c/tree.h.

usage: tree.py NAME

NAME is that of the segment; ../c/tree.c is the program. The declarations are
those of the C header, read as they are, and the pointers are followed as in C.
"""

import sys
from pathlib import Path

import psm

HEADER = Path(__file__).resolve().parents[1] / "c" / "tree.h"
psm.cdef(HEADER.read_text().split("/* [begin: read by tree.py] */")[1].split("/* [end]")[0])
ffi = psm.ffi


def in_order(node):
    """The nodes below one, by name."""
    if node:
        yield from in_order(node.left)
        yield node
        yield from in_order(node.right)


def main(name):
    with psm.open(name, create=False) as segment:
        if segment.root is None:
            sys.exit(f"{name}: there is no tree in this segment")
        tree = segment.cast("struct tree *", segment.root)
        with segment.lock(ffi.addressof(tree[0], "lock")):
            nodes = list(in_order(tree.root))
            assert len(nodes) == tree.nodes
            for node in nodes:
                # A pointer from elsewhere is checked before it is trusted.
                segment.block_at(node, ffi.sizeof("struct node"))
                print(ffi.string(node.name).decode(), node.count)
            for node in nodes:  # whoever allocated it
                segment.free(ffi.cast("void *", node.name))
                segment.free(node)
            tree.root, tree.nodes = ffi.NULL, 0
        segment.root.free()
        segment.root = None
        left = segment.stat().blocks
        print(f"{len(nodes)} words; {left} blocks left", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
