mock_provider "aws" {
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/example" }
  }
}

variables {
  account_id              = "123456789012"
  input_bucket_name       = "example-input"
  datastore_bucket_name   = "example-datastore"
  registry_bucket_name    = "example-registry"
  break_glass_role_arns   = ["arn:aws:iam::123456789012:role/break-glass"]
  registry_retention_days = 30
  replaced_version_days   = 30
  force_destroy           = false
}

run "rendered" {
  command = apply

  assert {
    condition     = alltrue([for key in ["input", "datastore", "registry"] : aws_s3_bucket_versioning.this[key].versioning_configuration[0].status == "Enabled"])
    error_message = "every bucket is versioned"
  }
  assert {
    condition = alltrue([for block in aws_s3_bucket_public_access_block.this :
    block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "every bucket blocks public access in all four ways"
  }
  assert {
    condition = alltrue([for encryption in aws_s3_bucket_server_side_encryption_configuration.this :
    one(encryption.rule).bucket_key_enabled && one(one(encryption.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"])
    error_message = "every bucket encrypts with its KMS key and a bucket key"
  }
  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation])
    error_message = "every key rotates"
  }
  assert {
    condition     = aws_s3_bucket.this["registry"].object_lock_enabled && !aws_s3_bucket.this["datastore"].object_lock_enabled
    error_message = "Object Lock is for the registry alone"
  }
  assert {
    condition     = one(one(aws_s3_bucket_object_lock_configuration.registry.rule).default_retention).days == 30
    error_message = "the registry's retention is the variable's"
  }
  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this["registry"].rule) == 1
    error_message = "the registry forgets no version"
  }
  assert {
    condition     = alltrue([for policy in aws_s3_bucket_policy.this : anytrue([for statement in jsondecode(policy.policy).Statement : statement.Sid == "TlsOnly"])])
    error_message = "every bucket denies requests without TLS"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    account_id              = "1234"
    input_bucket_name       = "Rows"
    datastore_bucket_name   = "a"
    registry_bucket_name    = "adapters_"
    break_glass_role_arns   = ["arn:aws:iam::123456789012:role/*"]
    registry_retention_days = 0
    replaced_version_days   = 1.5
  }

  expect_failures = [
    var.account_id,
    var.input_bucket_name,
    var.datastore_bucket_name,
    var.registry_bucket_name,
    var.break_glass_role_arns,
    var.registry_retention_days,
    var.replaced_version_days,
  ]
}
