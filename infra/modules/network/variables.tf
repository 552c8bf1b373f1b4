variable "name" {
  description = "Prefix of every name in this module."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name is \"${var.name}\". Use 3-24 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "region" {
  description = "AWS region of the network, e.g. eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "region is \"${var.region}\". Use a region's code, e.g. eu-central-1."
  }
}

variable "cidr" {
  description = "Private IPv4 range of the VPC. Each zone gets two sixteenths of it."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 24, false)
    error_message = "cidr is \"${var.cidr}\". Use an IPv4 range of /16 to /24, e.g. 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, in order; append only, since a zone's position decides its subnets. Two at least: the load balancer and the database ask for it. More zones find more spot GPUs."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 8 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones has ${length(var.zones)} entries. Name 2 to 8 different zones, e.g. [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "nat_zones" {
  description = "Zones that get a NAT gateway of their own, about 35 USD a month each. One is enough; one per zone survives the loss of a zone."
  type        = set(string)

  validation {
    condition     = length(var.nat_zones) >= 1 && length(setsubtract(var.nat_zones, var.zones)) == 0
    error_message = "nat_zones is [${join(", ", var.nat_zones)}]. Name at least one zone, each of them one of zones."
  }
}
