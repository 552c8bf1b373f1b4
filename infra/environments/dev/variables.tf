variable "account_id" {
  description = "AWS account. Terraform stops when the credentials are those of another one."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is \"${var.account_id}\". Use the 12 digits of the account."
  }
}

variable "region" {
  description = "AWS region, e.g. eu-central-1. Look first where the account has a quota for G machines."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "region is \"${var.region}\". Use a region's code, e.g. eu-central-1."
  }
}

variable "bucket_prefix" {
  description = "First part of the three bucket names (-input, -datastore, -registry follow). Globally unique."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,50}[a-z0-9]$", var.bucket_prefix))
    error_message = "bucket_prefix is \"${var.bucket_prefix}\". Use 3-52 lower-case letters, digits or hyphens."
  }
}

variable "network_cidr" {
  description = "Private IPv4 range of the VPC that is made."
  type        = string

  validation {
    condition     = can(cidrhost(var.network_cidr, 0))
    error_message = "network_cidr is \"${var.network_cidr}\". Use an IPv4 range, e.g. 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, in order; append only. The first one gets the NAT gateway, about 35 USD a month."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2
    error_message = "zones has ${length(var.zones)} entries. Name two at least, e.g. [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "allowed_cidrs" {
  description = "Private networks (a VPN, a peered VPC) from which laptops reach the metadata service and its UI. Empty: only jobs and an operator's tunnel do."
  type        = set(string)

  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrhost(cidr, 0))])
    error_message = "allowed_cidrs is [${join(", ", var.allowed_cidrs)}]. Use private IPv4 ranges, e.g. 10.99.0.0/16."
  }
}

variable "tls" {
  description = "Certificate of the load balancer (ACM) and the host name that it is for. null: HTTP inside of the VPC."
  type = object({
    certificate_arn = string
    host_name       = string
  })

  validation {
    condition     = var.tls == null || try(startswith(var.tls.certificate_arn, "arn:aws:acm:"), false)
    error_message = "tls is ${jsonencode(var.tls)}. Give an ACM certificate_arn and the host_name it is for, or null."
  }
}

variable "metadata_service_image" {
  description = "Official Metaflow service by digest: netflixoss/metaflow_metadata_service, v2.5.0 or newer."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.metadata_service_image))
    error_message = "metadata_service_image is \"${var.metadata_service_image}\". Name the image by digest: <repository>@sha256:<64 hex digits>."
  }
}

variable "metadata_ui_image" {
  description = "Official Metaflow UI by digest: public.ecr.aws/outerbounds/metaflow_ui."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.metadata_ui_image))
    error_message = "metadata_ui_image is \"${var.metadata_ui_image}\". Name the image by digest: <repository>@sha256:<64 hex digits>."
  }
}

variable "training_image_digest" {
  description = "Digest of the training image, as the push prints it. null until the first push: then metaflow_config names no image."
  type        = string

  validation {
    condition     = var.training_image_digest == null || can(regex("^sha256:[0-9a-f]{64}$", var.training_image_digest))
    error_message = "training_image_digest is \"${coalesce(var.training_image_digest, "null")}\". Use sha256: and 64 hex digits, or null."
  }
}

variable "instance_types" {
  description = "GPU machines that may be used: families (g5, g6, g6e) or sizes (g6.xlarge)."
  type        = list(string)

  validation {
    condition     = length(var.instance_types) >= 1
    error_message = "instance_types is empty. Name one at least, e.g. [\"g6\", \"g5\"]."
  }
}

variable "spot_max_vcpus" {
  description = "Most vCPUs of spot machines at a time. A g6.xlarge has 4."
  type        = number

  validation {
    condition     = var.spot_max_vcpus >= 0
    error_message = "spot_max_vcpus is ${var.spot_max_vcpus}. Use a whole number, 0 or more."
  }
}

variable "on_demand_max_vcpus" {
  description = "Most vCPUs of on-demand machines at a time, asked when spot has none. 0: a job waits for spot."
  type        = number

  validation {
    condition     = var.on_demand_max_vcpus >= 0
    error_message = "on_demand_max_vcpus is ${var.on_demand_max_vcpus}. Use a whole number, 0 or more."
  }
}

variable "disk_gb" {
  description = "Size of a GPU machine's root volume (gp3) in GB, paid while the machine lives."
  type        = number

  validation {
    condition     = var.disk_gb >= 50
    error_message = "disk_gb is ${var.disk_gb}. Use 50 or more: image and model lie there."
  }
}

variable "monthly_budget_usd" {
  description = "Limit of the account's monthly cost in USD. Passing it sends a mail and stops nothing."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd is ${var.monthly_budget_usd}. Use an amount above 0."
  }
}

variable "budget_emails" {
  description = "Addresses that get the budget's mails."
  type        = set(string)

  validation {
    condition     = length(var.budget_emails) >= 1
    error_message = "budget_emails is empty. Name the address of somebody who reads it."
  }
}

variable "registry_retention_days" {
  description = "Days for which a registered object cannot be deleted (Object Lock, governance mode)."
  type        = number

  validation {
    condition     = var.registry_retention_days >= 1
    error_message = "registry_retention_days is ${var.registry_retention_days}. Use 1 or more."
  }
}

variable "break_glass_role_arns" {
  description = "Roles that may delete from the registry. Everybody else is denied, administrators too."
  type        = set(string)

  validation {
    condition     = length(var.break_glass_role_arns) >= 1
    error_message = "break_glass_role_arns is empty. Name one whole role ARN at least."
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

variable "submitter_github_subjects" {
  description = "GitHub workflows that may become submitter. Empty: none."
  type        = set(string)

  validation {
    condition     = alltrue([for subject in var.submitter_github_subjects : can(regex("^repo:[^*]+$", subject))])
    error_message = "submitter_github_subjects is [${join(", ", var.submitter_github_subjects)}]. Use repo:ORG/REPO:ref:refs/heads/BRANCH or repo:ORG/REPO:environment:NAME, without a wildcard."
  }
}

variable "pusher_github_subjects" {
  description = "GitHub workflows that may push the training image, e.g. repo:ORG/REPO:ref:refs/heads/main."
  type        = set(string)

  validation {
    condition     = alltrue([for subject in var.pusher_github_subjects : can(regex("^repo:[^*]+$", subject))])
    error_message = "pusher_github_subjects is [${join(", ", var.pusher_github_subjects)}]. Use repo:ORG/REPO:ref:refs/heads/BRANCH or repo:ORG/REPO:environment:NAME, without a wildcard."
  }
}

variable "secret_arns" {
  description = "Secrets that a job may read (a token of the model hub, of a tracking service). Empty: none."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:aws:secretsmanager:[^*?]+$", arn))])
    error_message = "secret_arns is [${join(", ", var.secret_arns)}]. Give whole ARNs, without a wildcard."
  }
}

variable "secret_kms_key_arns" {
  description = "KMS keys of those secrets, where they do not use AWS's own key."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:aws:kms:[^*?]+$", arn))])
    error_message = "secret_kms_key_arns is [${join(", ", var.secret_kms_key_arns)}]. Give whole ARNs, without a wildcard."
  }
}
