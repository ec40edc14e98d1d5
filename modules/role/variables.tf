variable "name" {
  description = "Name of the role."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,63}$", var.name))
    error_message = "name: expected 2 to 64 lower-case letters, digits and hyphens (limit of IAM), found \"${var.name}\"."
  }
}

variable "description" {
  description = "What the role is for."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.description) > 0
    error_message = "description: expected a sentence, found nothing."
  }
}

variable "service" {
  description = "AWS service that takes the role, such as firehose.amazonaws.com; null where an outsider takes it."
  type        = string
  default     = null

  validation {
    condition     = (var.service == null) != (var.outsider == null) && endswith(coalesce(var.service, ".amazonaws.com"), ".amazonaws.com")
    error_message = "service: expected a service principal such as firehose.amazonaws.com, or an outsider and no service; found \"${coalesce(var.service, "null")}\"."
  }
}

variable "outsider" {
  description = "Principal of another account that takes the role, by the external id agreed with it; null for none."
  type        = object({ principal_arn = string, external_id = string })
  default     = null

  validation {
    condition     = var.outsider == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(user|role)/[^*]+$", var.outsider.principal_arn))
    error_message = "outsider: expected principal_arn to name one user or role, found \"${try(var.outsider.principal_arn, "null")}\"."
  }

  validation {
    condition = var.outsider == null || (
      can(regex("^[A-Za-z0-9_+=,.@:/-]{2,}$", var.outsider.external_id)) && length(try(var.outsider.external_id, "")) <= 1224
    )
    error_message = "outsider: expected external_id to have 2 to 1,224 characters that STS takes."
  }
}

variable "source_arn" {
  description = "ARN of what the service takes the role for, where the service says it; null for anything of this account."
  type        = string
  default     = null

  validation {
    condition     = var.source_arn == null || can(regex("^arn:[a-z-]+:[a-z-]+:[a-z0-9-]+:[0-9]{12}:.+$", var.source_arn))
    error_message = "source_arn: expected an ARN with region and account or null, found \"${coalesce(var.source_arn, "null")}\"."
  }
}

variable "policy" {
  description = "Policy file of infra/policies, without its extension."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists("${path.module}/../../infra/policies/${var.policy}.json")
    error_message = "policy: expected the name of a file in infra/policies, found \"${var.policy}\"."
  }
}

variable "base" {
  description = "Policy file of infra/policies with what every role of its kind may do, beside its own; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.base == null || fileexists("${path.module}/../../infra/policies/${coalesce(var.base, "none")}.json")
    error_message = "base: expected the name of a file in infra/policies or null, found \"${coalesce(var.base, "null")}\"."
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

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds every role; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: expected the ARN of an IAM policy or null."
  }
}
