# make demo: set up and run the paired demo. make test: set up and pass every test.
# make docs: build the documentation site in docs/_build/index.html.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(abspath constraints.txt)

.PHONY: demo docs test quick coverage soak check clean

$(VENV)/package: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/ready: $(VENV)/package
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/viceversa features --all --to $(VENV)/features || \
		echo "warning: without these networks the tests of FID, KID and LPIPS are skipped"
	npm pack --silent --ignore-scripts --fetch-retries 0 --fetch-timeout 60000 \
		--pack-destination $(VENV) "$$($(BIN)/python -c \
		'from viceversa.export.onnxruntime_web import PACKAGE; print(PACKAGE)')" || \
		echo "warning: without onnxruntime-web the tests of pages without a server are skipped"
	touch $@

demo: $(VENV)/package
	$(BIN)/viceversa demo

$(VENV)/docs: $(VENV)/package
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

docs: $(VENV)/docs
	$(BIN)/python -m sphinx -W -E --keep-going --quiet docs docs/_build
	@echo "open docs/_build/index.html"

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not soak"

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"

coverage: $(VENV)/ready
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not soak"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

soak: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal --timeout 3600 -m soak
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/facades.py ../shared/data/facades
	$(BIN)/python benchmarks/precision.py ../shared/data/facades
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/check.py
	$(BIN)/python benchmarks/loading.py ../shared/data/facades
	$(BIN)/python benchmarks/loading.py ../shared/data/facades --side 512
	$(BIN)/python benchmarks/norms.py
	GOMP_SPINCOUNT=1000 $(BIN)/python benchmarks/runtimes.py
	$(BIN)/python benchmarks/validation.py
	$(BIN)/python benchmarks/health.py --demos --facades ../shared/data/facades \
		--horse2zebra ../shared/data/horse2zebra
	$(BIN)/python benchmarks/evaluation.py ../shared/data/facades
	$(BIN)/python benchmarks/ensemble.py ../shared/data/facades
	$(BIN)/python benchmarks/misalignment.py ../shared/data/facades
	$(BIN)/python benchmarks/recipe_speed.py
	$(BIN)/python benchmarks/recipe_speed.py --recipes pix2pix pix2pix-hd reggan
	$(BIN)/python benchmarks/quality.py pix2pix ../shared/data/facades --direction ba \
		--recipes pix2pix pix2pix-hd
	$(BIN)/python benchmarks/quality.py cyclegan ../shared/data/horse2zebra \
		--recipes cyclegan cut fastcut
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/serving_soak.py
	$(BIN)/python benchmarks/safety.py
	$(BIN)/python benchmarks/reliability.py

clean:
	rm -rf $(VENV) docs/_build .coverage* .pytest_cache .mypy_cache .ruff_cache
