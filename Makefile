# All tasks of the project; `make` lists them. CMake builds, this file only calls.
MAKEFLAGS += --no-print-directory
export PYTHONDONTWRITEBYTECODE := 1

VENV_PYTHON := .venv/bin/python

.PHONY: help setup build demo test test-c test-asan test-tsan test-python test-tools \
        bench format format-check coverage clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{ printf "  make %-14s%s\n", $$1, $$2 }'

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

test-asan:  ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/setup.sh build && python3 tools/test.py c-asan

test-tsan:  ## the C tests with threads under ThreadSanitizer
	@tools/setup.sh build && python3 tools/test.py c-tsan

test-python:  ## the Python tests
	@tools/setup.sh build python && python3 tools/test.py python

test-tools:  ## layers, exports, versions, header, install, README, format
	@tools/setup.sh test && python3 tools/test.py tools

bench:  ## compare with other allocators
	@tools/setup.sh bench
	@mkdir -p build/logs
	@cmake --preset bench > build/logs/configure.log || { cat build/logs/configure.log; exit 1; }
	@cmake --build --preset bench > build/logs/bench-build.log || { cat build/logs/bench-build.log; exit 1; }
	@bench/run build/bench

format:  ## format the C sources
	@tools/setup.sh format && tools/format.sh

format-check:  ## say which C sources are not formatted
	@tools/setup.sh format && tools/format.sh --check

coverage:  ## which lines of the core the C tests run, in build/coverage
	@tools/setup.sh coverage
	@cmake --preset coverage > /dev/null && cmake --build --preset coverage
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage --progress
	@gcovr --root . --object-directory build/coverage --filter core/ \
	  --html-details build/coverage/lines.html --txt

clean:  ## remove all that was built
	rm -rf build .venv dist
