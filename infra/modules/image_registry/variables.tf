variable "name" {
  description = "Name of the repository, e.g. qwen-ft-dev/training."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*(/[a-z0-9-]+)*$", var.name)) && length(var.name) <= 256
    error_message = "name is \"${var.name}\". Use lower-case letters, digits, hyphens and slashes, a letter first."
  }
}

variable "keep_images" {
  description = "Number of images to keep. About 4 GB each, 0.10 USD per GB and month. A registered adapter names its image by digest, so keep as many as you may want to train with again."
  type        = number

  validation {
    condition     = var.keep_images >= 2 && floor(var.keep_images) == var.keep_images
    error_message = "keep_images is ${var.keep_images}. Use a whole number of 2 or more: the image in use, and the one before."
  }
}

variable "force_destroy" {
  description = "true: `terraform destroy` deletes the images too. For throw-away environments only."
  type        = bool
  nullable    = false
}
