#!/usr/bin/env python3
"""Build PSM for the languages named, or for all whose tools are here.

usage: build.py [LANGUAGE...]
       build.py --run FILE [ARGUMENT...]   run a program in one of them

Each comes out as a package of its own kind in build/swig/LANGUAGE. The core is
compiled in, from core/psm.c, and hides its symbols: two languages in one process,
or another libpsm, do not meet. To add a language, add an entry to LANGUAGES.
"""
import dataclasses
import functools
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "swig"
SYSTEM = f"{platform.system().lower()}-{platform.machine()}"
CFLAGS = ["-O2", "-fPIC", "-DNDEBUG", "-fvisibility=hidden", "-Wall"]
SHARED = ["-shared", "-Wl,-z,nodelete", "-Wl,--exclude-libs,ALL", "-pthread"]


class Missing(Exception):
    """What a language needs is not here."""


def run(*command, cwd=ROOT, env=None):
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[:4000]}ended with {done.returncode}")
    return done.stdout


def words_of(*command):
    return run(*command).split()


def program(*names):
    """The first of these programs that is here."""
    for name in names:
        if shutil.which(name):
            return shutil.which(name)
    raise Missing(f"there is no {' or '.join(names)}")


def header(path):
    """A folder with this header, or Missing."""
    for folder in ["/usr/include", "/usr/local/include"]:
        if pathlib.Path(folder, path).exists():
            return folder
    raise Missing(f"there is no header {path}")


@functools.cache
def version():
    text = (ROOT / "include/psm.h").read_text()
    return ".".join(re.findall(r"#define PSM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text))


def newer(product, *sources):
    """Is the product there, and newer than all its sources?"""
    return product.exists() and all(
        source.stat().st_mtime <= product.stat().st_mtime for source in sources)


@functools.cache
def core():
    """The core and the checked calls, in one archive."""
    folder = OUT / "core"
    archive = folder / "libpsm-checked.a"
    sources = [*(ROOT / "core").rglob("*.[ch]"), ROOT / "include/psm.h",
               HERE / "checked.c", HERE / "checked.h", HERE / "build.py"]
    if newer(archive, *sources):
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    cc = program(os.environ.get("CC", "cc"))
    objects = []
    for source, include in [(ROOT / "core/psm.c", ["-I", ROOT / "include", "-I", ROOT / "core"]),
                            (HERE / "checked.c", ["-I", ROOT / "include"])]:
        objects.append(folder / f"{source.stem}.o")
        run(cc, "-std=gnu11", *CFLAGS, "-Wextra", "-Wconversion", "-Wshadow", "-Werror", *include,
            "-c", source, "-o", objects[-1])
    archive.unlink(missing_ok=True)
    run("ar", "rcs", archive, *objects)
    return archive


@dataclasses.dataclass(frozen=True)
class Language:
    """How to build one, and how its programs are run.

    needs     raises Missing, or returns what the compiler is told
    swig      what SWIG is told; VERSION stands for that of PSM
    library   where the compiled wrapper goes, in the folder of the language
    package   makes the rest of the package: folder -> None
    start     the command that runs a source file: (folder, file) -> words
    compiled  turns a source file into what `start` runs: (folder, file, target) -> None
    """
    needs: object
    swig: str
    library: str
    start: object
    package: object = lambda folder: None
    compiled: object = None
    suffix: str = ""
    cplusplus: bool = False


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# ---- What each needs ----------------------------------------------------------

def perl():
    program("perl")
    place = run("perl", "-MConfig", "-e", "print $Config{archlibexp}").strip()
    if not pathlib.Path(place, "CORE/perl.h").exists():
        raise Missing("there is no perl.h")
    return [*words_of("perl", "-MConfig", "-e", "print $Config{ccflags}"), f"-I{place}/CORE"]


def tcl():
    program("tclsh")
    return [f"-I{header('tcl/tcl.h')}/tcl"]


def lua():
    program("lua5.4")
    return [f"-I{header('lua5.4/lua.h')}/lua5.4"]


def ruby():
    program("ruby")
    place = run("ruby", "-rrbconfig", "-e",
                "puts RbConfig::CONFIG.values_at('rubyhdrdir', 'rubyarchhdrdir')").split()
    if not pathlib.Path(place[0], "ruby.h").exists():
        raise Missing("there is no ruby.h")
    return [f"-I{folder}" for folder in place]


def java():
    home = pathlib.Path(program("javac")).resolve().parents[1]
    if not (home / "include/jni.h").exists():
        raise Missing("there is no jni.h")
    return [f"-I{home}/include", f"-I{home}/include/linux", "-fno-strict-aliasing"]


def csharp():
    program("mcs", "csc")
    program("mono")
    return []


def node():
    place = pathlib.Path(program("node")).resolve().parents[1] / "include/node"
    if not (place / "node.h").exists():
        place = pathlib.Path(header("node/node.h"), "node")
    return [f"-I{place}", "-std=c++17", "-DBUILDING_NODE_EXTENSION=1",
            "-Wno-cast-function-type"]


def go():
    program("go")
    return None  # go compiles the wrapper itself


def guile():
    program("guile-3.0", "guile")
    flags = words_of(program("pkg-config"), "--cflags", "guile-3.0")
    return [*flags, "-fvisibility=default"]


def php():
    program("php")
    return words_of(program("php-config"), "--includes")


def d():
    program("ldc2")
    return ["-fvisibility=default"]


# ---- What each packs ----------------------------------------------------------

def pack_perl(folder):
    shutil.copy(folder / "out/psm.pm", folder / "psm.pm")


def pack_tcl(folder):
    write(folder / "pkgIndex.tcl",
          f"package ifneeded psm {version()} [list load [file join $dir psm.so] Psm]\n")


def pack_lua(folder):
    write(folder / f"psm-{version()}-1.rockspec", f"""\
package = "psm"
version = "{version()}-1"
source = {{ url = "." }}
description = {{ summary = "Memory that several processes share", license = "MIT" }}
dependencies = {{ "lua == 5.4" }}
build = {{ type = "none", install = {{ lib = {{ psm = "psm.so" }} }} }}
""")


def pack_guile(folder):
    """A module that exports all that SWIG defines."""
    names = re.findall(r'scm_c_define_gsubr\("([^"]+)"', (folder / "psm_wrap.c").read_text())
    write(folder / "psm.scm", f"""\
(define-module (psm) #:export ({' '.join(names)}))
(load-extension (string-append (dirname (or (current-filename)
                                            (%search-load-path "psm.scm"))) "/psm.so")
                "scm_init_psm_module")
""")


def pack_ruby(folder):
    write(folder / "psm.gemspec", f"""\
Gem::Specification.new do |gem|
  gem.name = "psm"
  gem.version = "{version()}"
  gem.summary = "Memory that several processes share"
  gem.authors = ["the authors of PSM"]
  gem.license = "MIT"
  gem.platform = Gem::Platform::CURRENT
  gem.files = ["lib/psm.so"]
end
""")
    run("gem", "build", "--silent", "psm.gemspec", cwd=folder)


def pack_java(folder):
    classes = folder / "classes"
    shutil.rmtree(classes, ignore_errors=True)
    arch = {"x86_64": "amd64"}.get(platform.machine(), platform.machine())
    native = classes / f"psm/native/{platform.system().lower()}-{arch}"
    native.mkdir(parents=True)
    shutil.copy(folder / "libpsm-java.so", native)
    run("javac", "-Xlint:all", "-Werror", "--release", "11", "-d", classes,
        *sorted((folder / "out").glob("*.java")), *sorted((HERE / "java").glob("*.java")))
    run("jar", "--create", "--file", folder / "psm.jar", "-C", classes, ".")


def pack_csharp(folder):
    run(program("mcs", "csc"), "-target:library", f"-out:{folder / 'Psm.dll'}",
        *sorted((folder / "out").glob("*.cs")), *sorted((HERE / "csharp").glob("*.cs")))


def pack_node(folder):
    write(folder / "psm/package.json", json.dumps(
        {"name": "psm", "version": version(), "license": "MIT", "main": "psm.node",
         "description": "Memory that several processes share", "os": [platform.system().lower()]},
        indent=2) + "\n")


def pack_go(folder):
    module = folder / "psm"
    write(module / "go.mod", "module psm\n\ngo 1.19\n")
    for name in ("psm_wrap.c", "out/psm.go"):
        shutil.copy(folder / name, module)
    shutil.copy(HERE / "checked.h", module)
    shutil.copy(core(), module)
    write(module / "link.go", "package psm\n\n// #cgo LDFLAGS: ${SRCDIR}/libpsm-checked.a -pthread\n"
                              'import "C"\n')


# ---- How each compiles a program ----------------------------------------------

def compile_java(folder, source, target):
    run("javac", "-Xlint:all", "-Werror", "-cp", folder / "psm.jar", "-d", target, source)


def compile_csharp(folder, source, target):
    target.mkdir(parents=True, exist_ok=True)
    for name in ("Psm.dll", "libpsm-csharp.so"):
        shutil.copy(folder / name, target)
    run(program("mcs", "csc"), f"-out:{target / source.stem}.exe", f"-r:{target / 'Psm.dll'}", source)


def compile_go(folder, source, target):
    """A module of its own, which finds psm by a path."""
    module = target / f"{source.stem}-module"
    module.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, module)
    write(module / "go.mod", f"module {source.stem}\n\ngo 1.19\n\nrequire psm v0.0.0\n\n"
                             f"replace psm => {folder / 'psm'}\n")
    run("go", "build", "-o", target / source.stem, ".", cwd=module,
        env={"GOPROXY": "off", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "1"})


def compile_d(folder, source, target):
    run(program("ldc2"), f"-of={target / source.stem}", f"-od={target}", source,
        *sorted((folder / "out").rglob("*.d")))


LANGUAGES = {
    "perl": Language(perl, "-perl5", "auto/psm/psm.so", suffix=".pl", package=pack_perl,
                     start=lambda folder, file: ["perl", f"-I{folder}", file]),
    "tcl": Language(tcl, "-tcl8 -pkgversion VERSION", "psm.so", suffix=".tcl", package=pack_tcl,
                    start=lambda folder, file: ["env", f"TCLLIBPATH={folder}", "tclsh", file]),
    "lua": Language(lua, "-lua", "psm.so", suffix=".lua", package=pack_lua,
                    start=lambda folder, file: [
                        "env", f"LUA_CPATH={folder}/?.so", "lua5.4", file]),
    "ruby": Language(ruby, "-ruby", "lib/psm.so", suffix=".rb", package=pack_ruby,
                     start=lambda folder, file: ["ruby", f"-I{folder}/lib", file]),
    "java": Language(java, "-java -package psm", "libpsm-java.so", suffix=".java",
                     package=pack_java, compiled=compile_java,
                     start=lambda folder, file: [
                         "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                         "-cp", f"{folder / 'psm.jar'}:{file.parent}", file.stem]),
    "csharp": Language(csharp, "-csharp -namespace Psm -dllimport psm-csharp",
                       "libpsm-csharp.so", suffix=".cs", package=pack_csharp,
                       compiled=compile_csharp,
                       start=lambda folder, file: ["mono", f"{file}.exe"]),
    "node": Language(node, "-javascript -node", "psm/psm.node", suffix=".js", cplusplus=True,
                     package=pack_node,
                     start=lambda folder, file: [
                         "env", f"NODE_PATH={folder}", "node", file]),
    "go": Language(go, "-go -cgo -intgosize 64", "", suffix=".go", package=pack_go,
                   compiled=compile_go, start=lambda folder, file: [file]),
    "d": Language(d, "-d -d2 -package psm -wrapperlibrary psm-d", "libpsm-d.so", suffix=".d",
                  compiled=compile_d,
                  start=lambda folder, file: ["env", f"LD_LIBRARY_PATH={folder}", file]),
    "guile": Language(guile, "-guile -Linkage passive", "psm.so", suffix=".scm",
                      package=pack_guile,
                      start=lambda folder, file: [
                          "env", "GUILE_AUTO_COMPILE=0", program("guile-3.0", "guile"),
                          "-L", folder, file]),
    "php": Language(php, "-php7", "psm.so", suffix=".php",
                    start=lambda folder, file: [
                        "php", "-d", f"extension={folder / 'psm.so'}", file]),
}


# ---- Building -----------------------------------------------------------------

def wrap(language, folder):
    """Run SWIG; return the wrapper's source."""
    wrapper = folder / ("psm_wrap.cxx" if language.cplusplus else "psm_wrap.c")
    (folder / "out/psm").mkdir(parents=True, exist_ok=True)  # SWIG makes no folder for D's package
    run(program("swig", "swig4.0"), "-Wall", *(["-c++"] if language.cplusplus else []),
        *language.swig.replace("VERSION", version()).split(), "-outdir", folder / "out", "-o", wrapper, HERE / "psm.i")
    return wrapper


def build(name):
    """Build one language's package, if it is older than its sources."""
    language = LANGUAGES[name]
    flags = language.needs()
    program("swig", "swig4.0")
    folder = OUT / name
    stamp = folder / "built"
    if newer(stamp, core(), *HERE.rglob("*.i"), *HERE.rglob("*.java"), *HERE.rglob("*.cs"),
             HERE / "build.py"):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    wrapper = wrap(language, folder)
    if flags is not None:
        library = folder / language.library
        library.parent.mkdir(parents=True, exist_ok=True)
        compiler = program(os.environ.get("CXX", "c++") if language.cplusplus
                           else os.environ.get("CC", "cc"))
        run(compiler, *CFLAGS, "-Wno-unused-function", "-Wno-unused-variable",
            "-Wno-unused-but-set-variable", *flags, f"-I{HERE}",
            f"-I{folder / 'out'}", wrapper, core(), *SHARED,
            "-o", library)
    language.package(folder)
    stamp.write_text(f"{version()}\n")
    return folder


def command(name, source, target=None):
    """The command that runs a program in this language; compiles it if need be."""
    language = LANGUAGES[name]
    folder = build(name)
    source = pathlib.Path(source)
    if language.compiled is None:
        return [str(word) for word in language.start(folder, source)]
    target = target or folder / "programs"
    product = target / source.stem
    stamp = target / f"{source.stem}.made"
    if not newer(stamp, source, folder / "built"):
        language.compiled(folder, source, target)
        stamp.touch()
    return [str(word) for word in language.start(folder, product)]


def run_file(file, *arguments):
    """Become the program in this file."""
    suffixes = {language.suffix: name for name, language in LANGUAGES.items()}
    name = suffixes.get(pathlib.Path(file).suffix)
    if name is None:
        raise SystemExit(f"{file}: its name ends in none of {' '.join(suffixes)}")
    try:
        words = command(name, pathlib.Path(file).resolve())
    except Missing as reason:
        raise SystemExit(f"{name}: {reason}") from None
    os.execvp(words[0], [*words, *arguments])


def main(names):
    if names[:1] == ["--run"] and names[1:]:
        run_file(*names[1:])
    wrong = [name for name in names if name not in LANGUAGES]
    if wrong:
        print(f"unknown: {' '.join(wrong)}; there are {' '.join(LANGUAGES)}")
        return 2
    missing = 0
    for name in names or LANGUAGES:
        try:
            folder = build(name)
            print(f"{name}: {folder.relative_to(ROOT)}", flush=True)
        except Missing as reason:
            print(f"{name}: skipped: {reason}", flush=True)
            missing += 1
    return int(bool(names) and missing > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
