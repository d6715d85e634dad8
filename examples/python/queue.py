"""Records pass through a ring of addresses; who takes one frees it: see ../README.md.

    queue produce NAME COUNT   make the ring if there is none, and put records
    queue consume NAME COUNT   take and check them, and free the ring

Every change under the lock ends with one store, of head or of tail, so the
death of an owner leaves nothing to repair.
"""

import sys

# This file has the name of a standard module that others import.
sys.path = [folder for folder in sys.path if folder != sys.path[0]]

import struct  # noqa: E402
import time  # noqa: E402

import psm  # noqa: E402

psm.cdef("""
struct ring {
  uint64_t magic, capacity, head, tail;
  uint64_t *slots;
  uint32_t lock, zeros[5];
};
""")
MAGIC = 0x50534D2D51554555
SLOTS = 64
HEAD = struct.Struct("=QQ")  # a record's number and length, then its bytes


def check(what, holds):
    if not holds:
        raise AssertionError(f"wrong: {what}")


def rest():
    time.sleep(0.0005)


def payload(i):
    return bytes((i + k) % 256 for k in range(i % 200))


class Ring:
    """A ring of addresses in a segment."""

    @staticmethod
    def create(segment):
        ring = segment.new("struct ring *")
        ring.magic = MAGIC
        ring.capacity = SLOTS
        ring.slots = segment.new("uint64_t *", SLOTS)
        segment.user = ring  # last: now others find it

    def __init__(self, segment):
        self.segment = segment
        self.ring = segment.cast("struct ring *", segment.user)
        check("magic", self.ring.magic == MAGIC)
        self.lock = segment.lock(psm.ffi.addressof(self.ring[0], "lock"))

    def put(self, record):
        ring = self.ring
        with self.lock:
            if ring.head - ring.tail == ring.capacity:
                return False
            ring.slots[ring.head % ring.capacity] = record.address
            ring.head += 1
            return True

    def take(self):
        ring = self.ring
        with self.lock:
            if ring.head == ring.tail:
                return 0
            record = ring.slots[ring.tail % ring.capacity]
            ring.tail += 1
            return record

    def drained(self):
        return self.segment.user == 0 or self.ring.head == self.ring.tail

    def free(self):
        self.segment.user = 0
        self.segment.free(self.ring.slots)
        self.segment.free(self.ring)


def produce(segment, count):
    total = 0
    if segment.user == 0:
        Ring.create(segment)
    ring = Ring(segment)
    for i in range(count):
        data = payload(i)
        record = segment.alloc(HEAD.size + len(data))
        record[:] = HEAD.pack(i, len(data)) + data
        total += sum(data)
        while not ring.put(record):
            rest()
    while not ring.drained():
        rest()
    print("produced", count, total)


def consume(segment, count):
    total = 0
    while segment.user == 0:
        rest()
    ring = Ring(segment)
    for i in range(count):
        while not (record := ring.take()):
            rest()
        number, length = HEAD.unpack(bytes(segment.view(record, HEAD.size)))
        data = bytes(segment.view(record + HEAD.size, length))
        check("number", number == i)
        check("bytes", data == payload(i))
        total += sum(data)
        segment.free(record)
    ring.free()
    print("consumed", count, total)


def join_when_there(name):
    while True:
        try:
            return psm.open(name)
        except psm.NotFound:
            rest()


def main(role, name, count):
    if role == "produce":
        with psm.open(name, "4MiB") as segment:
            produce(segment, count)
    else:
        with join_when_there(name) as segment:
            consume(segment, count)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("produce", "consume"):
        sys.exit("usage: queue produce|consume NAME COUNT")
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except (psm.Error, AssertionError) as error:
        sys.exit(f"queue: {error}")
