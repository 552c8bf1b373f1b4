mock_provider "aws" {
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/example" }
  }
  mock_resource "aws_batch_compute_environment" {
    defaults = { arn = "arn:aws:batch:eu-central-1:123456789012:compute-environment/example" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 7 }
  }
}

variables {
  name                = "qwen-ft-test"
  vpc_id              = "vpc-0123456789abcdef0"
  subnet_ids          = ["subnet-0123456789abcdef0"]
  security_group_ids  = ["sg-0123456789abcdef0"]
  instance_types      = ["g5", "g6.xlarge"]
  spot_max_vcpus      = 16
  on_demand_max_vcpus = 8
  disk_gb             = 150
  ami_id              = null
  monthly_budget_usd  = 200
  budget_emails       = ["owner@example.com"]
}

run "machines_are_small_shut_and_gone_when_idle" {
  command = apply

  assert {
    condition     = alltrue([for environment in aws_batch_compute_environment.gpu : environment.compute_resources[0].min_vcpus == 0])
    error_message = "an idle queue must cost nothing"
  }
  assert {
    condition     = aws_batch_compute_environment.gpu["spot"].compute_resources[0].allocation_strategy == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    error_message = "spot machines are chosen by capacity and price"
  }
  assert {
    condition     = [for order in aws_batch_job_queue.gpu.compute_environment_order : order.order] == [1, 2]
    error_message = "the queue has spot first and on demand second"
  }
  assert {
    condition     = aws_launch_template.gpu.metadata_options[0].http_tokens == "required"
    error_message = "IMDSv2 is required"
  }
  assert {
    condition     = aws_launch_template.gpu.block_device_mappings[0].ebs[0].volume_size == 150 && aws_launch_template.gpu.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "the disk is gp3 of disk_gb"
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.gpu.user_data), "\nECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n")
    error_message = "spot draining is on"
  }
  assert {
    condition     = startswith(base64decode(aws_launch_template.gpu.user_data), "MIME-Version: 1.0\n")
    error_message = "Batch takes user data in MIME form only"
  }
  assert {
    condition     = aws_batch_compute_environment.gpu["spot"].compute_resources[0].launch_template[0].version == "7"
    error_message = "the template's version is a number, so that a change reaches the machines"
  }
  assert {
    condition     = length(aws_security_group.instance.ingress) == 0
    error_message = "nothing comes in"
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.https.from_port == 443 && aws_vpc_security_group_egress_rule.https.to_port == 443
    error_message = "only HTTPS goes out to the world"
  }
  assert {
    condition     = toset([for notification in aws_budgets_budget.month.notification : notification.notification_type]) == toset(["ACTUAL", "FORECASTED"])
    error_message = "the budget warns of what is spent and of what will be"
  }
}

run "another_type_another_image_another_share" {
  command = apply

  variables {
    instance_types      = ["g6e"]
    ami_id              = "ami-0123456789abcdef0"
    spot_max_vcpus      = 0
    on_demand_max_vcpus = 32
    disk_gb             = 300
  }

  assert {
    condition     = keys(aws_batch_compute_environment.gpu) == ["on_demand"] && length(aws_batch_job_queue.gpu.compute_environment_order) == 1
    error_message = "no spot vCPU, no spot environment: Batch takes no maximum of 0"
  }
  assert {
    condition     = aws_batch_compute_environment.gpu["on_demand"].compute_resources[0].ec2_configuration[0].image_id_override == "ami-0123456789abcdef0"
    error_message = "ami_id is used when given"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    name                = "QwenFT"
    vpc_id              = "vpc"
    subnet_ids          = []
    security_group_ids  = ["default"]
    instance_types      = ["m5.large"]
    spot_max_vcpus      = 16.5
    on_demand_max_vcpus = 1.5
    disk_gb             = 30
    ami_id              = "latest"
    monthly_budget_usd  = 0
    budget_emails       = []
  }

  expect_failures = [
    var.name,
    var.vpc_id,
    var.subnet_ids,
    var.security_group_ids,
    var.instance_types,
    var.spot_max_vcpus,
    var.on_demand_max_vcpus,
    var.disk_gb,
    var.ami_id,
    var.monthly_budget_usd,
    var.budget_emails,
  ]
}

run "no_machine_at_all_is_refused" {
  command = plan

  variables {
    spot_max_vcpus      = 0
    on_demand_max_vcpus = 0
  }

  expect_failures = [aws_batch_job_queue.gpu]
}
