#!/usr/bin/env python3
"""Check the models exhaustively, and that the checker notices what is wrong.

usage: run.py [--keep DIRECTORY] [WORD...]     the checks whose names contain all words
       run.py --trail WORD...                  a short counterexample of the first of them

A check passes if every state was visited and none is wrong. A mutant, a model
with one thing wrong, passes if an error was found. At the end every statement
must have been reached in some check that is no mutant.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CC = os.environ.get("CC", "gcc")
BUILD = ["-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=6000"]  # megabytes
SEARCH = ["-m2000000", "-w23"]  # far deeper than any of them; hash table of 2^23 slots
SECONDS = 540  # a watchdog
NOT_ALL = ["Search not completed", "max search depth too small", "out of memory", "memory limit",
           "MEMLIM", "hash table full", "Bit statespace", "aborting"]

GROUP = "group.pml"
KEPT = "kept.pml"
SPAN = "span.pml"
WEAK = "weak.pml"
KEEPER_OF_THREE = "WORKERS=3 BLOCKS=1 ONE_MORTAL DEATHS=1"
LOCK_ALONE = "LOCK_ONLY MEMBERS=3 UNITS=3 DEATHS=2"

CHECKS = [
    ("group", GROUP, "DEATHS=3"),
    ("group with two reapers at once", GROUP, "DEATHS=2 REAPERS=2"),
    ("group with PSMallocTo and PSMfreeFrom", GROUP, "PUBLISH DEATHS=3"),
    ("group whose slab is cut anew for another class", GROUP, "CLASSES=2 DEATHS=2"),
    ("group beside another of its slab", GROUP, "GROUPS=2 BLOCKS=1 DEATHS=2"),
    ("group with a look for blocks freed twice", GROUP, "LOOK GROUPS=2 BLOCKS=1 DEATHS=1"),
    ("kept", KEPT, "DEATHS=2"),
    ("kept in two groups", KEPT, "GROUPS=2 BLOCKS=1 DEATHS=1"),
    ("kept by one who dies beside two who go on", KEPT, KEEPER_OF_THREE),
    ("kept with PSMallocTo and PSMfreeFrom", KEPT, "BLOCKS=1 PUBLISH DEATHS=3"),
    ("kept in a slab that is given back", KEPT, "BLOCKS=1 CUT DEATHS=3"),
    ("lock with three members", SPAN, LOCK_ALONE),
    ("span", SPAN, "PLAIN_LOCK DEATHS=2"),
    ("span with PSMallocTo and PSMfreeFrom", SPAN, "PLAIN_LOCK UNITS=3 PUBLISH DEATHS=2"),
    ("span with all of the lock", SPAN, "UNITS=3 DEATHS=1"),
    ("weak memory", WEAK, ""),
    ("weak memory, a death that another has seen", WEAK, "TENURE"),
]

MUTANTS = [
    ("group without the reaper's lock", GROUP, "NO_REAPER_LOCK REAPERS=2"),
    ("group released before its bits are given back", GROUP, "RELEASE_FIRST"),
    ("group claimed before the slot names it", GROUP, "NAME_AFTER"),
    ("group whose bits are cleared before they are in the slot", GROUP, "CLEAR_FIRST"),
    ("group cut without marks", GROUP, "NO_MARK_AT_CUT"),
    ("group given back without a look after the marks", GROUP, "NO_LOOK_AFTER_MARK"),
    ("group whose marks stay after a death", GROUP, "MARKS_STAY"),
    ("group claimed without a second look at the table", GROUP, "CLASSES=2 NO_SECOND_LOOK"),
    ("group reclaimed by the class of its slot only", GROUP, "CLASSES=2 BY_CLASS_OF_SLOT"),
    ("group whose publication is not settled", GROUP, "PUBLISH NO_SETTLE"),
    ("group with PSMfreeFrom of a block that is still being published", GROUP,
     "PUBLISH TAKE_AT_ONCE"),
    ("group whose place is overwritten before the reaper has judged by it", GROUP,
     "PUBLISH PLACE_OVERWRITTEN"),
    ("group whose slot does not count its changes", GROUP,
     "LOOK GROUPS=2 BLOCKS=1 DEATHS=1 NO_CHANGES"),
    ("kept with a bit cleared before the block is used", KEPT, "BLOCKS=1 CLEAR_FIRST"),
    ("kept with states looked at before the bits and not after", KEPT, "BLOCKS=1 STATES_FIRST"),
    ("kept with a reaper that does not take the group", KEPT, "BLOCKS=1 NO_TAKE"),
    ("kept with a reaper's mark that stays after its death", KEPT, "BLOCKS=1 MARKS_STAY"),
    ("kept with a reaper that does not look at the slot's bits", KEPT, "BLOCKS=1 NO_BITS"),
    ("kept with a reaper that looks at the slot's bits before the group's", KEPT,
     "BLOCKS=1 NO_FREE_BEFORE"),
    ("kept without a second look at the owner", KEPT, KEEPER_OF_THREE + " NO_OWNER_AGAIN"),
    ("kept with a slot that does not count its changes", KEPT, "GROUPS=2 BLOCKS=1 NO_CHANGES"),
    ("kept with a mark that is cleared after the bit is set", KEPT, "BLOCKS=1 MARK_CLEARED"),
    ("kept with a cache released before its blocks are found", KEPT, "BLOCKS=1 RELEASE_FIRST"),
    ("kept with states that are not settled", KEPT, "BLOCKS=1 NO_SETTLE"),
    ("kept with a block marked before its cache says that it keeps some", KEPT,
     "BLOCKS=1 KEEPS_AFTER"),
    ("kept with a cache that says too early that it keeps none", KEPT,
     "BLOCKS=1 KEEPS_CLEARED_FIRST"),
    ("kept by PSMfreeFrom while the block is still being published", KEPT,
     "BLOCKS=1 PUBLISH KEPT_AT_ONCE"),
    ("lock without generations", SPAN, LOCK_ALONE + " NO_GENERATION"),
    ("lock taken over by a store", SPAN, LOCK_ALONE + " TAKEOVER_BY_STORE"),
    ("span whose head is shortened before the tail has one", SPAN, "PLAIN_LOCK SHORTEN_FIRST"),
    ("span whose last word is wiped before its head is stored", SPAN, "PLAIN_LOCK WIPE_FIRST"),
    ("span whose last word is not wiped", SPAN, "PLAIN_LOCK NO_WIPE"),
    ("span whose last word is not wiped by the rebuild", SPAN, "PLAIN_LOCK LAST_WORD_STAYS"),
    ("span without a rebuild", SPAN, "PLAIN_LOCK NO_REBUILD"),
    ("span whose publication is not settled", SPAN, "PLAIN_LOCK UNITS=3 PUBLISH NO_SETTLE"),
    ("span with PSMfreeFrom of a block that is still being published", SPAN,
     "PLAIN_LOCK UNITS=3 PUBLISH TAKE_AT_ONCE"),
    ("weak memory, a free that releases nothing", WEAK, "FREE_RELAXED"),
    ("weak memory, a refill that acquires nothing", WEAK, "FILL_RELAXED"),
    ("weak memory, a claim that acquires nothing", WEAK, "CLAIM_RELAXED"),
    ("weak memory, a group given up by a relaxed store", WEAK, "GIVE_UP_RELAXED"),
    ("weak memory, a group that a reaper gives up by a relaxed store", WEAK, "REAP_RELAXED"),
    ("weak memory, looks that are in no total order", WEAK, "LOOK_UNORDERED"),
    ("weak memory, a death that nobody has asked the kernel about", WEAK, "NO_KERNEL"),
    ("weak memory, a death that another has seen, by a relaxed load", WEAK,
     "TENURE SEAT_RELAXED"),
]


class Broken(Exception):
    """The check could not be made."""


def command(*words, cwd):
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    return done.returncode, done.stdout


def switches(words):
    return [f"-D{word}" for word in words.split()]


def build(directory, model, words, *more):
    """The verifier of a variant, in a directory of its own."""
    directory.mkdir(parents=True)
    shutil.copy(HERE / model, directory)
    status, output = command("spin", "-a", *switches(words), model, cwd=directory)
    if status or "rror" in output or not (directory / "pan.c").exists():
        raise Broken(f"spin refuses the model: {output.strip()}")
    status, output = command(CC, *BUILD, *more, "-o", "pan", "pan.c", cwd=directory)
    if status:
        raise Broken(f"the verifier does not compile: {output.strip()}")


# ---- What is never reached ----

def skeleton(text):
    """A statement without what the arguments of an inline put into it."""
    while re.search(r"\[[^\[\]]+\]", text):
        text = re.sub(r"\[[^\[\]]+\]", "[]", text)
    if " = " in text:
        left, right = text.split(" = ", 1)
        return left, tuple(re.findall(r"\b\d+\b", right))
    return re.sub(r"\b[a-z_]\w*\b(?!\[)", "_", text), ()


def statements(directory, model, output):
    """The statements of a variant, as {(line, skeleton): reached}."""
    unreached, process = set(), None
    for line in output.splitlines():
        if found := re.match(r"unreached in (?:proctype )?(\S+)", line):
            process = found[1]
        elif found := re.match(r"\t\S+:\d+, state (\d+), ", line):
            unreached.add((process, found[1]))
    result, process = {}, None
    for line in command("./pan", "-d", cwd=directory)[1].splitlines():
        if found := re.match(r"(?:proctype (\S+)|(init))$", line):
            process = found[1] or found[2]
        found = re.match(r"\tstate +(\d+) -\(tr.* " + re.escape(model) + r":(\d+) => (.*)$", line)
        if not found or found[3].startswith(("die[", "-end-", "goto", ".(goto)", "assert(0)")):
            continue
        key = (model, int(found[2]), skeleton(found[3]))
        result[key] = result.get(key, False) or (process, found[1]) not in unreached
    return result


# ---- Checks ----

def search(directory, *more):
    status, output = command("./pan", *SEARCH, *more, cwd=directory)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"^ *(\S+) states, stored", output, re.MULTILINE)
    if not errors or not states:
        raise Broken(f"the verifier ended with {status}: {output.strip()[-400:]}")
    return int(errors[1]), int(float(states[1])), output


def check(directory, model, words):
    """States, and what is reached; the search has to be complete."""
    build(directory, model, words, "-O2")
    errors, states, output = search(directory)
    if errors:
        what = re.search(r"pan:\d+: (.*)", output)
        raise Broken(f"{what[1] if what else 'error'}, after {states} states")
    cut = [reason for reason in NOT_ALL if reason in output]
    if cut or "Full statespace search" not in output:
        raise Broken(f"the search is not complete: {cut}")
    return states, statements(directory, model, output)


def mutant(directory, model, words):
    """States until the error, and which error; most come soon, so that -O2 would not pay."""
    build(directory, model, words, "-O0")
    errors, states, output = search(directory)
    if not errors:
        raise Broken(f"passes, and should not: {states} states")
    what = re.search(r"pan:\d+: (assertion violated|invalid end state)(?! - invalid)", output)
    if not what:
        raise Broken(f"fails for another reason: {output.strip()[-400:]}")
    return states, "a deadlock" if what[1] == "invalid end state" else "an assertion"


def run(work, number, name, model, words, bad):
    began = time.monotonic()
    directory = work / f"{number:02}-{re.sub('[^a-z0-9]+', '-', name.lower())}"
    try:
        states, more = (mutant if bad else check)(directory, model, words)
    except (Broken, OSError, subprocess.TimeoutExpired) as error:
        return name, False, f"{error}", {}
    seconds = time.monotonic() - began
    count = f"{states:,} states, {seconds:.1f} s"
    if bad:
        return f"{name} fails as it must", True, f"{more}, {count}", {}
    return name, True, count, more


def run_all(work, chosen):
    passed = failed = 0
    reached = {}
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        for name, well, text, statements_of in pool.map(
                lambda entry: run(work, entry[0], *entry[1]), enumerate(chosen)):
            print(f"{'ok  ' if well else 'FAIL'} {name} ({text})", flush=True)
            passed, failed = passed + well, failed + (not well)
            for key, is_reached in statements_of.items():
                reached[key] = reached.get(key, False) or is_reached
    if [entry for entry in chosen if not entry[3]] == [(*entry, False) for entry in CHECKS]:
        never = sorted(key for key, is_reached in reached.items() if not is_reached)
        lines = ", ".join(f"{model}:{line}" for model, line, _ in never)
        if never:
            print(f"FAIL every statement is reached (but for {lines})")
        else:
            print(f"ok   every statement is reached ({len(reached)} of them)")
        passed, failed = passed + (not never), failed + bool(never)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


# ---- A counterexample ----

def steps(model, words, directory):
    """The trail as lines of the model, each with the process that takes it."""
    source = (HERE / model).read_text(encoding="utf-8").splitlines()
    _, output = command("spin", "-t", "-p", *switches(words), model, cwd=directory)
    last = None
    for line in output.splitlines():
        found = re.match(r" *\d+:\tproc +(\d+) \((\w+):\d+\) \S+?:(\d+) \(state \d+\)\t\[", line)
        if not found or found[2] in (":init:", "Killer") or (found[1], found[3]) == last:
            continue
        last = (found[1], found[3])
        yield f"{found[2]:8}{found[1]}  {model}:{found[3]:4} {source[int(found[3]) - 1].strip()}"
    yield from (line for line in output.splitlines() if re.match(r"\t\t\w+(\[\d+\])? = ", line))


def trail(work, name, model, words):
    directory = work / "trail"
    build(directory, model, words, "-O2", "-DREACH")
    for depth in [150, 250, 400, 700, 2000, 2000000]:
        if search(directory, f"-m{depth}")[0]:
            break
    else:
        print(f"{name}: no error")
        return 1
    print(f"{name}: process, line, statement; at the end the words in memory")
    try:
        print("\n".join(steps(model, words, directory)))
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keep", metavar="DIRECTORY", help="build there, and leave it")
    parser.add_argument("--trail", action="store_true", help="print a short counterexample")
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    for tool in ("spin", CC):
        if not shutil.which(tool):
            print(f"the models cannot be checked: {tool} is not installed")
            return 77
    chosen = [entry for entry in [(*entry, False) for entry in CHECKS] +
              [(*entry, True) for entry in MUTANTS]
              if all(word in entry[0].split() or word in entry[2].split()
                     for word in options.words)]
    if not chosen:
        print("no check has all these words in its name")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    with tempfile.TemporaryDirectory(prefix="psm-model-") as temporary:
        work = pathlib.Path(options.keep or temporary).resolve()
        if options.trail:
            return trail(work, *chosen[0][:3])
        return run_all(work, chosen)


if __name__ == "__main__":
    sys.exit(main())
