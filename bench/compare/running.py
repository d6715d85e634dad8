"""Run the programs, in interleaved rounds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TIMEOUT_S = 180
CANNOT = 77  # the status of a program whose allocator cannot do the workload
SHARED_MEMORY = Path("/dev/shm")


class Cannot(Exception):
    """The allocator cannot do this; the text says why."""


class Failed(Exception):
    """The program is broken; the text says how."""


def clear_away(process):
    """End what is left of a group, and remove its segment."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    (SHARED_MEMORY / f"psm-bench-{process.pid}").unlink(missing_ok=True)


def call(arguments):
    """Run a program in a group of its own, which is gone when this returns, with its memory.

    Returns the object that its last line is. Raises Cannot or Failed.
    """
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
        status = process.returncode
    except subprocess.TimeoutExpired:
        output, errors, status = "", f"no end after {TIMEOUT_S} s", None
    finally:
        clear_away(process)
    reason = errors.strip().splitlines()[-1] if errors.strip() else f"status {status}"
    if status == CANNOT:
        raise Cannot(reason)
    if status != 0 or not output.strip():
        words = " ".join([Path(arguments[0]).name, *arguments[1:]])
        raise Failed(f"{words}: {reason}")
    return json.loads(output.splitlines()[-1])


class Runner:
    """Runs cases and gathers results.

    runs      {case key: {peer name: {round: result}}}
    reasons   {(case key, peer name): why it cannot be measured}
    failures  sentences
    """

    def __init__(self, build, peers, rounds, quick, traces):
        self.build, self.peers, self.rounds, self.quick = build, peers, rounds, quick
        self.traces = traces
        self.runs, self.reasons, self.failures = {}, {}, []
        self.versions = {}

    def run(self, cases):
        """All cases in each round; what disturbs the machine disturbs all."""
        for turn in range(self.rounds):
            began = time.monotonic()
            at = turn % len(self.peers)
            for case in cases:
                if case.rare and turn % 2:
                    continue
                for peer in self.peers[at:] + self.peers[:at]:
                    self.run_one(case, peer, turn)
            seconds = time.monotonic() - began
            print(
                f"round {turn + 1} of {self.rounds}: {seconds:.0f} s", file=sys.stderr, flush=True
            )

    def run_one(self, case, peer, turn):
        if not case.runs(peer) or (peer.slow and turn % 2) or (case.key, peer.name) in self.reasons:
            return
        if case.trace and case.trace not in self.traces:
            return
        program = self.build / "bench" / f"bench_{peer.name}"
        try:
            result = call([str(program), *case.arguments(peer, self.quick, self.traces)])
        except Cannot as problem:
            self.reasons[case.key, peer.name] = str(problem)
            if peer.name == "psm":
                self.fail(f"{case.key}: PSM cannot do it: {problem}")
            return
        except (Failed, OSError) as problem:
            self.reasons[case.key, peer.name] = "failed"
            self.fail(f"round {turn + 1}: {problem}")
            return
        self.versions[peer.name] = result["version"].split("-")[0].replace("_", ".")
        figures = {key: value for key, value in result.items() if not isinstance(value, str)}
        self.runs.setdefault(case.key, {}).setdefault(peer.name, {})[turn] = figures

    def recovery(self):
        """Times after a death: {title: {round: result}}."""
        units = 10**5 if self.quick else 10**6
        members = 200 if self.quick else 1023
        found = {}
        for title, options in (
            (f"{units:,} units, 2 dead members", [f"units={units}", "members=2"]),
            (f"2,048 units, {members:,} dead members", ["units=2048", f"members={members}"]),
        ):
            for turn in range(0, min(self.rounds, 5), 2):
                try:
                    result = call([str(self.build / "bench" / "bench_recovery"), *options])
                    found.setdefault(title, {})[turn] = result
                except (Cannot, Failed, OSError) as problem:
                    self.fail(f"recovery: {problem}")
                    break
        return found

    def fail(self, sentence):
        self.failures.append(sentence)
        print("FAILED", sentence, file=sys.stderr, flush=True)
