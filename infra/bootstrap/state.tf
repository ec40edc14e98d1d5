resource "aws_s3_bucket" "state" {
  # checkov:skip=CKV_AWS_18:CloudTrail records who reads and writes the state; server access logs need another bucket
  # checkov:skip=CKV_AWS_144:The state is rebuilt by terraform import; its versions guard against mistakes
  # checkov:skip=CKV_AWS_145:S3's own key lets a person read the state when the environment's key is what is broken
  # checkov:skip=CKV2_AWS_61:Every version of the state is kept
  # checkov:skip=CKV2_AWS_62:Nothing reacts to a change of the state
  bucket = "${local.name_prefix}-terraform-state-${local.account}"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.bucket
  policy = templatefile("${local.policies}/lake-bucket.json", merge(local.policy_values, { lake_bucket = aws_s3_bucket.state.bucket }))

  depends_on = [aws_s3_bucket_public_access_block.state]
}

# Terraform's S3 backend locks with a file of its own (use_lockfile); the table serves versions that do not.
resource "aws_dynamodb_table" "locks" {
  # checkov:skip=CKV_AWS_119:A lock holds who runs Terraform since when, nothing of the state
  name                        = "${local.name_prefix}-terraform-locks"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "LockID"
  deletion_protection_enabled = true

  attribute {
    name = "LockID"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true
  }
}
