"""Map a function over a large array by several processes, without copying it.

usage: parallel_map.py [MEBIBYTES]

Each worker gets a slice in about a hundred bytes, reads it where it lies, and
writes its part of the result where it belongs.
"""

import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import psm

WORKERS = 2


def smooth(source, target):
    """A running mean of three, and how much it has changed."""
    target[1:-1] = (source[:-2] + source[1:-1] + source[2:]) / 3
    target[0], target[-1] = source[0], source[-1]
    return float(np.abs(target - source).sum())


def main(mebibytes="64"):
    items = int(mebibytes) * (1 << 20) // 8
    # Room for both arrays, and for what the segment needs itself.
    with psm.open(f"shm:parallel-map-{os.getpid()}", 16 * items + (16 << 20)) as segment:
        source = segment.array(items)
        target = segment.empty_like(source)
        source[:] = np.random.default_rng(0).random(items)

        parts = [slice(i, i + items // 16) for i in range(0, items, items // 16)]
        with ProcessPoolExecutor(WORKERS) as pool:
            changes = list(pool.map(smooth, [source[p] for p in parts], [target[p] for p in parts]))

        assert np.isclose(sum(changes), np.abs(target - source).sum())
        sent = len(pickle.dumps(source[parts[0]]))
        print(f"{len(parts)} parts of {source[parts[0]].nbytes} bytes, each sent in {sent} bytes")
        source.free()
        target.free()


if __name__ == "__main__":
    main(*sys.argv[1:])
