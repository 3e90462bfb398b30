# What a person or CI does with this project; each target can be interrupted and called again.
.DEFAULT_GOAL := help
.PHONY: help venv up demo test manifests lint docs status stop clean
APPROVE ?=

help: ## says what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## makes .venv what uv.lock says
	@sandbox/venv.sh

up: venv ## brings up a Kubernetes, a bucket and an Airflow on this machine, for this checkout only
	@.venv/bin/python -m sandbox up

demo: up ## refreshes a small model for real; APPROVE=yes answers the approval itself
	@.venv/bin/python -m sandbox demo $(if $(filter yes,$(APPROVE)),--approve)

test: up ## runs every test, the real runs on the sandbox's cluster included
	.venv/bin/pytest tests --ignore=tests/cluster
	.venv/bin/pytest tests/cluster --numprocesses=4

manifests: venv ## renders what goes into a cluster, Longhorn included, and checks it
	.venv/bin/pytest tests/manifests

lint: venv ## ruff, mypy --strict, and whether generated files are current
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python docs/generate.py --check

docs: venv ## writes the generated files: reference pages, JSON schema, requirements.txt
	.venv/bin/python docs/generate.py

status: venv ## says which of the sandbox's programs run
	@.venv/bin/python -m sandbox status

stop: venv ## ends all that this checkout started, and nothing else
	@.venv/bin/python -m sandbox stop

clean: venv ## stops, and removes what was written for this checkout; the shared cache stays
	@.venv/bin/python -m sandbox clean
	@rm -rf .venv dist
