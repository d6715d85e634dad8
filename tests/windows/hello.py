#!/usr/bin/env python3
"""Play the example hello under wine: one process writes, another reads at the same address.

usage: hello.py WINE-SCRIPT LOADER BUILD HELLO.EXE
"""
import os
import subprocess
import sys

SECONDS = 60  # a watchdog


def main(script, loader, build, hello):
    prefix = subprocess.run([script, loader, build, "--prefix"], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    options = dict(text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                   env=dict(os.environ, WINEPREFIX=prefix, WINEDEBUG="-all"))
    name = f"shm:psm-test-hello-{os.getpid()}"
    writer = subprocess.Popen([loader, hello, "write", name], stdin=subprocess.PIPE, **options)
    wrote = writer.stdout.readline().split()
    reader = subprocess.run([loader, hello, "read", name], timeout=SECONDS, **options)
    writer.communicate(timeout=SECONDS)  # the end of its input
    read = reader.stdout.split()
    print(f"wrote {wrote}, read {read}")
    return int(reader.returncode != 0 or writer.returncode != 0 or wrote[:1] != ["wrote"]
               or read != ["read", wrote[1], "hello", "from", "c"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
