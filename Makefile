# Every target makes the virtual environment it needs; a second run finds it there.
.DELETE_ON_ERROR:
.PHONY: demo stack test check format bench bench-gpu
PYTHON ?= python3
BIN := .venv/bin
SOURCE ?= sample:

demo: .venv/installed
	$(BIN)/python -m flows.demo --source '$(SOURCE)' $(if $(ARRIVALS),--arrivals '$(ARRIVALS)')

stack: .venv/installed
	$(BIN)/python -m flows.stack $(STACK)

test: .venv/installed
	$(BIN)/python -m pytest -n 4

bench: .venv/installed
	$(BIN)/python -m tests.benchmarks

# Where there is a GPU; without one it only shows, at toy size, that it runs.
bench-gpu: .venv/installed
	$(BIN)/python -m tests.benchmarks gpu

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# pip 25.3 is the first that knows --build-constraint, by which the project is built with the pinned setuptools.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet 'pip>=25.3'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt --editable '.[onnx]' --group pipeline --group flows --group dev
	touch $@
