"""Arrow tables in a block, with the real pyarrow."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from typing import Any

import pytest

import psm
from conftest import WATCHDOG, file_of

pa = pytest.importorskip("pyarrow")
import psm.arrow  # noqa: E402  (it needs pyarrow)


def table(rows: int) -> Any:
    return pa.table(
        {
            "number": pa.array(range(rows), pa.int64()),
            "half": [i / 2 for i in range(rows)],
            "word": [None if i % 7 == 0 else f"word {i}" for i in range(rows)],
            "list": [list(range(i % 4)) for i in range(rows)],
            "kind": pa.array(
                ["a", "b", "c"] * (rows // 3) + ["a"] * (rows % 3)
            ).dictionary_encode(),
        }
    )


def addresses(found: Any) -> "list[int]":
    return [
        buffer.address
        for column in found.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None and buffer.size
    ]


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_table_comes_back_without_a_copy(segment: Any, rows: int) -> None:
    written = table(rows)
    block = psm.arrow.write_table(segment, written)
    before = pa.total_allocated_bytes()
    found = psm.arrow.read_table(block)
    assert pa.total_allocated_bytes() == before, "Arrow has copied something"
    assert found.equals(written)
    assert len(addresses(found)) >= (7 if rows > 1 else 0)
    for address in addresses(found):
        assert block.address <= address < block.address + block.nbytes
    if rows:
        with pytest.raises(psm.BlockInUse):
            block.free()
    del found
    gc.collect()
    block.free()


def test_one_process_writes_and_another_reads(name: str) -> None:
    code = """if True:
        import pickle, sys
        import pyarrow as pa
        import pyarrow.compute as pc
        import psm.arrow
        block = pickle.loads(bytes.fromhex(sys.argv[1]))
        before = pa.total_allocated_bytes()
        table = psm.arrow.read_table(block)
        assert pa.total_allocated_bytes() == before
        column = table["number"].chunk(0).buffers()[1]
        assert block.address <= column.address < block.address + block.nbytes
        assert pc.sum(table["number"]).as_py() == sum(range(100_000))
        assert table["word"][99_999].as_py() == "word 99999"
        # The reader answers with a table of its own, in the same segment.
        answer = psm.arrow.write_table(block.segment, table.slice(10, 5))
        block.segment.root = answer
    """
    with psm.open(name, "64MiB") as segment:
        block = psm.arrow.write_table(segment, table(100_000))
        sent = pickle.dumps(block)
        assert len(sent) < 200 and block.nbytes > 1_000_000
        subprocess.run([sys.executable, "-c", code, sent.hex()], check=True, timeout=WATCHDOG)
        block.free()
        assert psm.arrow.read_table(segment.root).equals(table(100).slice(10, 5))
        segment.root.free()
        assert segment.stat().blocks == 0


def test_the_table_outlives_the_segment(name: str) -> None:
    segment = psm.open(name, "1MiB")
    found = psm.arrow.read_table(psm.arrow.write_table(segment, table(100)))
    segment.close()
    assert found.equals(table(100)) and file_of(name).exists()
    del found
    gc.collect()
    assert not file_of(name).exists()


def test_buffers(segment: Any) -> None:
    block = segment.alloc(800)
    buffer = pa.py_buffer(block)
    assert (buffer.address, buffer.size, buffer.is_mutable) == (block.address, 800, True)
    numbers = pa.Array.from_buffers(pa.int64(), 100, [None, buffer])
    memoryview(block).cast("q")[99] = 5
    assert numbers[99].as_py() == 5
    batch = pa.record_batch({"n": pa.array([1, 2, 3])})
    assert psm.arrow.read_table(psm.arrow.write_table(segment, batch)).num_rows == 3


def test_what_cannot_be_done(segment: Any) -> None:
    with pytest.raises(psm.OutOfMemory):
        psm.arrow.write_table(segment, table(300_000))
    with pytest.raises(AttributeError):
        psm.arrow.write_table(segment, [1, 2, 3])
    with pytest.raises((pa.ArrowInvalid, EOFError)):
        psm.arrow.read_table(segment.calloc(1000))
    block = psm.arrow.write_table(segment, table(10))
    block.free()
    with pytest.raises(BufferError):
        psm.arrow.read_table(block)
    gc.collect()
    segment.check()
