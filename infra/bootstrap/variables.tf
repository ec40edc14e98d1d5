variable "project" {
  description = "First part of every resource name."
  type        = string
  default     = "lean-ops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.project)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.project))
    error_message = "project: expected 3 to 20 lower-case letters, digits and hyphens, starting with a letter and with no prefix that S3 keeps for itself (xn--, sthree-, amzn-s3-demo-); found \"${var.project}\"."
  }
}

variable "environment" {
  description = "Environment that these roles and this state are for."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment: expected dev, staging or prod, found \"${var.environment}\"."
  }

  validation {
    condition     = contains(["default", var.environment], terraform.workspace)
    error_message = "environment: expected the workspace \"default\" or \"${var.environment}\", found \"${terraform.workspace}\", whose state is another environment's."
  }
}

variable "region" {
  description = "AWS region of the state and of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: expected an AWS region such as eu-west-1, found \"${var.region}\"."
  }
}

variable "github_repository" {
  description = "Repository whose workflows take the roles: owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository: expected owner/name without a wildcard, found \"${var.github_repository}\"."
  }
}

variable "create_oidc_provider" {
  description = "Whether to make the account's GitHub identity provider; false where another environment of the account has made it."
  type        = bool
  default     = true
}
