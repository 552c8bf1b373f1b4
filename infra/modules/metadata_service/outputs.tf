output "service_url" {
  description = "Address of the metadata service, for jobs in the VPC and laptops in an allowed network."
  value       = "${local.scheme}://${local.host}:${local.metadata_port}"
}

output "ui_url" {
  description = "Address of the UI."
  value       = "${local.scheme}://${local.host}"
}

output "client_security_group_id" {
  description = "Members of this security group may talk to the metadata service."
  value       = local.group_ids["clients"]
}

output "tunnel" {
  description = "Cluster and service to which an operator without a VPN opens a tunnel (docs/how_to/deploy_on_aws.md)."
  value       = { cluster = aws_ecs_cluster.this.name, service = aws_ecs_service.this["ui_static"].name, host = aws_lb.this.dns_name, port = local.metadata_port }
}
