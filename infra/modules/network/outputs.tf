output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "One private subnet per zone, in the order of zones."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
}
