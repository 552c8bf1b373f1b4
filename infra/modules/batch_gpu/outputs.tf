output "job_queue_arn" {
  description = "The queue that the flow submits to."
  value       = aws_batch_job_queue.gpu.arn
}

output "security_group_id" {
  description = "Security group of the GPU machines."
  value       = aws_security_group.instance.id
}
