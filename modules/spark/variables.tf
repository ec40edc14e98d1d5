variable "environment" {
  description = "The environment that this module is part of: start of its names, its key, the boundary of its roles (null for none), days that its logs are kept, and what the placeholders of infra/policies stand for."
  type = object({
    name_prefix              = string
    kms_key_arn              = string
    permissions_boundary_arn = string
    log_retention_days       = number
    policy_values            = map(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.environment.name_prefix))
    error_message = "environment.name_prefix: expected lower-case letters, digits and hyphens, found \"${var.environment.name_prefix}\"."
  }
}

variable "lake_bucket" {
  description = "Bucket that carries the jobs' artefacts (under artifacts/spark/) to the application."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.lake_bucket) > 0
    error_message = "lake_bucket: expected the name of a bucket, found nothing."
  }
}

variable "maximum_vcpus" {
  description = "Vcpus that all jobs of the environment have at once at most; the account's quota is 16 until it is raised."
  type        = number
  nullable    = false

  validation {
    condition     = var.maximum_vcpus >= 8 && var.maximum_vcpus <= 4000 && floor(var.maximum_vcpus / 4) * 4 == var.maximum_vcpus
    error_message = "maximum_vcpus: expected a multiple of 4, 8 to 4000: a driver and executors of 4 vcpus each; found ${var.maximum_vcpus}."
  }
}

variable "release" {
  description = "Release of EMR that the jobs run on, of the catalogue."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^emr-[a-z0-9.-]+$", var.release))
    error_message = "release: expected a release label such as emr-spark-8.1.0, found \"${var.release}\"."
  }
}

variable "architecture" {
  description = "CPU of the workers, which is the functions'."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture: expected ARM64 or X86_64, found \"${var.architecture}\"."
  }
}

variable "runtime" {
  description = "Runtime of the functions, such as python3.13: the interpreter that the archive's libraries are for."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^python3[.][0-9]+$", var.runtime))
    error_message = "runtime: expected python3 and a minor version, found \"${var.runtime}\"."
  }
}

variable "settings" {
  description = "Settings of Spark for every job, by name."
  type        = map(string)
  nullable    = false

  validation {
    condition     = !contains(keys(var.settings), "spark.master") && alltrue([for value in values(var.settings) : can(regex("^[^ ]+$", value))])
    error_message = "settings: expected values without spaces, and no spark.master, which the service refuses."
  }
}

variable "jobs" {
  description = "Environment of the driver by job: curation and semantic."
  type        = map(map(string))
  nullable    = false

  validation {
    condition     = toset(keys(var.jobs)) == toset(["curation", "semantic"])
    error_message = "jobs: expected curation and semantic, found ${join(", ", keys(var.jobs))}."
  }

  validation {
    condition     = alltrue([for value in flatten([for job in values(var.jobs) : values(job)]) : can(regex("^[^ ]+$", value))])
    error_message = "jobs: expected values without spaces: they are words of a command line."
  }
}

variable "archive" {
  description = "What `make build` made for the jobs: folder, file name (which says what is in it) and hash."
  type        = object({ directory = string, name = string, sha256 = string })
  nullable    = false

  validation {
    condition     = can(regex("^spark-[0-9a-f]+[.]zip$", var.archive.name))
    error_message = "archive.name: expected spark-<hash>.zip, found \"${var.archive.name}\"."
  }
}
