# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

# The suite starts Python hundreds of times: where nothing may be compiled ahead, each start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test bench graphs gpu-check calibrate accuracy clean

run: $(STAMP)
	$(BIN)/whichgpu compare --steps-per-epoch 2000 examples/nanogpt_style.py
	$(BIN)/whichgpu compare

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

bench: $(STAMP)
	$(BIN)/python -m benchmarks.speed

# Both need ../shared/measurements.
calibrate: $(STAMP)
	$(BIN)/python -W ignore -m benchmarks.calibrate
	$(BIN)/python -W ignore -m benchmarks.calibrate_cpu

accuracy: $(STAMP)
	$(BIN)/python -W ignore -m benchmarks.accuracy

# Where there is no GPU it says so and does nothing.
gpu-check: $(STAMP)
	$(BIN)/python -m benchmarks.borrowed_gpu --minutes 20
	$(BIN)/python -m benchmarks.gpu_section

graphs: $(STAMP)
	$(BIN)/python -m whichgpu.workloads.ship

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || { echo "whichgpu: python venv is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
# timm asks for torchvision, whose wheels of the package index are for CUDA builds of torch: installed beside a CPU build
# it breaks transformers. timm's models do without it.
	$(PIP) install --quiet --constraint constraints.txt --no-deps timm
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
