terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.57"
    }
  }

  # Everything else comes from environments/<env>.s3.tfbackend; the bucket's name from infra/bootstrap.
  backend "s3" {}
}
