# Deploying an environment: make deploy ENV=staging STATE_BUCKET=<bucket of infra/bootstrap> (docs/release.md).

PLAN_FILE := .terraform/$(ENV)

.PHONY: environment
environment:
	@test -f "environments/$(ENV).tfvars" || { \
	  echo "make: expected ENV=dev, staging or prod, found '$(ENV)'" >&2; exit 1; }

.PHONY: terraform-init
terraform-init: environment
	@test -n "$(STATE_BUCKET)" || { \
	  echo "make: expected STATE_BUCKET=<state_bucket of infra/bootstrap>, found nothing" >&2; exit 1; }
	terraform init -input=false -reconfigure -lockfile=readonly \
	  -backend-config=environments/$(ENV).s3.tfbackend -backend-config=bucket=$(STATE_BUCKET)

.PHONY: plan
plan: terraform-init ## Plan an environment and refuse to lose what holds data (ENV=, STATE_BUCKET=)
	terraform plan -input=false -lock-timeout=5m -var-file=environments/$(ENV).tfvars -out=$(PLAN_FILE).tfplan
	terraform show -no-color $(PLAN_FILE).tfplan > $(PLAN_FILE).txt
	terraform show -json $(PLAN_FILE).tfplan > $(PLAN_FILE).json
	@$(MAKE) --no-print-directory plan-guard PLAN=$(PLAN_FILE).json

.PHONY: comment-plan
comment-plan: install environment ## Post the plan on a pull request (ENV=, PULL_REQUEST=)
	@$(BIN)/python -m lean_ops.checks.plan_comment $(ENV) "$(PULL_REQUEST)" $(PLAN_FILE).txt

.PHONY: comment-contracts
comment-contracts: install environment ## Post what changed contracts would do to the rows that are there (ENV=, PULL_REQUEST=)
	@$(BIN)/python -m lean_ops.checks.contract_comment $(ENV) "$(PULL_REQUEST)"

.PHONY: deploy
deploy: plan ## Apply what was just planned (ENV=, STATE_BUCKET=)
	terraform apply -input=false -lock-timeout=5m $(PLAN_FILE).tfplan

UNGUARDED := .terraform/destroy

.PHONY: destroy
destroy: install environment ## Destroy dev or staging with all that it stores, after two questions (ENV=, STATE_BUCKET=)
	@test -n "$(STATE_BUCKET)" || { \
	  echo "make: expected STATE_BUCKET=<state_bucket of infra/bootstrap>, found nothing" >&2; exit 1; }
	@$(BIN)/python -m lean_ops.checks.unguarded $(ENV) $(UNGUARDED)
	terraform -chdir=$(UNGUARDED) init -input=false -reconfigure -lockfile=readonly \
	  -backend-config=environments/$(ENV).s3.tfbackend -backend-config=bucket=$(STATE_BUCKET)
	@echo "First the services' own guards are taken off (a bucket may go with what is in it) ..."
	TF_VAR_build_directory=$(CURDIR)/modules/compute/.build \
	  terraform -chdir=$(UNGUARDED) apply -var-file=environments/$(ENV).tfvars
	@echo "... then everything of $(ENV) goes, with every event that it holds."
	TF_VAR_build_directory=$(CURDIR)/modules/compute/.build \
	  terraform -chdir=$(UNGUARDED) destroy -var-file=environments/$(ENV).tfvars
	rm -rf $(UNGUARDED)

.PHONY: smoke
smoke: install environment ## Check a deployed environment, and run its pipeline once (ENV=)
	$(BIN)/lean-ops doctor --env $(ENV)
	$(BIN)/lean-ops run --env $(ENV)

.PHONY: sbom
sbom: install tools ## List the packages inside the built layers, as CycloneDX
	@$(BIN)/python -m lean_ops.build.provenance sbom

.PHONY: verify-build
verify-build: install ## Compare the archives with their manifest (REPOSITORY=owner/name: and with their attestations)
	@$(BIN)/python -m lean_ops.build.provenance verify $(if $(REPOSITORY),--repository "$(REPOSITORY)")
