terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    # tflint-ignore: terraform_unused_required_providers # its resources are in the modules that it calls, and tests mock it here
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.57"
    }
  }
}
