# Building what Terraform deploys, and checking it without an account.

TFLINT_VERSION := v0.61.0
GOBIN := $(CURDIR)/$(TOOLS)/go

.PHONY: build
build: install ## Build the functions' archives and layers into modules/compute/.build
	@$(BIN)/python -m lean_ops.build

.PHONY: test-terraform
test-terraform: install tools ## Check the Terraform code: format, schema, tests, plans of every environment
	@infra/with-provider $(MAKE) --no-print-directory terraform-format terraform-validate terraform-tests

.PHONY: terraform-format
terraform-format:
	terraform fmt -check -recursive -diff

.PHONY: terraform-validate
terraform-validate:
	terraform validate -no-color >/dev/null || terraform validate
	terraform -chdir=infra/bootstrap validate -no-color >/dev/null || terraform -chdir=infra/bootstrap validate

.PHONY: terraform-tests
terraform-tests:
	terraform test
	$(BIN)/pytest -q -s tests/terraform

.PHONY: plan-guard
plan-guard: install ## Fail if a plan would destroy or replace something that holds data (PLAN=plan.json)
	@test -n "$(PLAN)" || { echo "make: expected PLAN=<output of terraform show -json>, found nothing" >&2; exit 1; }
	@$(BIN)/python -m lean_ops.plan_guard "$(PLAN)"

.PHONY: lint-terraform
lint-terraform: tools $(GOBIN)/tflint ## Lint the Terraform code and scan it for weaknesses
	$(GOBIN)/tflint --recursive --minimum-failure-severity=warning --config "$(CURDIR)/.tflint.hcl"
	$(TOOLS)/bin/checkov --directory . --config-file .checkov.yaml

$(GOBIN)/tflint:
	PATH=$$PATH:/usr/local/go/bin GOBIN=$(GOBIN) go install github.com/terraform-linters/tflint@$(TFLINT_VERSION)
