variable "name" {
  description = "Prefix of every role's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name is \"${var.name}\". Use 3-24 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "account_id" {
  description = "AWS account of the roles."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is \"${var.account_id}\". Use the 12 digits of the account."
  }
}

variable "region" {
  description = "AWS region of the job queue, e.g. eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "region is \"${var.region}\". Use a region's code, e.g. eu-central-1."
  }
}

variable "job_queue_arn" {
  description = "The queue that submitter may submit to."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:batch:[a-z0-9-]+:[0-9]{12}:job-queue/[^*?]+$", var.job_queue_arn))
    error_message = "job_queue_arn is \"${var.job_queue_arn}\". Give the ARN of one job queue."
  }
}

variable "repository_arn" {
  description = "The repository that ecr-push may push to."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:ecr:[a-z0-9-]+:[0-9]{12}:repository/[^*?]+$", var.repository_arn))
    error_message = "repository_arn is \"${var.repository_arn}\". Give the ARN of one repository."
  }
}

variable "input" {
  description = "Training data, read by submitter and job: bucket_arn, kms_key_arn, prefix (empty: the whole bucket)."
  type = object({
    bucket_arn  = string
    kms_key_arn = string
    prefix      = string
  })

  validation {
    condition     = can(regex("^arn:aws:s3:::[a-z0-9-]+$", var.input.bucket_arn)) && can(regex("^arn:aws:kms:", var.input.kms_key_arn)) && can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.input.prefix))
    error_message = "input is ${jsonencode(var.input)}. Give the ARNs of a bucket and of its KMS key, and a prefix without a slash at its ends or a wildcard."
  }
}

variable "datastore" {
  description = "Metaflow's datastore, read and written by submitter and job: bucket_arn, kms_key_arn, prefix (empty: the whole bucket)."
  type = object({
    bucket_arn  = string
    kms_key_arn = string
    prefix      = string
  })

  validation {
    condition     = can(regex("^arn:aws:s3:::[a-z0-9-]+$", var.datastore.bucket_arn)) && can(regex("^arn:aws:kms:", var.datastore.kms_key_arn)) && can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.datastore.prefix))
    error_message = "datastore is ${jsonencode(var.datastore)}. Give the ARNs of a bucket and of its KMS key, and a prefix without a slash at its ends or a wildcard."
  }
}

variable "registry" {
  description = "Registered adapters, written by registrar, read by server: bucket_arn, kms_key_arn, prefix (empty: the whole bucket)."
  type = object({
    bucket_arn  = string
    kms_key_arn = string
    prefix      = string
  })

  validation {
    condition     = can(regex("^arn:aws:s3:::[a-z0-9-]+$", var.registry.bucket_arn)) && can(regex("^arn:aws:kms:", var.registry.kms_key_arn)) && can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.registry.prefix))
    error_message = "registry is ${jsonencode(var.registry)}. Give the ARNs of a bucket and of its KMS key, and a prefix without a slash at its ends or a wildcard."
  }
}

variable "secret_arns" {
  description = "Secrets that a job may read (a token of the model hub, of a tracking service). Empty: none."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*?]+$", arn))])
    error_message = "secret_arns is [${join(", ", var.secret_arns)}]. Give whole ARNs of secrets, with the six characters that AWS adds, without a wildcard."
  }
}

variable "secret_kms_key_arns" {
  description = "KMS keys of those secrets, where they do not use AWS's own key."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", arn))])
    error_message = "secret_kms_key_arns is [${join(", ", var.secret_kms_key_arns)}]. Give ARNs of keys, without a wildcard."
  }
}

variable "submitter_principal_arns" {
  description = "Roles or users that may become submitter, e.g. the role that people get by single sign-on."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.submitter_principal_arns : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/[^*?]+$", arn))])
    error_message = "submitter_principal_arns is [${join(", ", var.submitter_principal_arns)}]. Give ARNs of roles or users, without a wildcard."
  }
}

variable "github_oidc_provider_arn" {
  description = "GitHub's OpenID Connect provider in this account."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.github_oidc_provider_arn))
    error_message = "github_oidc_provider_arn is \"${var.github_oidc_provider_arn}\". Give the ARN of the provider token.actions.githubusercontent.com."
  }
}

variable "submitter_github_subjects" {
  description = "GitHub workflows that may become submitter: repo:ORG/REPO:ref:refs/heads/BRANCH or repo:ORG/REPO:environment:NAME. Empty: none."
  type        = set(string)

  validation {
    condition     = alltrue([for subject in var.submitter_github_subjects : can(regex("^repo:[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+:(ref:refs/heads/[A-Za-z0-9_./-]+|environment:[A-Za-z0-9_.-]+)$", subject))])
    error_message = "submitter_github_subjects is [${join(", ", var.submitter_github_subjects)}]. Name one branch or environment each, without a wildcard."
  }
}

variable "pusher_github_subjects" {
  description = "GitHub workflows that may become ecr-push, in the same form. One at least."
  type        = set(string)

  validation {
    condition     = length(var.pusher_github_subjects) >= 1 && alltrue([for subject in var.pusher_github_subjects : can(regex("^repo:[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+:(ref:refs/heads/[A-Za-z0-9_./-]+|environment:[A-Za-z0-9_.-]+)$", subject))])
    error_message = "pusher_github_subjects is [${join(", ", var.pusher_github_subjects)}]. Name one branch or environment each, without a wildcard."
  }
}

variable "server_service" {
  description = "AWS service that runs the adapter server and becomes server."
  type        = string

  validation {
    condition     = contains(["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"], var.server_service)
    error_message = "server_service is \"${var.server_service}\". Use ecs-tasks.amazonaws.com or ec2.amazonaws.com."
  }
}
