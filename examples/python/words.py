"""Several processes index words into one table: see ../c/words.h for the table.

Each prints one JSON object per line. `create` and `join` announce themselves
with "ready", begin at a line (or the end) of their standard input, and say
"done"; so a script can let several begin at once.

The twin of ../c/words.c: the same roles, the same functions, the same structs.
"""

import json
import os
import re
import sys
import time
from functools import cache
from pathlib import Path

import psm

USAGE = """\
usage: words.py create NAME SIZE FILE   create a segment of SIZE MiB and index FILE into it
       words.py join NAME FILE          index FILE into a segment that exists
       words.py watch NAME ROW          say when that process is half-way
       words.py check NAME [INDEX]      check the table, and write it to the file INDEX"""

HEADER = Path(__file__).resolve().parents[1] / "c" / "words.h"
psm.cdef(HEADER.read_text().split("/* [begin: read by words.py] */")[1].split("/* [end")[0])
ffi = psm.ffi

# The constants and types of words.h.
_c = ffi.dlopen(None)
BUCKETS, ROWS, PLACES = _c.WORDS_BUCKETS, _c.WORDS_ROWS, _c.WORDS_PLACES
WORD, LIST, PLACE = (ffi.typeof(f"struct {name} *") for name in ("word", "list", "place"))
WORD_BYTES = ffi.offsetof("struct word", "text")
LIST_BYTES = ffi.offsetof("struct list", "places")
PLACE_BYTES = ffi.sizeof("struct place")
NULL = ffi.NULL


def die(what, why):
    print(f"words.py: {what}: {why}", file=sys.stderr)
    sys.exit(1)


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


@cache
def hash_of(text):
    """FNV-1a"""
    value = 2166136261
    for byte in text:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def list_bytes(capacity):
    return LIST_BYTES + capacity * PLACE_BYTES


def text_of(word):
    return ffi.buffer(word.text, word.length)[:]


class Job:
    """This process's use of the table."""

    def __init__(self, segment, table):
        self.segment = segment
        self.table = table
        self.journal = table.journal
        self.row = 0
        self.mutex = segment.lock(ffi.addressof(table[0], "lock"))
        self.fresh_word = ffi.addressof(self.journal, "fresh_word")
        self.fresh_list = ffi.addressof(self.journal, "fresh_list")
        self.stale = ffi.addressof(self.journal, "stale")

    # ---- Changing the table ---------------------------------------------------

    def finish(self):
        """Do what the journal says. Doing it again changes nothing."""
        j = self.journal
        j.bucket[0] = j.first
        j.word.list = j.list
        j.word.count = j.count
        self.table.rows[j.row].counts = j.counts
        j.fresh_word = NULL
        j.fresh_list = NULL
        if j.stale:
            self.segment.free_from(self.stale)
        j.committed = 0

    def commit(self):
        self.journal.committed = 1
        self.finish()

    def settle(self):
        """Finish a change that was left half-way, or undo it; says which."""
        j = self.journal
        if j.committed:
            self.finish()
            done = "finished"
        elif j.fresh_word or j.fresh_list:
            self.segment.free_from(self.fresh_word)
            self.segment.free_from(self.fresh_list)
            done = "undone"
        else:
            done = "intact"
        j.stale = NULL
        return done

    def __enter__(self):
        """Lock the table, and repair it after the death of the lock's owner."""
        if self.mutex.acquire():
            done = self.settle()
            setattr(self.table, done, getattr(self.table, done) + 1)
            self.table.repairer = os.getpid()

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.settle()
        self.mutex.release()

    def allocate(self, nbytes, where):
        self.segment.alloc_to(where, nbytes)
        self.journal.counts.blocks += 1
        self.journal.counts.bytes += nbytes
        return where[0]

    def new_word(self, following, value, text):
        """Prepare a word without a list, in front of the others in its bucket."""
        word = ffi.cast(WORD, self.allocate(WORD_BYTES + len(text), self.fresh_word))
        word.next = following
        word.list = NULL
        word.count = 0
        word.hash = value
        word.length = len(text)
        ffi.memmove(word.text, text, len(text))
        self.journal.counts.distinct += 1
        return word

    def larger_list(self, old):
        """Prepare a larger list with the places of `old`, which becomes stale."""
        j = self.journal
        capacity = 2 * old.capacity if old else PLACES
        new = ffi.cast(LIST, self.allocate(list_bytes(capacity), self.fresh_list))
        new.capacity = capacity
        new.row = self.row
        if old:
            ffi.memmove(new.places, old.places, old.capacity * PLACE_BYTES)
            j.counts.freed_blocks += 1
            j.counts.freed_bytes += list_bytes(old.capacity)
            j.counts.foreign += old.row != self.row
        j.stale = old
        return new

    def prepare(self, text, number):
        value = hash_of(text)
        j = self.journal
        j.row = self.row
        j.counts = self.table.rows[self.row].counts
        j.bucket = self.table.buckets + value % BUCKETS
        first = word = j.bucket[0]
        while word and not (word.hash == value and text_of(word) == text):
            word = word.next
        if not word:
            word = first = self.new_word(first, value, text)
        places, count = word.list, word.count
        if not places or count == places.capacity:
            places = self.larger_list(places)
        place = places.places[count]  # beyond the list's end as yet
        place.row = self.row
        place.number = number
        j.first = first
        j.word = word
        j.list = places
        j.count = count + 1
        j.counts.words += 1

    def add(self, text, number):
        with self:
            self.prepare(text, number)
            self.commit()

    # ---- Roles ------------------------------------------------------------------

    def take_row(self, total):
        with self:
            self.row = self.table.rows_used
            if self.row == ROWS:
                die("cannot join", "the table has no row left for this process")
            row = self.table.rows[self.row]
            row.pid = os.getpid()
            row.total = total
            row.language = b"Python"
            self.table.rows_used += 1

    def index_file(self, path):
        try:
            words = re.findall(rb"[a-z]+", Path(path).read_bytes().lower())
        except OSError as error:
            die(path, error.strerror)
        self.take_row(len(words))
        row = self.table.rows[self.row]
        base, table = hex(self.segment.address), hex(int(ffi.cast("uintptr_t", self.table)))
        say("ready", row=self.row, pid=row.pid, segment=base, table=table)
        sys.stdin.readline()

        row.begun = time.monotonic_ns()
        for number, word in enumerate(words):
            self.add(word, number)
        row.ended = time.monotonic_ns()
        say("done", row=self.row)

    def clear(self):
        """Free the whole table, whoever allocated its parts."""
        blocks = 1
        with self:
            for bucket in range(BUCKETS):
                while word := self.table.buckets[bucket]:
                    self.table.buckets[bucket] = word.next
                    self.segment.free(word.list)
                    self.segment.free(word)
                    blocks += 2
            self.segment.user = 0
        self.segment.free(self.table)
        return blocks

    def wait_until_alone(self):
        while len(self.segment.members()) > 1:
            self.segment.reap()
            time.sleep(0.0002)


def join(name):
    segment = psm.open(name, create=False)
    if not segment.user:
        die(name, "there is no table of words in this segment")
    return Job(segment, segment.cast("struct table *", segment.user))


def create(name, mebibytes):
    segment = psm.open(name, int(mebibytes) << 20, exclusive=True)
    table = segment.new("struct table *")
    table.rows[0].counts.blocks = 1
    table.rows[0].counts.bytes = ffi.sizeof("struct table")
    segment.user = table  # complete: others may see it
    return Job(segment, table)


def is_sound(segment):
    try:
        segment.check()
    except psm.Corrupt as error:
        return error.code
    return 0


def play_create(name, mebibytes, path):
    job = create(name, mebibytes)
    job.index_file(path)

    sys.stdin.readline()
    members = len(job.segment.members())
    say("reaped", members=members, reaped=job.segment.reap())

    sys.stdin.readline()
    job.wait_until_alone()
    freed = job.clear()
    say("cleared", freed=freed, left=job.segment.stat().blocks, check=is_sound(job.segment))
    job.segment.close()


def play_join(name, path):
    job = join(name)
    job.index_file(path)
    job.segment.close()


def play_watch(name, row):
    job = join(name)
    if int(row) >= job.table.rows_used:
        die("cannot watch", "the table has no such row")
    watched = job.table.rows[int(row)]
    while True:
        with job:
            words, total = watched.counts.words, watched.total
        if 2 * words >= total:
            break
        time.sleep(0.0002)
    say("half", words=words)
    job.segment.close()


# ---- Checking -------------------------------------------------------------------


def tally(table, bucket, word, words, distinct):
    """The places of one word, added to the counts; None if it is not as it should be."""
    if (
        hash_of(text_of(word)) != word.hash
        or word.hash % BUCKETS != bucket
        or not word.list
        or not 0 < word.count <= word.list.capacity
    ):
        return None
    flat = memoryview(ffi.buffer(word.list.places, word.count * PLACE_BYTES)).cast("I").tolist()
    rows, numbers = flat[::2], flat[1::2]
    if max(rows) >= table.rows_used:
        return None
    for row in set(rows):
        words[row] += rows.count(row)
    distinct[rows[0]] += 1
    return zip(rows, numbers)


def play_check(name, path=None):
    job = join(name)
    table = job.table
    words, distinct = [0] * ROWS, [0] * ROWS
    blocks, nbytes, broken = 1, ffi.sizeof("struct table"), 0
    index = []

    with job:
        for bucket in range(BUCKETS):
            word = table.buckets[bucket]
            while word:
                places = tally(table, bucket, word, words, distinct)
                if places is None:
                    broken += 1
                    break  # its pointers are not to be followed
                blocks += 2
                nbytes += WORD_BYTES + word.length + list_bytes(word.list.capacity)
                if path:
                    text = text_of(word).decode("ascii")
                    index.append(text + "".join(f" {r}:{n}" for r, n in places) + "\n")
                word = word.next
        rows = []
        for i in range(table.rows_used):
            row = table.rows[i]
            broken += (words[i], distinct[i]) != (row.counts.words, row.counts.distinct)
            numbers = {key: getattr(row, key) for key in ("pid", "total", "begun", "ended")}
            counts = {
                key: getattr(row.counts, key) for key, _ in ffi.typeof("struct counts").fields
            }
            rows.append({**numbers, "language": ffi.string(row.language).decode(), **counts})
        deaths = {key: getattr(table, key) for key in ("finished", "undone", "intact", "repairer")}

    stat = job.segment.stat()
    if path:
        Path(path).write_bytes("".join(index).encode("ascii"))
    say(
        "checked",
        rows=rows,
        **deaths,
        broken=broken,
        table_blocks=blocks,
        table_bytes=nbytes,
        blocks=stat.blocks,
        used=stat.used,
        members=stat.members,
        check=is_sound(job.segment),
    )
    job.segment.close()


PLAY = {
    "create": (play_create, (3,)),
    "join": (play_join, (2,)),
    "watch": (play_watch, (2,)),
    "check": (play_check, (1, 2)),
}


def main(role="", *arguments):
    play, counts = PLAY.get(role, (None, ()))
    if len(arguments) not in counts:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        play(*arguments)
    except (psm.Error, ValueError) as error:
        die(arguments[0], error)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
