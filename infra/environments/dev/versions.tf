terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The bucket and its region are given at `terraform init` (docs/how_to/deploy_on_aws.md).
  backend "s3" {
    key          = "qwen-ft/dev/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
