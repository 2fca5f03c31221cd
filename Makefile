# Everything a person runs often. Each line calls a program that works without make as well.
SHELL := /bin/sh
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# which box `make box` makes, and how: make box NAME=try OPTIONS="--suite trixie --born pi"
NAME ?= rehearsal
OPTIONS ?=
FLEET ?= 0

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 20

.PHONY: setup
setup:  ## .venv with the pinned tools; every other target does this first
	@scripts/setup

.PHONY: box
box: setup  ## a bare host to try things on (NAME=..., OPTIONS="--suite trixie --born pi")
	@scripts/box up $(NAME) $(OPTIONS)

.PHONY: rehearse
rehearse: setup  ## the inventory's rehearsal host, from nothing to a served Flask app (FLEET=1: balancer, web hosts, database)
	@FLEET=$(FLEET) scripts/rehearse

.PHONY: test
test: setup  ## unit, template and Molecule tests, as CI runs them (ONLY="unit default" for some)
	@scripts/test $(ONLY)

.PHONY: test-arm
test-arm: setup  ## the profile of a Raspberry Pi on a box of arm64, under emulation
	@scripts/test arm

.PHONY: test-board
test-board: setup  ## the same on a virtual board of arm64: 512 MB, a kernel of its own
	@PYTHONPATH=.ansible/collections:scripts python -m tests.board

.PHONY: lint
lint: setup  ## ansible-lint (profile production), yamllint, ruff, mypy
	ruff check
	ruff format --check
	mypy
	yamllint --strict .
	ANSIBLE_COLLECTIONS_PATH=.ansible/collections ansible-lint --offline

.PHONY: bench
bench: setup  ## how long things take, against a plain shell script doing the same
	@python -m tests.bench

.PHONY: faults
faults: setup  ## a deploy fails, is killed, loses its host at each step, all under load (ONLY="build/fail switch" for some)
	@PYTHONPATH=.ansible/collections python -m tests.faults $(ONLY)

.PHONY: growth
growth: setup  ## how site.yml and deploy.yml grow from one host to eight (OPTIONS="--sizes 1 16 --settings")
	@PYTHONPATH=.ansible/collections:scripts python -m tests.growth $(OPTIONS)

.PHONY: audit
audit: setup  ## a converged box judged by ssh-audit, sslyze, a scan of all ports and Lynis
	@python -m tests.audit

.PHONY: lock
lock: setup  ## pin the requirements anew, from requirements*.in
	@scripts/lock

.PHONY: down
down:  ## remove the boxes, their network, and docker's daemon if we started it
	@scripts/box down --all
	@scripts/docker stop

.PHONY: clean
clean: down  ## down, and everything made in this checkout (generated secrets stay)
	rm -rf .venv .ansible build .mypy_cache .pytest_cache .ruff_cache
