# Two commands do all their own set-up: `make demo` and `make test`. Nothing but Python >= 3.11 and make is asked of the
# machine. Another Python: `make test PYTHON=python3.12` (its environment is kept apart).
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifeq ($(VERSION),)
$(error no $(PYTHON) on this machine; say which one: make PYTHON=python3.12)
endif
# The first Python asked for gets .venv; others stand beside it.
VENV ?= $(if $(filter command,$(origin PYTHON)),.venv-$(VERSION),.venv)
RUN := $(VENV)/bin/python
# Compilation is most of the tests, and each runs on one core: two processes, a file on one of them.
WORKERS ?= -n 2 --dist loadfile
DEMO ?= runs/demo

.PHONY: demo test test-all test-hosts test-plans compilers plans lint types check clean
.DELETE_ON_ERROR:

$(VENV)/ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxcl needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/ready
	$(RUN) main.py sweep --config=configs/digits.py --workdir=$(DEMO)

test: $(VENV)/ready
	$(RUN) -m pytest -q $(WORKERS)

test-all: $(VENV)/ready
	$(RUN) -m pytest -q $(WORKERS) --slow

test-hosts: $(VENV)/ready
	$(RUN) -m pytest -q --hosts tests/programs/test_multihost.py tests/programs/test_buckets.py

# What `plan` compiles for TPUs and GPUs, with their compilers in an environment of their own: beside libtpu, jax would
# look for a TPU.
test-plans: $(VENV)-plan/ready
	$(VENV)-plan/bin/python -m pytest -q --slow tests/programs/test_plan.py

compilers: $(VENV)-plan/ready

$(VENV)-plan/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-plan
	$(VENV)-plan/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-plan/bin/python -m pip install --quiet --editable '.[dev,plan,plan-gpu]'
	touch $@

# docs/plan.md anew; an hour or two on two cores.
PLANS ?= docs/plans
TOPOLOGIES ?= v5e:2x4 v5e:8x8 v5e:16x16 v4:4x4x4 v5p:4x4x4 v6e:8x8
plans: $(VENV)-plan/ready
	for topology in $(TOPOLOGIES); do \
	  for run in cifar10.py:views,4096 cifar10.py:views,65536 imagenet100.py,4096 imagenet100.py,65536; do \
	    $(VENV)-plan/bin/python main.py plan --config=configs/$${run%,*} --config.train.batch_size=$${run#*,} \
	      --topology=$$topology --workdir=$(PLANS) || exit 1; \
	  done; \
	done
	mv $(PLANS)/plan.md docs/plan.md

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/ready
	$(RUN) -m pyright --pythonpath $(RUN)

check: lint types test-all test-hosts test-plans

clean:
	rm -rf .venv .venv-* *.egg-info .pytest_cache .ruff_cache
