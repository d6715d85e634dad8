#!/usr/bin/env python3
"""Kill members under wine: one by TerminateProcess, one by a SIGKILL from outside.

usage: run.py WINE-SCRIPT LOADER BUILD OUTSIDER.EXE [ROUNDS]

Several processes share a segment at one address and allocate. In each round a
member ends another by TerminateProcess, and this script, which knows the pid
that Linux has for it, kills a third: no code of Windows runs for that. The
others go on, both deaths are told, and PSMcheck finds every invariant kept.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

SECONDS = 60  # a watchdog
WORKERS = 4


class Member:
    def __init__(self, loader, environment, program, role, name):
        self.process = subprocess.Popen([loader, program, role, name], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.base, self.pid, self.number = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a member ended with {self.process.wait(SECONDS)}")
        return [int(word) for word in line.split()]

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()


def check(holds, what):
    if not holds:
        raise SystemExit(f"not so: {what}")


def goes_on(referee, worker):
    """A worker does more than it had done."""
    before = referee.ask(f"done {worker.number}")[0]
    end = time.monotonic() + SECONDS
    while referee.ask(f"done {worker.number}")[0] <= before:
        check(time.monotonic() < end, "a worker goes on")


def deaths_told(referee, count, alive):
    told, end = 0, time.monotonic() + SECONDS
    while told < count:
        deaths, _, sound, error = referee.ask("state")
        check(deaths >= 0 and sound == 0 and error == 0, "PSMcheck finds all well")
        told += deaths
        check(time.monotonic() < end, "both deaths are told")
    deaths, members, sound, error = referee.ask("state")
    check((deaths, members, sound, error) == (0, alive, 0, 0), f"{alive} are alive and all is well")


def main(script, loader, build, program, rounds="10"):
    prefix = subprocess.run([script, loader, build, "--prefix"], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    environment = dict(os.environ, WINEPREFIX=prefix, WINEDEBUG="-all",
                       WINEDLLOVERRIDES="mscoree,mshtml=")
    name = f"shm:psm-test-outside-{os.getpid()}"

    def member(role):
        return Member(loader, environment, program, role, name)

    members = [member("referee")]
    referee = members[0]
    try:
        workers = [member("worker") for _ in range(WORKERS)]
        members += workers
        check(len({m.base for m in members}) == 1, "all have the segment at one address")
        for _ in range(int(rounds)):
            for worker in workers:
                goes_on(referee, worker)
            ended, killed = workers.pop(0), workers.pop(0)
            check(referee.ask(f"end {ended.pid}") == [1], "TerminateProcess succeeds")
            os.kill(killed.process.pid, signal.SIGKILL)
            for dead in ended, killed:
                dead.process.wait(SECONDS)
            deaths_told(referee, 2, 1 + len(workers))
            for worker in workers:
                goes_on(referee, worker)
            fresh = [member("worker"), member("worker")]
            members += fresh
            workers += fresh
            check({m.base for m in fresh} == {referee.base}, "newcomers have it there as well")
        referee.ask("stop")
        for worker in workers:
            check(worker.process.wait(SECONDS) == 0, "the others leave in peace")
        left = referee.ask("empty")[0]
        check(left <= 2 * int(rounds), f"each death loses one block at most, and {left} are lost")
        referee.process.communicate("leave\n", timeout=SECONDS)
        check(referee.process.returncode == 0, "the last one leaves in peace")
        file = name.removeprefix("shm:")
        check(not list(pathlib.Path(prefix).glob(f"drive_c/users/**/psm/{file}*")),
              "the last one has removed the file")
    finally:
        for other in members:
            if other.process.poll() is None:
                other.process.kill()
    print(f"{rounds} rounds: {2 * int(rounds)} killed, {left} blocks lost")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
