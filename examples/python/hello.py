"""A record that any language reads, and frees: see ../README.md.

    hello write NAME   allocate a record and a text, and wait for the end of the standard input
    hello read NAME    check them, free both
    hello churn NAME   allocate and free until the standard input ends
"""

import random
import re
import select
import sys
from collections import deque

import psm

psm.cdef("""
struct hello {
  uint64_t magic;
  uint64_t text, length;
  uint64_t self;
  int64_t number;
  double real;
  uint64_t zeros[2];
};
""")
MAGIC = 0x50534D2D48454C4F
TEXT = b"hello from python"


def check(what, holds):
    if not holds:
        raise AssertionError(f"wrong: {what}")


def write(segment):
    text = segment.alloc(len(TEXT))
    text[:] = TEXT
    record = segment.new("struct hello *")
    address = int(psm.ffi.cast("uintptr_t", record))
    record.magic = MAGIC
    record.text = text.address
    record.length = len(TEXT)
    record.self = address
    record.number = -42
    record.real = 2.5
    segment.user = address  # last: now others find it
    print("wrote", address, flush=True)
    sys.stdin.read()


def read(segment):
    address = segment.user
    record = segment.cast("struct hello *", address)
    check("magic", record.magic == MAGIC)
    check("its own address", record.self == address)
    check("offset", segment.address_of(segment.offset(address)) == address)
    check("integer", record.number == -42)
    check("double", record.real == 2.5)
    check("zeros", list(record.zeros) == [0, 0])
    text = bytes(segment.view(record.text, record.length)).decode()
    check("text", re.fullmatch(r"hello from \w+", text))
    segment.free(record.text)
    segment.free(address)
    segment.user = 0
    segment.check()
    check("blocks", segment.stat().blocks == 0)
    print("read", address, text)


def give_back(block):
    check("a block", int.from_bytes(block[:8], sys.byteorder) == block.address)
    block.free()


def churn(segment):
    kept = deque()
    turn = 0
    while turn % 1000 or not select.select([sys.stdin], [], [], 0)[0] or sys.stdin.read(1):
        turn += 1
        block = segment.alloc(random.randint(16, 512))
        block[:8] = block.address.to_bytes(8, sys.byteorder)
        kept.append(block)
        if len(kept) > 32:
            give_back(kept.popleft())
        if turn % 1000 == 0:
            print("turn", turn, flush=True)
    for block in kept:
        give_back(block)


def main(role, name):
    with psm.open(name, None if role == "read" else "4MiB") as segment:
        {"write": write, "read": read, "churn": churn}[role](segment)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "read", "churn"):
        sys.exit("usage: hello write|read|churn NAME")
    try:
        main(*sys.argv[1:])
    except (psm.Error, AssertionError) as error:
        sys.exit(f"hello: {error}")
