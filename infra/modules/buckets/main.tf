# Three buckets, each with its own key: what a job may read, what a run writes, what was accepted.

locals {
  bucket_names = {
    input     = var.input_bucket_name
    datastore = var.datastore_bucket_name
    registry  = var.registry_bucket_name
  }

  # Written out, not read from the resources: so the plan shows the policies before anything is made.
  arns = { for key, name in local.bucket_names : key => "arn:aws:s3:::${name}" }

  tls_only = {
    for key, arn in local.arns : key => {
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [arn, "${arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }

  registry_rules = [
    {
      # The manifest is the commit point of a version: written once, by a conditional request, for ever.
      # The parts of a multipart upload carry no If-None-Match, hence ObjectCreationOperation.
      Sid       = "ManifestIsCreateOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "${local.arns.registry}/*/manifest.json"
      Condition = {
        Null = { "s3:if-none-match" = "true" }
        Bool = { "s3:ObjectCreationOperation" = "true" }
      }
    },
    {
      # `If-None-Match: *` succeeds over a delete marker, so a label that could be deleted could be reused.
      Sid       = "NothingIsDeleted"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:BypassGovernanceRetention",
        "s3:PutObjectRetention",
      ]
      Resource  = "${local.arns.registry}/*"
      Condition = { ArnNotEquals = { "aws:PrincipalArn" = sort(var.break_glass_role_arns) } }
    },
  ]

  bucket_rules = {
    for key in keys(local.bucket_names) :
    key => concat([local.tls_only[key]], [for rule in local.registry_rules : rule if key == "registry"])
  }
}

resource "aws_kms_key" "this" {
  for_each = local.bucket_names

  description             = "Objects of the bucket ${each.value}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  # Use is granted by the roles' own policies; this is AWS's default statement, said aloud.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecidesByIam"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_kms_alias" "this" {
  for_each = local.bucket_names

  name          = "alias/${each.value}"
  target_key_id = aws_kms_key.this[each.key].key_id
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Access logs need a fourth bucket; CloudTrail data events answer the same question per account.
  #checkov:skip=CKV_AWS_144:A copy in a second region doubles the cost; versioning and Object Lock guard against mistakes.
  #checkov:skip=CKV2_AWS_62:Nothing listens to bucket events.
  for_each = local.bucket_names

  bucket              = each.value
  object_lock_enabled = each.key == "registry"
  force_destroy       = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.bucket_names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.bucket_names

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.bucket_names

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.bucket_names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    # One data key per bucket and hour instead of one KMS request per object.
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this[each.key].arn
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.bucket_names

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bucket_rules[each.key] })

  # S3 answers OperationAborted when policy, public access block and versioning change at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.this, aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_object_lock_configuration" "registry" {
  bucket = aws_s3_bucket.this["registry"].id

  rule {
    default_retention {
      # Governance, not compliance: break-glass can still remove what must not have been written.
      mode = "GOVERNANCE"
      days = var.registry_retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:The first rule does; checkov looks at the dynamic one.
  for_each = local.bucket_names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "abandoned-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # The registry keeps every version of every object; the other two forget what was replaced.
  dynamic "rule" {
    for_each = each.key == "registry" ? [] : ["replaced-versions"]

    content {
      id     = rule.value
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = var.replaced_version_days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
