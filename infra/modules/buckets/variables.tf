variable "input_bucket_name" {
  description = "Name of the bucket that holds training data. Globally unique."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.input_bucket_name))
    error_message = "input_bucket_name is \"${var.input_bucket_name}\". Use 3-63 lower-case letters, digits or hyphens."
  }
}

variable "datastore_bucket_name" {
  description = "Name of the bucket that holds Metaflow's artifacts, code packages, token shards and checkpoints. Globally unique."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.datastore_bucket_name))
    error_message = "datastore_bucket_name is \"${var.datastore_bucket_name}\". Use 3-63 lower-case letters, digits or hyphens."
  }
}

variable "registry_bucket_name" {
  description = "Name of the bucket that holds every registered adapter. Globally unique."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.registry_bucket_name))
    error_message = "registry_bucket_name is \"${var.registry_bucket_name}\". Use 3-63 lower-case letters, digits or hyphens."
  }
}

variable "account_id" {
  description = "AWS account that owns the keys."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is \"${var.account_id}\". Use the 12 digits of the account."
  }
}

variable "break_glass_role_arns" {
  description = "Roles that may delete from the registry and lift a retention. Everybody else is denied, administrators too."
  type        = set(string)

  validation {
    condition     = length(var.break_glass_role_arns) >= 1 && alltrue([for arn in var.break_glass_role_arns : can(regex("^arn:aws:iam::[0-9]{12}:role/[^*?]+$", arn))])
    error_message = "break_glass_role_arns is [${join(", ", var.break_glass_role_arns)}]. Name one or more whole role ARNs, without a wildcard, e.g. arn:aws:iam::123456789012:role/break-glass."
  }
}

variable "registry_retention_days" {
  description = "Days for which a registered object cannot be deleted (Object Lock, governance mode)."
  type        = number

  validation {
    condition     = var.registry_retention_days >= 1 && var.registry_retention_days <= 3650 && floor(var.registry_retention_days) == var.registry_retention_days
    error_message = "registry_retention_days is ${var.registry_retention_days}. Use whole days from 1 to 3650."
  }
}

variable "replaced_version_days" {
  description = "Days after which a replaced or deleted object of the input and datastore buckets is gone for good."
  type        = number

  validation {
    condition     = var.replaced_version_days >= 1 && floor(var.replaced_version_days) == var.replaced_version_days
    error_message = "replaced_version_days is ${var.replaced_version_days}. Use whole days, 1 or more."
  }
}

variable "force_destroy" {
  description = "true: `terraform destroy` empties the buckets first. For throw-away environments only."
  type        = bool
  nullable    = false
}
