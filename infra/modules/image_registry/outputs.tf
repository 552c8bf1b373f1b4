output "repository_arn" {
  description = "ARN of the repository."
  value       = aws_ecr_repository.training.arn
}

output "repository_url" {
  description = "Address to push to, without a tag. An image of a job is this, @ and the digest."
  value       = aws_ecr_repository.training.repository_url
}
