variable "name" {
  description = "Name of the job queue, and prefix of every other name in this module."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name is \"${var.name}\". Use 3-24 lower-case letters, digits or hyphens, a letter first."
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
  description = "Private subnets for the machines. More zones find more spot GPUs."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 1 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids is [${join(", ", var.subnet_ids)}]. Name at least one, such as subnet-0123456789abcdef0."
  }
}

variable "security_group_ids" {
  description = "Further security groups of the machines, e.g. the one that may reach the metadata service."
  type        = list(string)

  validation {
    condition     = alltrue([for id in var.security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    error_message = "security_group_ids is [${join(", ", var.security_group_ids)}]. Use ids such as sg-0123456789abcdef0."
  }
}

variable "instance_types" {
  description = "GPU machines that may be used: families (g5, g6, g6e) or sizes (g6.xlarge). Several types find spot capacity more often."
  type        = list(string)

  validation {
    condition     = length(var.instance_types) >= 1 && alltrue([for type in var.instance_types : can(regex("^g(5|6|6e)(\\.([0-9]+)?xlarge)?$", type))])
    error_message = "instance_types is [${join(", ", var.instance_types)}]. Use g5, g6 or g6e, or sizes of them such as g6.xlarge."
  }
}

variable "spot_max_vcpus" {
  description = "Most vCPUs of spot machines at a time. A g6.xlarge has 4. The account's quota for G spot machines counts vCPUs too. 0: no spot machines."
  type        = number

  validation {
    condition     = var.spot_max_vcpus >= 0 && floor(var.spot_max_vcpus) == var.spot_max_vcpus
    error_message = "spot_max_vcpus is ${var.spot_max_vcpus}. Use a whole number, 0 or more."
  }
}

variable "on_demand_max_vcpus" {
  description = "Most vCPUs of on-demand machines at a time, asked when spot has none. 0: a job waits for spot."
  type        = number

  validation {
    condition     = var.on_demand_max_vcpus >= 0 && floor(var.on_demand_max_vcpus) == var.on_demand_max_vcpus
    error_message = "on_demand_max_vcpus is ${var.on_demand_max_vcpus}. Use a whole number, 0 or more."
  }
}

variable "disk_gb" {
  description = "Size of a machine's root volume (gp3) in GB, paid while the machine lives."
  type        = number

  validation {
    condition     = var.disk_gb >= 50 && var.disk_gb <= 16384 && floor(var.disk_gb) == var.disk_gb
    error_message = "disk_gb is ${var.disk_gb}. Use whole GB from 50 (image and a small model) to 16384."
  }
}

variable "ami_id" {
  description = "AMI of the machines. null: AWS's newest ECS image with the NVIDIA driver."
  type        = string

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]+$", var.ami_id))
    error_message = "ami_id is \"${coalesce(var.ami_id, "null")}\". Use an id such as ami-0123456789abcdef0, or null."
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
    condition     = length(var.budget_emails) >= 1 && length(var.budget_emails) <= 10 && alltrue([for address in var.budget_emails : can(regex("^[^@ ]+@[^@ ]+[.][^@ ]+$", address))])
    error_message = "budget_emails is [${join(", ", var.budget_emails)}]. Name 1 to 10 mail addresses."
  }
}
