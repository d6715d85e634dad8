"""The Python side of the cross-language tests: peer.c once more, in Python.

Commands and answers are those of peer.c. The tests also import it and call the
functions directly.
"""

from __future__ import annotations

import sys
from typing import Any, List

import psm

BUCKETS = 64
SLOTS = 64
HEAD = 16
PERIOD = bytes(31 * i & 255 for i in range(256))

psm.cdef(
    """
    struct word { struct word *next; char *text; uint64_t count; };
    struct table {
      uint32_t lock;
      uint32_t words;
      struct word *bucket[64];
      unsigned char *slot[64];
    };
    struct parcel { uint64_t size; uint64_t seed; };
    """
)
ffi = psm.ffi


def root(segment: psm.Segment) -> Any:
    return segment.cast("struct table *", segment.user)


def build(segment: psm.Segment, count: int) -> List[int]:
    table = segment.new("struct table *")
    for i in range(count):
        text = b"w%d\0" % i
        word = segment.new("struct word *")
        word.text = segment.new("char *", len(text))
        ffi.memmove(word.text, text, len(text))
        word.count = i
        word.next = table.bucket[i % BUCKETS]
        table.bucket[i % BUCKETS] = word
        table.words += 1
    segment.user = table
    return [int(ffi.cast("uintptr_t", table))]


def walk(segment: psm.Segment) -> List[int]:
    words = total = letters = 0
    for word in root(segment).bucket:
        while word:
            words += 1
            total += word.count
            letters += sum(ffi.string(word.text))
            word = word.next
    return [words, total, letters]


def change(segment: psm.Segment) -> List[int]:
    changed = 0
    table = root(segment)
    for i in range(BUCKETS):
        before: Any = None
        word, k = table.bucket[i], 0
        while word:
            if k % 2 == 1:
                new = segment.cast("struct word *", segment.alloc(ffi.sizeof("struct word")))
                new[0] = word[0]
                new.count *= 2
                before.next = new
                segment.free(word)
                word = new
                changed += 1
            before, word, k = word, word.next, k + 1
    return [changed]


def clear(segment: psm.Segment) -> List[int]:
    freed = 0
    table = root(segment)
    for word in table.bucket:
        while word:
            following = word.next
            segment.free(word.text)
            segment.free(word)
            word = following
            freed += 1
    segment.free(table)
    segment.user = 0
    return [freed]


def contents(size: int, seed: int) -> bytes:
    """The bytes of a parcel behind its header."""
    turned = bytes((seed + byte) & 255 for byte in PERIOD)
    return (turned * (size // 256 + 1))[HEAD:size]


def pack(segment: psm.Segment, size: int, seed: int) -> Any:
    block = segment.alloc(size)
    head = segment.cast("struct parcel *", block)
    head.size, head.seed = size, seed
    block[HEAD:] = contents(size, seed)
    return ffi.cast("unsigned char *", block.address)


def unpack(segment: psm.Segment, parcel: Any) -> None:
    head = segment.cast("struct parcel *", parcel)
    size, seed = head.size, head.seed
    block = segment.block_at(parcel, size)
    if block[HEAD:] != contents(size, seed):
        raise AssertionError(f"the parcel of {size} bytes at {block.address:#x} is wrong")
    block.free()


def load(segment: psm.Segment, rounds: int, state: int) -> List[int]:
    table = root(segment)
    lock = segment.lock(ffi.addressof(table, "lock"))
    opened = died = 0

    def rand() -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return state >> 33

    for _ in range(rounds):
        parcel = pack(segment, HEAD + rand() % 3000, rand())
        i = rand() % SLOTS
        with lock as owner_died:
            died += owner_died
            found = table.slot[i]
            table.slot[i] = parcel
        if found:
            unpack(segment, found)
            opened += 1
    return [opened, died]


def empty(segment: psm.Segment) -> List[int]:
    opened = 0
    table = root(segment)
    for i in range(SLOTS):
        if table.slot[i]:
            unpack(segment, table.slot[i])
            table.slot[i] = ffi.NULL
            opened += 1
    return [opened]


def perform(segment: psm.Segment, command: str, *arguments: int) -> List[int]:
    if command == "lock":
        return [int(segment.lock(root(segment)).acquire())]
    if command == "unlock":
        segment.lock(root(segment)).release()
        return [0]
    if command == "offset":
        return [segment.offset(arguments[0])]
    if command == "free":
        segment.free(arguments[0])
        return []
    if command == "check":
        segment.check()
        return [0]
    if command == "close":
        segment.close()
        return []
    result: List[int] = globals()[command](segment, *arguments)
    return result


def main() -> None:
    segment: Any = None
    for line in sys.stdin:
        command, *words = line.split()
        try:
            if command == "open":
                segment = psm.open(words[0], int(words[1]))
                result = [segment.address]
            else:
                result = perform(segment, command, *(int(word, 0) for word in words))
        except Exception as error:
            print("error", getattr(error, "code", 1), error, flush=True)
            raise
        print("ok", *result, flush=True)


if __name__ == "__main__":
    main()
