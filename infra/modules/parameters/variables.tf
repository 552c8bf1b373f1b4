variable "path" {
  description = "Path of all parameters, e.g. /qwen-ft/dev."
  type        = string

  validation {
    condition     = can(regex("^(/[a-z0-9-]+)+$", var.path)) && !startswith(var.path, "/aws")
    error_message = "path is \"${var.path}\". Use lower-case parts, each after a slash, not /aws, e.g. /qwen-ft/dev."
  }
}

variable "values" {
  description = "Name (below path) to value. No secrets: they live in Secrets Manager."
  type        = map(string)

  validation {
    condition     = alltrue([for name, value in var.values : can(regex("^[a-z][a-z0-9_]*$", name)) && value != "" && length(value) <= 4096])
    error_message = "values has the names ${join(", ", keys(var.values))}. Use lower-case names with underscores, and values of 1 to 4096 characters."
  }
}
