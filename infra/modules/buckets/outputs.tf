output "input" {
  description = "The input bucket: name, arn, kms_key_arn."
  value       = { name = aws_s3_bucket.this["input"].id, arn = local.arns.input, kms_key_arn = aws_kms_key.this["input"].arn }
}

output "datastore" {
  description = "The datastore bucket: name, arn, kms_key_arn."
  value       = { name = aws_s3_bucket.this["datastore"].id, arn = local.arns.datastore, kms_key_arn = aws_kms_key.this["datastore"].arn }
}

output "registry" {
  description = "The registry bucket: name, arn, kms_key_arn."
  value       = { name = aws_s3_bucket.this["registry"].id, arn = local.arns.registry, kms_key_arn = aws_kms_key.this["registry"].arn }
}
