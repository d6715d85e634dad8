#!/usr/bin/env python3
"""Processes of different platforms meet at one segment: the example programs, as
each preset has built them.

Where word size and byte order are the same, they share it, and one that is killed
holds nobody up. Where they are not, who comes second is refused with a sentence
that says what it found, and the segment goes on.

usage: run.py [PRESET...]     the presets to meet those of this machine, which is `dev`
"""
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(__file__).resolve().parent.parent.parent / "build"
NATIVE = "dev"
KINDS = {  # what a refusal calls them
    NATIVE: f"{64 if sys.maxsize > 2**32 else 32}-bit {sys.byteorder}-endian",
    "i686": "32-bit little-endian",
    "musl": "64-bit little-endian",
    "musl-shared": "64-bit little-endian",
    "arm64": "64-bit little-endian",
    "riscv64": "64-bit little-endian",
    "s390x": "64-bit big-endian",
}
SECONDS = 120  # a watchdog
RECORDS = 2000


class Failed(Exception):
    """What was not as it must be."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


# ---- Programs ----

def program(preset, name):
    """The words that start an example program of a preset."""
    emulator = re.search(r"^PSM_QEMU:\w+=(.+)$", (BUILD / preset / "CMakeCache.txt").read_text(),
                         re.MULTILINE)
    words = [str(BUILD / preset / "examples" / "c" / name)]
    if emulator:
        cpu = re.search(r"qemu-(\w+?)(?:-static)?$", emulator[1])[1]
        words = [emulator[1], "-L", f"/usr/{cpu}-linux-gnu", *words]
    return words


class Peer:
    """A running example program; it ends when its input does."""

    def __init__(self, preset, name, *arguments):
        self.preset = preset
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*program(preset, name), *map(str, arguments)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def line(self, word):
        """The rest of the next line, which begins with this word."""
        line = self.process.stdout.readline()
        expect(line.startswith(word), f"{self.preset} says '{line.strip()}': {self.complaint()}")
        return line[len(word):].strip()

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().strip()

    def end(self):
        """Exit status and what it has complained of."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(SECONDS)
        return status, self.complaint()

    def finish(self):
        status, complaint = self.end()
        expect(status == 0, f"{self.preset} ends with {status}: {complaint}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)


@contextlib.contextmanager
def scene(name):
    """Peers by their arguments; none is left behind, and no file."""
    peers = []

    def start(preset, example, role, *more):
        peers.append(Peer(preset, example, role, name, *more))
        return peers[-1]
    try:
        yield start
    finally:
        for peer in peers:
            if peer.process.poll() is None:
                peer.kill()
            peer.process.stdin.close()
            peer.process.stdout.close()
            peer.errors.close()
        path = shared(name)
        existed = path.exists()
        path.unlink(missing_ok=True)
    expect(not existed, "the last one has not removed the file")


def shared(name):
    return pathlib.Path("/dev/shm") / name.removeprefix("shm:")


# ---- This process as a member, to look inside ----

class Observer:
    def __init__(self, name):
        self.library = ctypes.CDLL(str(BUILD / NATIVE / "libpsm.so"))
        self.handle = ctypes.c_void_p()
        self.library.PSMerrorString.restype = ctypes.c_char_p
        self.library.PSMinit(name.encode(), ctypes.c_size_t(4 << 20), None,
                             ctypes.byref(self.handle))
        expect(self.handle.value, self.library.PSMerrorString(self.library.PSMlastError()))

    def call(self, function, *arguments):
        return getattr(self.library, function)(self.handle, *arguments)


# ---- Stories ----

def refuses(name, first, second):
    """`second` cannot open what `first` shares, in either way, and harms nothing."""
    with scene(name) as start:
        holder = start(first, "hello", "write")
        holder.line("wrote ")
        before = shared(name).read_bytes()
        for example, *role in [("hello", "read"), ("queue", "consume", "1")]:
            status, complaint = start(second, example, *role).end()
            expect(status != 0, f"{second} opens a segment of {first}")
            expect(f"is shared by {KINDS[first]} processes" in complaint and
                   f"this one is {KINDS[second]}" in complaint, f"{second} says: {complaint}")
        expect(shared(name).read_bytes() == before, "the segment was changed")
        reader = start(first, "hello", "read")
        reader.line("read ")
        reader.finish()
        holder.finish()


def hands_over(name, first, second):
    """A record with a pointer to itself, and then a queue."""
    with scene(name) as start:
        writer = start(first, "hello", "write")
        where = writer.line("wrote ")
        reader = start(second, "hello", "read")
        expect(reader.line("read ") == f"{where} hello from c", "another record was read")
        reader.finish()
        writer.finish()
    with scene(name) as start:
        consumer = start(second, "queue", "consume", RECORDS)
        producer = start(first, "queue", "produce", RECORDS)
        produced, consumed = producer.line("produced "), consumer.line("consumed ")
        expect(produced == consumed, f"{produced} is not {consumed}")
        producer.finish()
        consumer.finish()


def await_turns(peers):
    for peer in peers:
        for _ in range(3):
            peer.line("turn ")


def survives(name, first, second):
    """Two of each allocate; one of each is killed, and the others go on."""
    with scene(name) as start:
        peers = [start(first, "hello", "churn")]
        await_turns(peers)  # it has created the segment
        peers += [start(preset, "hello", "churn") for preset in (second, first, second)]
        await_turns(peers)
        observer = Observer(name)
        for victim in peers[:2]:
            victim.kill()
            peers.remove(victim)
            await_turns(peers)
            # A dead process's open files may outlive it for a moment.
            deadline = time.monotonic() + SECONDS
            while observer.call("PSMmembers", None, 0) != 1 + len(peers):
                expect(time.monotonic() < deadline, "a dead one still counts as a member")
                observer.call("PSMreap")
            expect(observer.call("PSMcheck") == 0, "the metadata is not sound")
        for peer in peers:
            peer.process.stdin.close()
            peer.process.stdout.read()  # it must not wait for us
            peer.finish()
        expect(observer.call("PSMcheck") == 0, "the metadata is not sound")
        expect(observer.call("PSMgetError") == 0, "an error was noted")
        observer.call("PSMdeinit")


STORIES = {
    True: [(hands_over, "{} hands records over to {}"),
           (survives, "{} and {} survive deaths in the segment of the first")],
    False: [(refuses, "a segment of {} is refused by {}")],
}


def main(presets):
    unknown = [preset for preset in presets if preset not in KINDS]
    if unknown:
        print(f"no such preset: {', '.join(unknown)}; there are {', '.join(KINDS)}")
        return 2
    passed = failed = skipped = 0
    for preset in presets or [preset for preset in KINDS if preset != NATIVE]:
        missing = [p for p in (NATIVE, preset)
                   if not (BUILD / p / "examples" / "c" / "hello").exists()]
        if missing:
            print(f"skipped: {preset} meets {NATIVE}: {missing[0]} is not built")
            skipped += 1
            continue
        for first, second in ((preset, NATIVE), (NATIVE, preset)):
            for number, (story, words) in enumerate(STORIES[KINDS[preset] == KINDS[NATIVE]]):
                name = f"shm:psm-platforms-{os.getpid()}-{preset}-{first == NATIVE}-{number}"
                try:
                    story(name, first, second)
                except (Failed, OSError, subprocess.TimeoutExpired) as error:
                    print(f"FAIL {words.format(first, second)}: {error}", flush=True)
                    failed += 1
                else:
                    print(f"ok   {words.format(first, second)}", flush=True)
                    passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
