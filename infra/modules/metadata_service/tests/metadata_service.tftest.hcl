mock_provider "aws" {
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:example" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/example" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/example/0", dns_name = "internal-example.elb.example" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/example/0" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/example/0/0" }
  }
}

variables {
  name           = "qwen-ft-test"
  region         = "eu-central-1"
  vpc_id         = "vpc-0123456789abcdef0"
  subnet_ids     = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  allowed_cidrs  = ["10.99.0.0/16"]
  tls            = null
  service_image  = "netflixoss/metaflow_metadata_service@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  ui_image       = "public.ecr.aws/outerbounds/metaflow_ui@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  datastore      = { bucket_arn = "arn:aws:s3:::example-datastore", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/example" }
  datastore_root = "s3://example-datastore/metaflow"

  database_instance_class = "db.t4g.micro"
  database_password       = "ExampleExampleExampleExample"
  multi_az                = false
  deletion_protection     = false
  backup_days             = 7
  log_days                = 30
}

run "reached_from_inside_only" {
  command = apply

  assert {
    condition     = aws_lb.this.internal
    error_message = "the load balancer is internal"
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.visitor : rule.cidr_ipv4 == "10.99.0.0/16"]) && length(aws_vpc_security_group_ingress_rule.visitor) == 2
    error_message = "the allowed network reaches service and UI, and no other network does"
  }
  assert {
    condition     = [for key, rule in aws_vpc_security_group_ingress_rule.path : key if rule.from_port == 5432] == ["tasks-to-database"]
    error_message = "only the containers reach the database"
  }
  assert {
    condition     = !aws_db_instance.this.publicly_accessible && aws_db_instance.this.storage_encrypted
    error_message = "the database is private and encrypted"
  }
  assert {
    condition     = aws_db_instance.this.password == null && aws_secretsmanager_secret_version.database.secret_string == null
    error_message = "no password in the state"
  }
  assert {
    condition     = alltrue([for definition in aws_ecs_task_definition.this : strcontains(definition.container_definitions, "@sha256:")])
    error_message = "every image is named by digest"
  }
  assert {
    condition     = alltrue([for definition in aws_ecs_task_definition.this : !strcontains(definition.container_definitions, "\"MF_METADATA_DB_PSWD\",\"value\"")])
    error_message = "the password comes from the secret, never from the environment of a definition"
  }
  assert {
    condition     = strcontains(aws_ecs_task_definition.this["metadata"].container_definitions, "{\"name\":\"MF_METADATA_DB_SSL_MODE\",\"value\":\"require\"}")
    error_message = "the service talks TLS to the database"
  }
  assert {
    condition     = [for key, service in aws_ecs_service.this : key if service.enable_execute_command] == ["ui_static"]
    error_message = "the tunnel ends in the container that holds no secret"
  }
  assert {
    condition     = output.service_url == "http://internal-example.elb.example:8080" && output.ui_url == "http://internal-example.elb.example"
    error_message = "addresses are those of the load balancer"
  }
}

run "with_a_certificate_all_is_https" {
  command = apply

  variables {
    tls = { certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/example", host_name = "metaflow.example.com" }
  }

  assert {
    condition     = alltrue([for listener in aws_lb_listener.this : listener.protocol == "HTTPS" && listener.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"])
    error_message = "both listeners speak TLS 1.2 or newer"
  }
  assert {
    condition     = output.service_url == "https://metaflow.example.com:8080" && output.ui_url == "https://metaflow.example.com"
    error_message = "addresses carry the certificate's host name"
  }
}

run "nobody_from_outside" {
  command = apply

  variables {
    allowed_cidrs = []
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.visitor) == 0
    error_message = "an empty set lets no network in"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    name                    = "q"
    region                  = "europe"
    vpc_id                  = "10.20.0.0"
    subnet_ids              = ["subnet-0123456789abcdef0"]
    allowed_cidrs           = ["0.0.0.0/0"]
    tls                     = { certificate_arn = "certificate", host_name = "metaflow.example.com" }
    service_image           = "netflixoss/metaflow_metadata_service:latest"
    ui_image                = "public.ecr.aws/outerbounds/metaflow_ui"
    datastore               = { bucket_arn = "example-datastore", kms_key_arn = "key" }
    datastore_root          = "s3://example-datastore/metaflow/"
    database_instance_class = "t4g.micro"
    database_password       = "short"
    backup_days             = 0
    log_days                = 31
    password_version        = 0
  }

  expect_failures = [
    var.name,
    var.region,
    var.vpc_id,
    var.subnet_ids,
    var.allowed_cidrs,
    var.tls,
    var.service_image,
    var.ui_image,
    var.datastore,
    var.datastore_root,
    var.database_instance_class,
    var.database_password,
    var.backup_days,
    var.log_days,
    var.password_version,
  ]
}
