output "metaflow_config" {
  description = "The whole client set-up: `terraform output -raw metaflow_config > $METAFLOW_HOME/config.json`."
  value       = jsonencode(local.metaflow_config)
}

output "input_uri" {
  description = "Where training data goes: data.source of a run begins with it."
  value       = "s3://${module.buckets.input.name}"
}

output "registry_uri" {
  description = "registry.uri of a run's configuration."
  value       = local.registry_uri
}

output "role_arns" {
  description = "ARN of each role, by its duty: submitter, job, registrar, server, ecr-push."
  value       = module.roles.arns
}

output "ecr_repository_url" {
  description = "Where the workflow build-and-push-ecr pushes the training image."
  value       = module.image_registry.repository_url
}

output "job_security_group_ids" {
  description = "Security groups of a GPU machine."
  value       = [module.batch_gpu.security_group_id, module.metadata_service.client_security_group_id]
}

output "tunnel" {
  description = "Where an operator without a VPN opens a tunnel to the metadata service."
  value       = module.metadata_service.tunnel
}

output "parameter_names" {
  description = "SSM parameters that hold these outputs for programs."
  value       = module.parameters.names
}
