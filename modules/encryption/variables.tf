variable "name_prefix" {
  description = "Start of every resource name: <project>-<env>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix: expected lower-case letters, digits and hyphens, found \"${var.name_prefix}\"."
  }
}

variable "policy_values" {
  description = "What the placeholders of infra/policies stand for."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(["partition", "region", "account", "name_prefix"], keys(var.policy_values))) == 0
    error_message = "policy_values: expected at least partition, region, account and name_prefix, found ${join(", ", keys(var.policy_values))}."
  }
}
