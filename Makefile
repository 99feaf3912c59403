# make demo         install vaelab and train on the embedded digits
# make test         run the quick tests
# make test-slow    run the slow tests
# make test-oldest  run the quick tests with the oldest versions that pyproject.toml accepts
# make check        check style (ruff) and types (pyright)
# make docs         run the notebooks and build the site: open site/index.html in a browser
PYTHON ?= python3
PARALLEL = -n logical --dist worksteal
QUICK = $(PARALLEL) -m "not slow and not gpu"
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo install test test-oldest test-slow check docs clean

demo: .venv/core.installed
	.venv/bin/python train.py model=conv loss=bce

install: .venv/dev.installed

test: .venv/dev.installed
	.venv/bin/python -m pytest $(QUICK)

test-oldest: .venv-oldest/dev.installed
	.venv-oldest/bin/python -m pytest $(QUICK)

test-slow: .venv/dev.installed
	.venv/bin/python -m pytest $(PARALLEL) -m "slow and not gpu"

check: .venv/dev.installed
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/pyright

docs: .venv/docs.installed
	VAELAB_RUN_NOTEBOOKS=true NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet -f docs/site/mkdocs.yml

clean:
	rm -rf .venv .venv-oldest site

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e .
	touch $@

.venv/dev.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[dev]'
	touch $@ .venv/core.installed .venv/docs.installed

.venv/docs.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[docs]'
	touch $@

.venv-oldest/dev.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[dev]'
	touch $@
