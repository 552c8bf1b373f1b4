variable "name" {
  description = "Prefix of every name in this module."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name is \"${var.name}\". Use 3-24 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "region" {
  description = "AWS region, e.g. eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "region is \"${var.region}\". Use a region's code, e.g. eu-central-1."
  }
}

variable "vpc_id" {
  description = "VPC to work in."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id is \"${var.vpc_id}\". Use an id such as vpc-0123456789abcdef0."
  }
}

variable "subnet_ids" {
  description = "Private subnets in two zones or more (the load balancer and the database ask for two)."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids is [${join(", ", var.subnet_ids)}]. Name two at least, such as subnet-0123456789abcdef0."
  }
}

variable "allowed_cidrs" {
  description = "Private networks (a VPN, a peered VPC) from which laptops reach service and UI. Empty: only jobs and an operator's tunnel do."
  type        = set(string)

  validation {
    condition = alltrue([
      for cidr in var.allowed_cidrs :
      can(cidrhost(cidr, 0)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", cidr)) && try(tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "allowed_cidrs is [${join(", ", var.allowed_cidrs)}]. Use private IPv4 ranges of /16 or smaller (in 10/8, 172.16/12, 192.168/16, 100.64/10): the service has no sign-in."
  }
}

variable "tls" {
  description = "Certificate of the load balancer (ACM) and the host name that it is for, which you point at the load balancer. null: HTTP inside of the VPC."
  type = object({
    certificate_arn = string
    host_name       = string
  })

  validation {
    condition     = var.tls == null || try(can(regex("^arn:aws:acm:", var.tls.certificate_arn)) && can(regex("^[a-z0-9-]+([.][a-z0-9-]+)+$", var.tls.host_name)), false)
    error_message = "tls is ${jsonencode(var.tls)}. Give an ACM certificate_arn and the host_name it is for, or null."
  }
}

variable "service_image" {
  description = "Official Metaflow service by digest: netflixoss/metaflow_metadata_service, v2.5.0 or newer (older ones cannot sign in to Postgres by TLS)."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9./_-]*(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$", var.service_image))
    error_message = "service_image is \"${var.service_image}\". Name the image by digest: <repository>@sha256:<64 hex digits>."
  }
}

variable "ui_image" {
  description = "Official Metaflow UI by digest: public.ecr.aws/outerbounds/metaflow_ui."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9./_-]*(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$", var.ui_image))
    error_message = "ui_image is \"${var.ui_image}\". Name the image by digest: <repository>@sha256:<64 hex digits>."
  }
}

variable "datastore" {
  description = "The datastore bucket, read by the UI: bucket_arn, kms_key_arn."
  type = object({
    bucket_arn  = string
    kms_key_arn = string
  })

  validation {
    condition     = can(regex("^arn:aws:s3:::[a-z0-9-]+$", var.datastore.bucket_arn)) && can(regex("^arn:aws:kms:", var.datastore.kms_key_arn))
    error_message = "datastore is ${jsonencode(var.datastore)}. Give the ARNs of a bucket and of its KMS key."
  }
}

variable "datastore_root" {
  description = "Root of Metaflow's datastore, e.g. s3://bucket/metaflow."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9-]+(/[A-Za-z0-9._-]+)*$", var.datastore_root))
    error_message = "datastore_root is \"${var.datastore_root}\". Use an address such as s3://bucket/metaflow, no slash at its end."
  }
}

variable "database_instance_class" {
  description = "Size of the database. A db.t4g.micro, about 13 USD a month, is enough for a team."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.database_instance_class))
    error_message = "database_instance_class is \"${var.database_instance_class}\". Use a class such as db.t4g.micro."
  }
}

variable "multi_az" {
  description = "true: a second database in another zone takes over when the first fails, for twice the price."
  type        = bool
  nullable    = false
}

variable "deletion_protection" {
  description = "true: database and load balancer refuse to be deleted, and a last snapshot is made. false for throw-away environments."
  type        = bool
  nullable    = false
}

variable "backup_days" {
  description = "Days for which daily database backups are kept."
  type        = number

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35 && floor(var.backup_days) == var.backup_days
    error_message = "backup_days is ${var.backup_days}. Use whole days from 1 to 35."
  }
}

variable "log_days" {
  description = "Days for which the service's log is kept."
  type        = number

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days is ${var.log_days}. CloudWatch takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

variable "database_password" {
  description = "Password of the database, written into its secret and nowhere else: neither plan nor state hold it. A new one at every run is right, since it is sent only when password_version is raised."
  type        = string
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9]{24,64}$", var.database_password))
    error_message = "database_password must be 24 to 64 letters and digits: the service puts it into an address."
  }
}

variable "password_version" {
  description = "Raise it by one to give the database a new password; then start the two services anew, they read it at their start."
  type        = number
  default     = 1

  validation {
    condition     = var.password_version >= 1 && floor(var.password_version) == var.password_version
    error_message = "password_version is ${var.password_version}. Use a whole number of 1 or more, and never go back."
  }
}
