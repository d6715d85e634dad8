#!/usr/bin/env python3
"""Check that every manifest states the version of include/psm.h."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def header():
    text = (ROOT / "include/psm.h").read_text()
    parts = [re.search(rf"^#define PSM_VERSION_{part} (\d+)$", text, re.M)
             for part in ("MAJOR", "MINOR", "PATCH")]
    if not all(parts):
        raise SystemExit("include/psm.h: PSM_VERSION_* are missing")
    return ".".join(part.group(1) for part in parts)


def section(text, name):
    """The body of a TOML table."""
    match = re.search(rf"^\[{re.escape(name)}\]\s*$(.*?)(?=^\[|\Z)", text, re.M | re.S)
    return match.group(1) if match else None


def value(body, key):
    match = re.search(rf'^{re.escape(key)}\s*=\s*"([^"]*)"', body or "", re.M)
    return match.group(1) if match else None


def pyproject(text):
    if re.search(r'^dynamic\s*=\s*\[[^\]]*"version"', section(text, "project") or "", re.M):
        source = value(section(text, "tool.scikit-build.metadata.version"), "input")
        return header() if source == "include/psm.h" else f"taken from {source}"
    return value(section(text, "project"), "version")


def cargo(text):
    body = section(text, "package")
    if body and re.search(r"^version\.workspace\s*=\s*true", body, re.M):
        body = section(text, "workspace.package")
    return value(body, "version") or value(section(text, "workspace.package"), "version")


def requirement(text):
    """The version that a manifest asks of psm-sys, or its own."""
    found = re.search(r'^psm-sys\s*=.*?version\s*=\s*"([^"]*)"', text, re.M)
    return found.group(1) if found else None


def changelog(text):
    """The newest release; while there is none, the heading may say Unreleased."""
    releases = re.findall(r"^## \[?(\d+\.\d+\.\d+)", text, re.M)
    if releases:
        return releases[0]
    return header() if re.search(r"^## \[?Unreleased", text, re.M | re.I) else None


def main():
    want = header()
    wrong = 0
    for name, read, required in [("pyproject.toml", pyproject, True), ("Cargo.toml", cargo, True),
                                 ("bindings/rust/psmalloc/Cargo.toml", requirement, True),
                                 ("CHANGELOG.md", changelog, True)]:
        path = ROOT / name
        if not path.exists():
            if required:
                print(f"{name}: missing")
                wrong += 1
            continue
        found = read(path.read_text())
        if found != want:
            print(f"{name}: {found}, but include/psm.h is {want}")
            wrong += 1
    if not wrong:
        print(f"{want}, ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
