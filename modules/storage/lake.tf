resource "aws_s3_bucket" "lake" {
  # checkov:skip=CKV_AWS_18:Reads and writes are recorded by CloudTrail data events where an account wants them; server access logs need a second bucket that nobody reads
  # checkov:skip=CKV_AWS_144:Tables are rebuilt from RAW and RAW is versioned; a replica of another region would break Iceberg's absolute paths
  # checkov:skip=CKV2_AWS_62:Nothing reacts to single objects; the state machine asks the tables
  bucket = var.lake_bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.bucket

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.environment.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.bucket
  policy = templatefile("${path.module}/../../infra/policies/lake-bucket.json", var.environment.policy_values)

  depends_on = [aws_s3_bucket_public_access_block.lake]
}

# Current objects of tables never expire here: Iceberg alone knows which files a table needs. What a commit
# or maintenance has deleted stays as a previous version, for two weeks: every commit writes its metadata anew.
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.bucket

  rule {
    id     = "delivery-errors"
    status = "Enabled"

    filter {
      prefix = "delivery-errors/"
    }

    expiration {
      days = var.delivery_error_retention_days
    }
  }

  rule {
    id     = "dead-letters"
    status = "Enabled"

    filter {
      prefix = "dead-letters/"
    }

    expiration {
      days = var.archive_retention_days
    }
  }

  # Copies that anybody can have again, of rows that may be personal: they are gone soon, old versions too.
  rule {
    id     = "query-results"
    status = "Enabled"

    filter {
      prefix = "athena-results/"
    }

    expiration {
      days = var.query_result_retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "deleted-objects"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 14
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.lake]
}

# Contracts are objects, so that one can be registered without deploying code.
resource "aws_s3_object" "contract" {
  for_each = local.contracts

  bucket       = aws_s3_bucket.lake.bucket
  key          = "contracts/${each.key}.yaml"
  source       = each.value
  source_hash  = filemd5(each.value)
  content_type = "application/yaml"

  depends_on = [
    aws_s3_bucket_ownership_controls.lake,
    aws_s3_bucket_policy.lake,
    aws_s3_bucket_public_access_block.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake,
    aws_s3_bucket_versioning.lake,
  ]
}
