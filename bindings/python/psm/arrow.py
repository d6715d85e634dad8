"""Arrow tables in a block, which other processes read where they are.

Only this module needs pyarrow. To share single buffers it takes none of this:
`pyarrow.py_buffer(block)` does not copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

if TYPE_CHECKING:
    from .block import Block
    from .segment import Segment


def write_table(segment: Segment, table: Any) -> Block:
    """Write a table into a new block, in Arrow's IPC stream format.

    Args:
        segment: where to allocate.
        table: a pyarrow.Table or RecordBatch.

    Returns:
        The Block, exactly as long as the stream.

    Raises:
        As `Segment.alloc`; pyarrow.ArrowInvalid if the table cannot be written.
    """
    counter = pa.MockOutputStream()
    _write(counter, table)
    block = segment.aligned(64, counter.size())
    try:
        with pa.FixedSizeBufferWriter(pa.py_buffer(block)) as stream:
            _write(stream, table)
    except BaseException:
        block.free_later()
        raise
    return block


def read_table(block: Block) -> Any:
    """The table in a block, without copying it.

    Args:
        block: from `write_table`, perhaps in another process.

    Returns:
        A pyarrow.Table, whose columns are views of the block.

    Raises:
        pyarrow.ArrowInvalid: the block does not hold a table.
        BufferError: the block is freed or the segment closed.
    """
    with pa.ipc.open_stream(pa.py_buffer(block)) as stream:
        return stream.read_all()


def _write(stream: Any, table: Any) -> None:
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write(table)
