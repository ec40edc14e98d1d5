# Building what Terraform deploys, and checking it without an account.

GOBIN := $(CURDIR)/$(TOOLS)/go
TFLINT := $(GOBIN)/tflint

.PHONY: build
build: install ## Build the functions' archives and layers into modules/compute/.build
	@$(BIN)/python -m lean_ops.build

.PHONY: test-terraform
test-terraform: install tools $(TFLINT) ## Check the Terraform code without an account: build, schema, tests, plans, scans
	@infra/with-provider $(BIN)/python -m lean_ops.terraform_check

.PHONY: lint-terraform
lint-terraform: tools $(TFLINT) ## Lint the Terraform code and scan it for weaknesses
	terraform fmt -check -recursive -diff
	$(TFLINT) --recursive --config "$(CURDIR)/.tflint.hcl"
	$(TOOLS)/bin/checkov --directory . --config-file .checkov.yaml

.PHONY: plan-guard
plan-guard: install ## Fail if a plan would destroy or replace something that holds data (PLAN=plan.json)
	@test -n "$(PLAN)" || { echo "make: expected PLAN=<output of terraform show -json>, found nothing" >&2; exit 1; }
	@$(BIN)/python -m lean_ops.plan_guard "$(PLAN)"

# The version and the hashes of everything that it is built from are in tools/go.sum.
$(TFLINT): tools/go.mod tools/go.sum
	@command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || { \
	  echo "make: expected Go 1.26 or newer on the PATH, found none; see docs/deploy.md" >&2; exit 1; }
	PATH=$$PATH:/usr/local/go/bin GOBIN=$(GOBIN) go -C tools install github.com/terraform-linters/tflint
	@touch $@

.PHONY: module-pages
module-pages: install ## Write the inputs and outputs of the Terraform modules into their pages
	@$(BIN)/python -m lean_ops.module_pages
