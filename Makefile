# All tasks of the project; `make` lists them. CMake builds, this file only calls.
MAKEFLAGS += --no-print-directory
export PYTHONDONTWRITEBYTECODE := 1

VENV_PYTHON := .venv/bin/python

# The release build of one target, quietly.
build_release = mkdir -p build/logs; \
  { cmake --preset release && cmake --build --preset release --target $(1); } > build/logs/build.log \
  || { cat build/logs/build.log; exit 1; }

.PHONY: help setup build demo test test-c test-cpp test-asan test-tsan test-32 test-musl test-arm64 test-s390x \
        test-riscv64 test-windows test-windows-32 test-platforms test-python test-rust test-tools swig test-swig test-matrix kill soak model fuzz \
        bench bench-cpp bench-python bench-rust format format-check coverage clean

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{ printf "  make %-16s%s\n", $$1, $$2 }'

setup:  ## install what building and testing need
	@tools/setup.sh test

build:  ## the release build, in build/release
	@tools/setup.sh build
	@mkdir -p build/logs
	@cmake --preset release > build/logs/configure.log || { cat build/logs/configure.log; exit 1; }
	@cmake --build --preset release

demo:  ## C and Python index texts into one shared table (TEXT="file ...")
	@tools/setup.sh build python
	@mkdir -p build/logs
	@cmake --preset release > build/logs/configure.log || { cat build/logs/configure.log; exit 1; }
	@cmake --build --preset release --target psm psm_static examples/c/all > build/logs/demo-build.log \
	  || { cat build/logs/demo-build.log; exit 1; }
	@PSM_BUILD=build/release PYTHON=$(VENV_PYTHON) examples/demo $(TEXT)

test:  ## everything
	@tools/setup.sh test || echo "setup was incomplete; the tests tell what it means"
	@python3 tools/test.py

test-c:  ## the C tests, with assertions and as released
	@tools/setup.sh build && python3 tools/test.py c-dev c-release

test-cpp:  ## the C++ tests, with assertions, as released, and under sanitizers
	@tools/setup.sh test && python3 tools/test.py cpp cpp-release cpp-asan

test-asan:  ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/setup.sh build && python3 tools/test.py c-asan

test-32:  ## the C tests on 32-bit x86
	@tools/setup.sh build i686; python3 tools/test.py i686

test-musl:  ## the C tests with the C library musl, static and dynamic
	@tools/setup.sh build musl; python3 tools/test.py musl

test-arm64:  ## the C tests on 64-bit ARM under QEMU, with pages of 4 and 64 KiB
	@tools/setup.sh build arm64; python3 tools/test.py arm64

test-s390x:  ## the C tests on a big-endian processor under QEMU
	@tools/setup.sh build s390x; python3 tools/test.py s390x

test-riscv64:  ## the C tests on 64-bit RISC-V under QEMU
	@tools/setup.sh build riscv64; python3 tools/test.py riscv64

test-windows:  ## the C tests on Windows x86-64, by mingw-w64 and wine
	@tools/setup.sh build windows; python3 tools/test.py windows

test-windows-32:  ## the same for 32 bits: built, and run where wine has them
	@tools/setup.sh build windows-32; python3 tools/test.py windows-32

test-platforms:  ## processes of different platforms meet at one segment
	@tools/setup.sh build i686 musl arm64 s390x; python3 tools/test.py platforms

test-tsan:  ## the C tests with threads under ThreadSanitizer
	@tools/setup.sh build && python3 tools/test.py c-tsan

test-python:  ## the Python tests
	@tools/setup.sh build python && python3 tools/test.py python

test-rust:  ## the Rust tests and checks
	@tools/setup.sh build rust python && python3 tools/test.py rust

swig:  ## build and test PSM for languages through SWIG (LANGS="java go"; all)
	@tools/setup.sh swig || echo "setup was incomplete; what is missing is skipped"
	@bindings/swig/build.py $(LANGS) && tests/swig/run.py $(LANGS)

test-swig:  ## the tests of all languages through SWIG
	@tools/setup.sh swig || echo "setup was incomplete; what is missing is skipped"
	@python3 tools/test.py swig

test-matrix:  ## every language reads what every other wrote
	@tools/setup.sh swig rust python || echo "setup was incomplete; what is missing is skipped"
	@python3 tools/test.py matrix

test-tools:  ## layers, exports, versions, header, install, README, format
	@tools/setup.sh test && python3 tools/test.py tools

kill:  ## kill a process before each instruction of each operation (FULL=1: before every single one)
	@tools/setup.sh build
	@$(call build_release,kill)
	@build/release/tests/kill/kill $(if $(FULL),--full) $(if $(SEED),--seed $(SEED)) $(KILL_OPTIONS)

soak:  ## storms of kills, also with pauses between stores (KILLS=10000 SEED=...)
	@tools/setup.sh build
	@$(call build_release,soak soak_paused)
	@build/release/tests/soak/soak $(or $(KILLS),10000) $(SEED)
	@build/release/tests/soak/soak_paused $(or $(KILLS),10000) $(SEED)

model:  ## check the models of the protocols exhaustively
	@tools/setup.sh model && tests/model/run.py

fuzz:  ## fuzz files and live metadata (TIME=seconds)
	@tools/setup.sh fuzz && tests/fuzz/run --time $(or $(TIME),600)

bench:  ## compare with other allocators (QUICK=1, ROUNDS=5, PEERS="psm boost", CASES="pair growth")
	@tools/setup.sh bench || echo "setup was incomplete; what is missing is left out"
	@mkdir -p build/logs
	@cmake --preset bench > build/logs/configure.log || { cat build/logs/configure.log; exit 1; }
	@cmake --build --preset bench > build/logs/bench-build.log || { cat build/logs/bench-build.log; exit 1; }
	@bench/run build/bench

bench-cpp:  ## C++ containers beside those of Boost.Interprocess; writes the tables of docs/cpp.md (ROUNDS=9, COUNT=1: counts)
	@tools/setup.sh bench
	@mkdir -p build/logs
	@{ cmake --preset bench && cmake --build --preset bench --target bench_containers; } \
	  > build/logs/bench-cpp-build.log || { cat build/logs/bench-cpp-build.log; exit 1; }
	@bench/containers build/bench $(if $(COUNT),--count)

bench-python:  ## compare the Python package with multiprocessing (QUICK=1, ROUNDS=...)
	@tools/setup.sh bench-python
	@bench/python/run $(VENV_PYTHON)

bench-rust:  ## collections in a segment beside those in private memory; writes the table of psmalloc's README
	@tools/setup.sh rust && bench/rust/run

format:  ## format the C sources
	@tools/setup.sh format && tools/format.sh

format-check:  ## say which C sources are not formatted
	@tools/setup.sh format && tools/format.sh --check

# A process that is killed between two counters leaves sums that do not add up: only the marks
# of what ran at all are used. Branches that only the compiler knows are left out, and the one
# for processors without a population count.
coverage:  ## lines and branches of the core that the C tests run, in build/coverage/index.html
	@tools/setup.sh coverage
	@mkdir -p build/logs
	@{ cmake --preset coverage && cmake --build --preset coverage; } > build/logs/coverage.log \
	  || { cat build/logs/coverage.log; exit 1; }
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage --progress -j 2
	@build/coverage/tests/kill/kill --points 40 --seed 1 reap "rebuild after a dead lock holder" \
	  "PSMallocTo, hit" "PSMallocTo, large" "alloc, full but for an empty slab" > build/logs/coverage-kill.log
	@gcovr --root . --object-directory build/coverage --filter core/ --gcov-ignore-parse-errors \
	  --exclude-unreachable-branches --exclude-branches-by-pattern '.*cpu_supports.*' --html-details build/coverage/index.html --txt build/coverage/lines.txt \
	  --print-summary --fail-under-line 95 --fail-under-branch 85

clean:  ## remove all that was built
	rm -rf build .venv dist
