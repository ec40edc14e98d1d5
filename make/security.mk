# Looking for weaknesses: in the infrastructure, the code, the dependencies, the history, the workflows.

.PHONY: fuzz-sources
fuzz-sources: install ## Mutilate 100,000 messages of every codec of sources (FUZZ_MESSAGES, FUZZ_SEED; ten minutes)
	FUZZ_MESSAGES=$${FUZZ_MESSAGES:-100000} $(BIN)/pytest -n 2 -s $(LONG) \
	  tests/unit/intake/test_fuzzed_messages_end_in_an_outcome.py $(PYTEST_ARGUMENTS)

.PHONY: security
security: scan-infrastructure scan-code audit-dependencies scan-secrets audit-workflows ## Scan for weaknesses

.PHONY: scan-infrastructure
scan-infrastructure: tools ## Scan the Terraform code
	$(TOOLS)/bin/checkov --directory . --config-file .checkov.yaml

.PHONY: scan-code
scan-code: tools ## Scan the code of the functions
	$(TOOLS)/bin/bandit --quiet --recursive modules/compute/lambda/ -ll

.PHONY: audit-dependencies
audit-dependencies: install tools ## Look up advisories about locked dependencies (REQUIRE_ADVISORIES=1: or fail)
	$(BIN)/python -m lean_ops.checks.advisories $(if $(REQUIRE_ADVISORIES),--required) requirements.lock requirements-tools.lock requirements-datacontract.lock

.PHONY: scan-secrets
scan-secrets: $(GO_TOOLS)/.installed ## Scan every commit for secrets
	$(GO_TOOLS)/gitleaks git --no-banner --redact --verbose .

.PHONY: scan-staged
scan-staged: $(GO_TOOLS)/.installed ## Scan what is staged for secrets
	$(GO_TOOLS)/gitleaks git --no-banner --redact --verbose --pre-commit --staged .

.PHONY: audit-workflows
audit-workflows: tools ## Audit the workflows for ways in
	$(TOOLS)/bin/zizmor --offline --pedantic --strict-collection --quiet .

.PHONY: lint-workflows
lint-workflows: $(GO_TOOLS)/.installed ## Check the workflows
	$(GO_TOOLS)/actionlint
