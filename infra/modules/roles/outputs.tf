output "arns" {
  description = "ARN of each role, by its duty: submitter, job, registrar, server, ecr-push."
  value       = { for role, resource in local.roles : role => resource.arn }
}
