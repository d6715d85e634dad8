"""Whatever ends all the processes, one later call of psm leaves no file."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

import psm
from conftest import WATCHDOG, Peer, file_of, in_child, run_python

ENDINGS = {
    "killed": "os.kill(os.getpid(), 9)",
    "os._exit": "os._exit(0)",
    "os.abort": "os.abort()",
    "exception": "raise RuntimeError",
    "interrupt": "raise KeyboardInterrupt",
    "terminated": "os.kill(os.getpid(), 15)",
    "exec": "os.execv('/bin/true', ['true'])",
    "normal end": "",
}


@pytest.mark.parametrize("how", ENDINGS)
def test_after_any_ending_the_next_one_starts_afresh(name: str, how: str) -> None:
    code = (
        "import os, sys, psm; s = psm.open(sys.argv[1], '1MiB'); s.user = 7; s.alloc(9)\n"
        "v = memoryview(s.alloc(9)); a = s.array(100)\n" + ENDINGS[how]
    )
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", code, name], stderr=subprocess.DEVNULL, timeout=WATCHDOG
        )
        with psm.open(name, "2MiB") as segment:
            assert segment.user == 0 and segment.stat().blocks == 0
        assert not file_of(name).exists()


def test_kept_segment_survives_a_kill(name: str) -> None:
    code = (
        "import os, sys, psm; s = psm.open(sys.argv[1], '1MiB', keep=True); b = s.calloc(100)\n"
        "b[:2] = b'hi'; s.root = b; os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, name], timeout=WATCHDOG)
    with psm.open(name, "1MiB") as segment:
        assert segment.root is not None and segment.root[:2] == b"hi"
        assert segment.stat().members == 1
        segment.check()


def test_ctrl_c(name: str) -> None:
    """The signal that a terminal sends, while Python and while C code runs."""
    for work in ("time.sleep(60)", "while True: segment.alloc(100).free()"):
        code = f"""if True:
            import signal, sys, time, psm
            # A shell that runs us in the background has it ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            segment = psm.open(sys.argv[1], "1MiB")
            array = segment.array(100)
            print("ready", flush=True)
            {work}
        """
        process = subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WATCHDOG)
        assert process.returncode == -signal.SIGINT
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert not file_of(name).exists()


def allocate_and_sleep(segment: psm.Segment) -> None:
    segment.array(1000)[:] = 1
    time.sleep(WATCHDOG)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_is_terminated(name: str, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with psm.open(name, "4MiB") as segment:
        with context.Pool(2) as pool:  # leaving it terminates the workers
            pool.map_async(allocate_and_sleep, [segment] * 2)
            while len(segment.members()) < 3 or segment.stat().blocks < 2:
                time.sleep(0.01)
        assert segment.reap() >= 0
        assert [member.pid for member in segment.members()] == [os.getpid()]
        segment.check()
    assert not file_of(name).exists()


def test_executor_is_broken_by_a_kill(name: str) -> None:
    with psm.open(name, "4MiB") as segment:
        context: Any = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            future = pool.submit(allocate_and_sleep, segment)
            while not segment.stat().blocks:
                time.sleep(0.01)
            [worker] = [m.pid for m in segment.members() if m.pid != os.getpid()]
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(concurrent.futures.process.BrokenProcessPool):
                future.result(WATCHDOG)
        assert segment.reap() in (0, 1)
        assert len(segment.members()) == 1
    assert not file_of(name).exists()


def test_all_members_are_killed_at_once(name: str, peers: Callable[[str], Peer]) -> None:
    group = [peers("c"), peers("python"), peers("c")]
    for peer in group:
        peer.ask("open", name, 1 << 20)
    group[0].ask("build", 10)
    for peer in group:
        peer.kill()
    assert file_of(name).exists()
    with psm.open(name, 1 << 20) as segment:
        assert segment.user == 0 and segment.stat().blocks == 0
    assert not file_of(name).exists()


PROGRAM = """
import multiprocessing, sys, psm
def work(array):
    array[:] = 2
    return array
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    with psm.open(sys.argv[1], "8MiB") as segment:
        arrays = [segment.array(1000) for _ in range(4)]
        with multiprocessing.Pool(2) as pool:
            results = pool.map(work, arrays)
            pool.close()
            pool.join()
        assert all(a[999] == 2 for a in arrays)
        assert "multiprocessing.shared_memory" not in sys.modules
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_no_word_from_the_resource_tracker(name: str, method: str, tmp_path: Path) -> None:
    """It also finds any other warning: of threads, of unclosed files, of leaks."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "default", str(script), name, method],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert not file_of(name).exists()


def test_sweep(tmp_path: Path) -> None:
    """The dead's files go; files in use, kept files and files of others stay."""
    dead, used, kept = (str(tmp_path / word) for word in ("dead", "used", "kept"))
    other = tmp_path / "other"
    other.write_bytes(b"precious" * 10_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(other)
    code = (
        "import os, sys, psm; s = psm.open(sys.argv[1], '1MiB', keep=len(sys.argv) > 2)\n"
        "s.root = s.calloc(10); os._exit(0)"
    )
    run_python(code, dead)
    run_python(code, kept, "keep")
    with psm.open(used, "1MiB") as segment:
        assert psm.sweep(tmp_path) == [dead]
        assert segment.stat().members == 1
        assert {path.name for path in tmp_path.iterdir()} == {
            "used",
            "kept",
            "other",
            "folder",
            "link",
        }
        assert psm.sweep(str(tmp_path)) == []
    assert other.read_bytes() == b"precious" * 10_000
    with psm.open(kept, create=False) as again:
        assert again.root is not None
    with pytest.raises(OSError):
        psm.sweep(tmp_path / "nowhere")


def test_sweep_in_the_shared_memory_directory() -> None:
    """In one of its own, so that nothing of others is swept."""
    code = """if True:
        import os, psm
        for name in ("shm:one", "shm:two"):
            if os.fork() == 0:
                segment = psm.open(name, "1MiB")
                os._exit(0)
            os.wait()
        assert sorted(os.listdir("/dev/shm")) == ["one", "two"]
        assert psm.sweep() == ["/dev/shm/one", "/dev/shm/two"]
        assert os.listdir("/dev/shm") == []
    """
    private = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh"]
    try:
        subprocess.run([*private, "true"], check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a mount of one's own needs root and unshare")
    subprocess.run([*private, sys.executable, "-c", code], check=True, timeout=WATCHDOG)


def test_sweep_while_others_come_and_go(tmp_path: Path) -> None:
    """A sweeper may join as others leave: nobody is hurt, and nothing is left."""
    name = tmp_path / "busy"

    def come_and_go() -> None:
        for _ in range(300):
            with psm.open(name, "1MiB") as segment:
                segment.alloc(10).free()

    child = os.fork()
    if child == 0:
        os._exit(in_child(come_and_go))
    while True:
        psm.sweep(tmp_path)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
    assert status == 0
    assert not name.exists()
