"""A producer and a consumer that pass a few buffers back and forth.

usage: reused_buffers.py [FRAMES]

The producer fills a free buffer and sends it; the consumer reads it and sends
it back. Nothing is allocated after the start, and nothing is copied: what goes
through the queues are references. The empty queue is what holds a producer
back that is faster than its consumer.
"""

import multiprocessing
import os
import sys

import numpy as np

import psm

BUFFERS = 4
SHAPE = (480, 640, 3)  # a picture, as a camera gives it


def produce(frames, empty, full):
    for number in range(frames):
        picture = empty.get()
        picture[:] = number % 256
        full.put((number, picture))
    full.put(None)


def consume(frames, empty, full):
    seen = set()
    for expected in range(frames):
        number, picture = full.get()
        assert number == expected
        assert picture.min() == picture.max() == number % 256
        seen.add(picture.address)
        empty.put(picture)
    assert full.get() is None
    return seen


def main(frames="200"):
    frames = int(frames)
    with psm.open(f"shm:reused-buffers-{os.getpid()}", "16MiB") as segment:
        empty, full = multiprocessing.Queue(), multiprocessing.Queue()
        for _ in range(BUFFERS):
            empty.put(segment.array(SHAPE, np.uint8))
        producer = multiprocessing.Process(target=produce, args=(frames, empty, full))
        producer.start()
        seen = consume(frames, empty, full)
        producer.join()

        for _ in range(BUFFERS):
            empty.get().free()
        assert segment.stat().blocks == 0
        print(f"{frames} pictures of {np.prod(SHAPE)} bytes went through {len(seen)} buffers")


if __name__ == "__main__":
    main(*sys.argv[1:])
