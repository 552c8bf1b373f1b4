# A queue of GPU machines: spot first, on demand when spot has none, nothing while there is no job.

locals {
  # In the order in which the queue asks them. A kind with no vCPU has no environment: Batch takes no maximum of 0.
  kinds = [for kind in ["spot", "on_demand"] : kind if local.capacity[kind].max_vcpus > 0]

  capacity = {
    spot = {
      type                = "SPOT"
      allocation_strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED"
      max_vcpus           = var.spot_max_vcpus
    }
    on_demand = {
      type                = "EC2"
      allocation_strategy = "BEST_FIT_PROGRESSIVE"
      max_vcpus           = var.on_demand_max_vcpus
    }
  }

  # Read by the ECS agent before it starts. Draining is off by default, and without it a spot machine
  # vanishes with no SIGTERM to its containers; the default of 30 s is too short to save a checkpoint.
  user_data = <<-EOT
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="==ECS=="

    --==ECS==
    Content-Type: text/x-shellscript; charset="us-ascii"

    #!/bin/bash
    cat >> /etc/ecs/ecs.config <<'CONFIG'
    ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
    ECS_CONTAINER_STOP_TIMEOUT=110s
    ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
    CONFIG
    --==ECS==--
  EOT
}

resource "aws_iam_role" "instance" {
  name_prefix        = "${var.name}-gpu-"
  description        = "GPU machines of ${var.name}: join the cluster, pull images, write logs. Jobs have their own role."
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}

# AWS names this policy as the one that ECS machines need; it holds no S3 access.
resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "${var.name}-gpu-"
  role        = aws_iam_role.instance.name
}

resource "aws_security_group" "instance" {
  name_prefix = "${var.name}-gpu-"
  description = "GPU machines of ${var.name}: nothing comes in"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-gpu" }

  # A group that a machine still uses cannot be deleted: the new one must exist first.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.instance.id
  description       = "AWS interfaces, images and the model hub, all by HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_launch_template" "gpu" {
  #checkov:skip=CKV_AWS_341:Two hops: the container reads the spot notice, one hop behind its machine.
  name_prefix = "${var.name}-gpu-"
  user_data   = base64encode(local.user_data)

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  # The root volume holds the images and the job's files. AWS gives 30 GB; a CUDA image and a model fill that.
  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.disk_gb
      volume_type           = "gp3"
      encrypted             = "true"
      delete_on_termination = "true"
    }
  }
}

resource "aws_batch_compute_environment" "gpu" {
  for_each = { for kind in local.kinds : kind => local.capacity[kind] }

  # No service_role: AWS then uses its service-linked role, the only one with which it changes an
  # environment in place. Where it cannot, a new environment is made under a new name, the queue moves
  # over, and the old one goes: a queue never points to something that is being deleted.
  compute_environment_name_prefix = "${var.name}-${replace(each.key, "_", "-")}-"
  type                            = "MANAGED"
  state                           = "ENABLED"

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.allocation_strategy
    min_vcpus           = 0
    max_vcpus           = each.value.max_vcpus
    instance_type       = var.instance_types
    instance_role       = aws_iam_instance_profile.instance.arn
    subnets             = var.subnet_ids
    security_group_ids  = concat([aws_security_group.instance.id], var.security_group_ids)

    ec2_configuration {
      image_type        = "ECS_AL2023_NVIDIA"
      image_id_override = var.ami_id
    }

    launch_template {
      launch_template_id = aws_launch_template.gpu.id
      # A number: with "$Latest" a new template reaches no machine and no plan.
      version = tostring(aws_launch_template.gpu.latest_version)
    }
  }

  lifecycle {
    create_before_destroy = true
    # Batch sets it by the jobs that wait.
    ignore_changes = [compute_resources[0].desired_vcpus]
  }

  # Batch deletes machines through the role: the role must outlive the environment.
  depends_on = [aws_iam_role_policy_attachment.instance]
}

resource "aws_batch_job_queue" "gpu" {
  name     = var.name
  state    = "ENABLED"
  priority = 1

  dynamic "compute_environment_order" {
    for_each = local.kinds

    content {
      order               = compute_environment_order.key + 1
      compute_environment = aws_batch_compute_environment.gpu[compute_environment_order.value].arn
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.kinds) > 0
      error_message = "spot_max_vcpus and on_demand_max_vcpus are both 0. Set one of them above 0."
    }
  }
}

# Mails are sent once at 80 % of the month's limit, and when the month is foreseen to pass it. Nothing is stopped.
resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget_emails
    }
  }
}
