variable "name_prefix" {
  description = "Start of every resource name: <project>-<env>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix: expected lower-case letters, digits and hyphens, found \"${var.name_prefix}\"."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts what this module stores."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: expected the ARN of a KMS key, found \"${var.kms_key_arn}\"."
  }
}
