# The dev environment: made to be thrown away. It makes its own network.

locals {
  name             = "qwen-ft-dev"
  datastore_prefix = "metaflow"
  datastore_root   = "s3://${module.buckets.datastore.name}/${local.datastore_prefix}"
  registry_uri     = "s3://${module.buckets.registry.name}"
  training_image   = var.training_image_digest == null ? null : "${module.image_registry.repository_url}@${var.training_image_digest}"

  # Where the Metaflow client reads it: $METAFLOW_HOME/config.json. Nothing in it is typed by hand.
  metaflow_config = merge(
    {
      METAFLOW_DEFAULT_DATASTORE                  = "s3"
      METAFLOW_DATASTORE_SYSROOT_S3               = local.datastore_root
      METAFLOW_DATATOOLS_S3ROOT                   = "${local.datastore_root}/data"
      METAFLOW_BATCH_JOB_QUEUE                    = module.batch_gpu.job_queue_arn
      METAFLOW_ECS_S3_ACCESS_IAM_ROLE             = module.roles.arns["job"]
      METAFLOW_DEFAULT_METADATA                   = "service"
      METAFLOW_SERVICE_URL                        = module.metadata_service.service_url
      METAFLOW_SERVICE_INTERNAL_URL               = module.metadata_service.service_url
      METAFLOW_UI_URL                             = module.metadata_service.ui_url
      METAFLOW_DEFAULT_SECRETS_BACKEND_TYPE       = "aws-secrets-manager"
      METAFLOW_AWS_SECRETS_MANAGER_DEFAULT_REGION = var.region
    },
    local.training_image == null ? {} : { METAFLOW_BATCH_CONTAINER_IMAGE = local.training_image },
  )
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = { project = "qwen-ft", environment = "dev" }
  }
}

module "network" {
  source = "../../modules/network"

  name      = local.name
  region    = var.region
  cidr      = var.network_cidr
  zones     = var.zones
  nat_zones = [var.zones[0]]
}

# One per account. Where another stack made it, take its ARN as environments/prod does.
resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

module "buckets" {
  source = "../../modules/buckets"

  account_id              = var.account_id
  input_bucket_name       = "${var.bucket_prefix}-input"
  datastore_bucket_name   = "${var.bucket_prefix}-datastore"
  registry_bucket_name    = "${var.bucket_prefix}-registry"
  break_glass_role_arns   = var.break_glass_role_arns
  registry_retention_days = var.registry_retention_days
  replaced_version_days   = 30
  force_destroy           = true
}

module "image_registry" {
  source = "../../modules/image_registry"

  name          = "${local.name}/training"
  keep_images   = 10
  force_destroy = true
}

# Written to the database and to its secret in one apply, held nowhere else.
ephemeral "aws_secretsmanager_random_password" "metadata_database" {
  password_length     = 32
  exclude_punctuation = true
}

module "metadata_service" {
  source = "../../modules/metadata_service"

  name                    = local.name
  region                  = var.region
  vpc_id                  = module.network.vpc_id
  subnet_ids              = module.network.private_subnet_ids
  allowed_cidrs           = var.allowed_cidrs
  tls                     = var.tls
  service_image           = var.metadata_service_image
  ui_image                = var.metadata_ui_image
  datastore               = { bucket_arn = module.buckets.datastore.arn, kms_key_arn = module.buckets.datastore.kms_key_arn }
  datastore_root          = local.datastore_root
  database_instance_class = "db.t4g.micro"
  database_password       = ephemeral.aws_secretsmanager_random_password.metadata_database.random_password
  multi_az                = false
  deletion_protection     = false
  backup_days             = 1
  log_days                = 14
}

module "batch_gpu" {
  source = "../../modules/batch_gpu"

  name                = local.name
  vpc_id              = module.network.vpc_id
  subnet_ids          = module.network.private_subnet_ids
  security_group_ids  = [module.metadata_service.client_security_group_id]
  instance_types      = var.instance_types
  spot_max_vcpus      = var.spot_max_vcpus
  on_demand_max_vcpus = var.on_demand_max_vcpus
  disk_gb             = var.disk_gb
  ami_id              = null
  monthly_budget_usd  = var.monthly_budget_usd
  budget_emails       = var.budget_emails
}

module "roles" {
  source = "../../modules/roles"

  name                      = local.name
  account_id                = var.account_id
  region                    = var.region
  job_queue_arn             = module.batch_gpu.job_queue_arn
  repository_arn            = module.image_registry.repository_arn
  input                     = { bucket_arn = module.buckets.input.arn, kms_key_arn = module.buckets.input.kms_key_arn, prefix = "" }
  datastore                 = { bucket_arn = module.buckets.datastore.arn, kms_key_arn = module.buckets.datastore.kms_key_arn, prefix = local.datastore_prefix }
  registry                  = { bucket_arn = module.buckets.registry.arn, kms_key_arn = module.buckets.registry.kms_key_arn, prefix = "" }
  secret_arns               = var.secret_arns
  secret_kms_key_arns       = var.secret_kms_key_arns
  submitter_principal_arns  = var.submitter_principal_arns
  github_oidc_provider_arn  = aws_iam_openid_connect_provider.github.arn
  submitter_github_subjects = var.submitter_github_subjects
  pusher_github_subjects    = var.pusher_github_subjects
  server_service            = "ecs-tasks.amazonaws.com"
}

module "parameters" {
  source = "../../modules/parameters"

  path = "/qwen-ft/dev"
  values = merge(
    {
      metaflow_config    = jsonencode(local.metaflow_config)
      input_uri          = "s3://${module.buckets.input.name}"
      registry_uri       = local.registry_uri
      registrar_role_arn = module.roles.arns["registrar"]
      server_role_arn    = module.roles.arns["server"]
      ecr_repository_url = module.image_registry.repository_url
    },
    local.training_image == null ? {} : { training_image = local.training_image },
  )
}

check "an_image_is_named" {
  assert {
    condition     = var.training_image_digest != null
    error_message = "training_image_digest is null, so metaflow_config names no image and no step can run on Batch. Push the image, then set the digest that the push printed."
  }
}
