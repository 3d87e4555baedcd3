# UniVS: `make help` lists what can be made.
#   PYTHON=python3.12   the Python to make the environment with     VENV=path   the environment (.venv)
#   TORCH_SPEC="torch==2.6.0 torchvision==0.21.0"   another PyTorch  (more: tools/install.py --help)

VENV ?= .venv
WORKERS ?= 2
export VENV

# The first Python of a version that was tested; python3 stands in for the message where there is none.
FITS = import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	"$$p" -c "$(FITS)" >/dev/null 2>&1 && { echo "$$p"; exit; }; done; echo python3)
RUN = "$(VENV)/bin/python"

.PHONY: help demo test lint format bench test-gpu train-mini install lock clean clean-cache

help:
	@echo "make demo        install what is needed, then segment the bundled clip"
	@echo "make test        all tests on the CPU          make lint        ruff: rules and formatting"
	@echo "make bench       speed and memory on a video   make test-gpu    the tests on a GPU"
	@echo "make train-mini  train the embedded model      make install     only make the environment"
	@echo "make format      format the code               make lock        write the lock files anew"
	@echo "make clean       remove what was made here     make clean-cache remove the packages all clones share"

install:
	@command -v "$(PYTHON)" >/dev/null || { echo "UniVS needs Python 3.10 to 3.13, and no $(PYTHON) is found; install one, or name it: make $(MAKECMDGOALS) PYTHON=path" >&2; exit 2; }
	@"$(PYTHON)" tools/install.py

demo: install
	@$(RUN) tools/demo_bundled.py

test: install
	@OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile $(TESTS)

test-gpu: install
	@if $(RUN) -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; \
	then $(RUN) -m pytest -m gpu $(TESTS) && \
		UNIVS_TEST_DEVICE=cuda $(RUN) -m pytest $$(find tests -name 'test_parity*.py'); \
	else echo "Skipped: PyTorch sees no CUDA GPU on this machine."; fi

lint: install
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

format: install
	@$(RUN) -m ruff format .

bench: install
	@$(RUN) benchmarks/video.py --model mini --task vos --objects 1 --frames 40 --size 480x854 --json

train-mini: install
	@$(RUN) -m pip install --quiet --no-deps --require-hashes -r requirements/lock-train.txt
	@$(RUN) tools/train_mini.py

# Needs uv on the PATH.
lock:
	@"$(PYTHON)" tools/lock_requirements.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist *.egg-info output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-cache:
	@"$(PYTHON)" tools/install.py --clear-cache
