# Building what Terraform deploys, and checking it without an account.

TFLINT := $(GO_TOOLS)/tflint

.PHONY: build
build: install ## Build the functions' archives and layers into modules/compute/.build
	@$(BIN)/python -m lean_ops.build

.PHONY: test-terraform
test-terraform: install tools $(TFLINT) ## Check the Terraform code without an account: build, schema, tests, plans, scans
	@infra/with-provider $(BIN)/python -m lean_ops.checks.terraform_check

.PHONY: lint-terraform
lint-terraform: $(TFLINT) ## Check the Terraform code: format, schema, tflint
	terraform fmt -check -recursive -diff
	infra/with-provider $(MAKE) --no-print-directory terraform-validate
	$(TFLINT) --recursive --config "$(CURDIR)/.tflint.hcl"

.PHONY: terraform-validate
terraform-validate:
	terraform validate -no-color
	terraform -chdir=infra/bootstrap validate -no-color

.PHONY: plan-guard
plan-guard: install ## Fail if a plan would destroy or replace something that holds data (PLAN=plan.json)
	@test -n "$(PLAN)" || { echo "make: expected PLAN=<output of terraform show -json>, found nothing" >&2; exit 1; }
	@$(BIN)/python -m lean_ops.checks.plan_guard "$(PLAN)"

# One of the tools of $(GO_TOOLS), by itself, since the others take minutes to build.
$(TFLINT): tools/go.mod tools/go.sum
	@PATH=$$PATH:/usr/local/go/bin; command -v go >/dev/null || { \
	  echo "make: expected Go 1.26 or newer on the PATH, found none: tflint is built with it" >&2; exit 1; }; \
	cd tools && GOBIN=$(CURDIR)/$(GO_TOOLS) go install github.com/terraform-linters/tflint
	@touch $@

.PHONY: module-pages
module-pages: install ## Write the inputs and outputs of the Terraform modules into their pages
	@$(BIN)/python -m lean_ops.checks.module_pages
