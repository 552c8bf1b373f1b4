# Metaflow's own metadata service and UI, on ECS, with Postgres, behind a load balancer inside the VPC.
# The service asks nobody who they are: reaching it is the permission. Hence the security groups below.

locals {
  metadata_port = 8080
  ui_port       = var.tls == null ? 80 : 443
  scheme        = var.tls == null ? "http" : "https"
  host          = var.tls == null ? aws_lb.this.dns_name : var.tls.host_name
  database      = "metaflow"

  database_environment = {
    MF_METADATA_DB_HOST     = aws_db_instance.this.address
    MF_METADATA_DB_PORT     = "5432"
    MF_METADATA_DB_NAME     = local.database
    MF_METADATA_DB_USER     = aws_db_instance.this.username
    MF_METADATA_DB_SSL_MODE = "require"
  }

  services = {
    # Its default command migrates the database, then serves.
    metadata = {
      image       = var.service_image
      command     = null
      port        = local.metadata_port
      health      = "/ping"
      cpu         = 512
      memory      = 1024
      environment = local.database_environment
      secrets     = { MF_METADATA_DB_PSWD = aws_secretsmanager_secret.database.arn }
    }
    ui_backend = {
      image   = var.service_image
      command = ["/opt/latest/bin/python3", "-m", "services.ui_backend_service.ui_server"]
      port    = 8083
      health  = "/api/ping"
      cpu     = 1024
      memory  = 4096
      environment = merge(local.database_environment, {
        PATH_PREFIX                   = "/api/"
        MF_DATASTORE_ROOT             = var.datastore_root
        METAFLOW_DATASTORE_SYSROOT_S3 = var.datastore_root
        METAFLOW_DEFAULT_DATASTORE    = "s3"
        METAFLOW_DEFAULT_METADATA     = "service"
        METAFLOW_SERVICE_URL          = "http://localhost:8083/api/metadata"
      })
      secrets = { MF_METADATA_DB_PSWD = aws_secretsmanager_secret.database.arn }
    }
    ui_static = {
      image       = var.ui_image
      command     = null
      port        = 3000
      health      = "/"
      cpu         = 256
      memory      = 512
      environment = {}
      secrets     = {}
    }
  }

  task_statements = {
    metadata = []
    # Cards and logs shown in the UI lie in the datastore.
    ui_backend = [
      { Sid = "ListDatastore", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.datastore.bucket_arn] },
      { Sid = "ReadDatastore", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${var.datastore.bucket_arn}/*"] },
      { Sid = "DecryptDatastore", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.datastore.kms_key_arn] },
    ]
    # The end of an operator's tunnel (ECS Exec): the one container without a secret and without S3.
    # AWS takes no resource for these four.
    ui_static = [
      {
        Sid      = "ExecChannel"
        Effect   = "Allow"
        Action   = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
        Resource = ["*"]
      },
    ]
  }
}

# ---- who reaches whom: clients and allowed networks -> load balancer -> tasks -> database

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:All four are attached, through local.group_ids, where checkov does not follow.
  for_each = {
    clients       = "Members may talk to the metadata service of ${var.name}"
    load_balancer = "Load balancer of the metadata service of ${var.name}"
    tasks         = "Containers of the metadata service of ${var.name}"
    database      = "Database of the metadata service of ${var.name}"
  }

  name_prefix = "${var.name}-${replace(each.key, "_", "-")}-"
  description = each.value
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-${replace(each.key, "_", "-")}" }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  group_ids = { for key, group in aws_security_group.this : key => group.id }

  # from group, to group, port; each is one rule out of the first and one into the second.
  paths = merge(
    { clients-to-metadata = { from = "clients", to = "load_balancer", port = local.metadata_port } },
    { tunnel-to-metadata = { from = "tasks", to = "load_balancer", port = local.metadata_port } },
    { tunnel-to-ui = { from = "tasks", to = "load_balancer", port = local.ui_port } },
    { for key, service in local.services : "load-balancer-to-${replace(key, "_", "-")}" => { from = "load_balancer", to = "tasks", port = service.port } },
    { tasks-to-database = { from = "tasks", to = "database", port = 5432 } },
  )

  visitors = {
    for pair in setproduct(var.allowed_cidrs, [local.metadata_port, local.ui_port]) :
    "${pair[0]}-${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }
}

resource "aws_vpc_security_group_egress_rule" "path" {
  for_each = local.paths

  security_group_id            = local.group_ids[each.value.from]
  referenced_security_group_id = local.group_ids[each.value.to]
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "path" {
  for_each = local.paths

  security_group_id            = local.group_ids[each.value.to]
  referenced_security_group_id = local.group_ids[each.value.from]
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "visitor" {
  for_each = local.visitors

  security_group_id = local.group_ids["load_balancer"]
  cidr_ipv4         = each.value.cidr
  description       = "Laptops in an allowed network"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "tasks_https" {
  security_group_id = local.group_ids["tasks"]
  description       = "Images, logs, the secret and S3, all by HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# ---- database

resource "aws_secretsmanager_secret" "database" {
  #checkov:skip=CKV_AWS_149:AWS's own key; a key of ours would add a bill and no reader less.
  #checkov:skip=CKV2_AWS_57:The service reads the password once, at its start: a rotation by clock would stop it. Raise password_version.
  name_prefix             = "${var.name}-metadata-database-"
  description             = "Password of the Metaflow metadata database of ${var.name}"
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.database.id
  secret_string_wo         = var.database_password
  secret_string_wo_version = var.password_version
}

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  subnet_ids  = var.subnet_ids
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:Enhanced monitoring is for a database under load; this one stores a few rows per task.
  #checkov:skip=CKV_AWS_129:Postgres logs would hold nothing that the service's own log does not.
  #checkov:skip=CKV_AWS_157:Two zones double the price; the variable multi_az decides.
  #checkov:skip=CKV_AWS_161:The official service signs in by password.
  #checkov:skip=CKV_AWS_293:The variable deletion_protection decides.
  #checkov:skip=CKV_AWS_353:As for enhanced monitoring.
  #checkov:skip=CKV2_AWS_30:Query logs would hold nothing that the service's own log does not.
  #checkov:skip=CKV2_AWS_60:Tags are copied, see copy_tags_to_snapshot.
  identifier_prefix = "${var.name}-metadata-"

  engine                     = "postgres"
  engine_version             = "16"
  auto_minor_version_upgrade = true
  instance_class             = var.database_instance_class
  allocated_storage          = 20
  max_allocated_storage      = 100
  storage_type               = "gp3"
  storage_encrypted          = true
  multi_az                   = var.multi_az

  db_name             = local.database
  username            = "metaflow"
  password_wo         = var.database_password
  password_wo_version = var.password_version

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [local.group_ids["database"]]
  publicly_accessible    = false

  backup_retention_period   = var.backup_days
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-metadata-last" : null
}

# ---- containers

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts by itself; the log names runs and holds no data.
  #checkov:skip=CKV_AWS_338:How long logs are kept costs money: the variable log_days decides.
  name              = "/${var.name}/metadata-service"
  retention_in_days = var.log_days
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:Container insights are charged per metric; the load balancer's health checks are enough here.
  name = "${var.name}-metadata"
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-metadata-start-"
  description        = "ECS starts the metadata service of ${var.name}: reads the password, writes logs. Images are public."
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "Password", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = [aws_secretsmanager_secret.database.arn] },
      { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.this.arn}:*"] },
    ]
  })
}

resource "aws_iam_role" "task" {
  for_each = local.services

  name_prefix        = "${var.name}-${replace(each.key, "_", "-")}-"
  description        = "The container ${each.key} of the metadata service of ${var.name}"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "ecs-tasks.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}

resource "aws_iam_role_policy" "task" {
  for_each = { for key, statements in local.task_statements : key => statements if length(statements) > 0 }

  name   = "run"
  role   = aws_iam_role.task[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_336:The official images write beside their code (database migration, cache of the UI).
  for_each = local.services

  family                   = "${var.name}-${replace(each.key, "_", "-")}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  container_definitions = jsonencode([merge(
    {
      name         = each.key
      image        = each.value.image
      essential    = true
      portMappings = [{ containerPort = each.value.port, hostPort = each.value.port, protocol = "tcp" }]
      environment  = [for name, value in each.value.environment : { name = name, value = value }]
      secrets      = [for name, arn in each.value.secrets : { name = name, valueFrom = arn }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = var.region
          awslogs-stream-prefix = each.key
        }
      }
    },
    each.value.command == null ? {} : { command = each.value.command },
  )])
}

resource "aws_ecs_service" "this" {
  for_each = local.services

  name                   = replace(each.key, "_", "-")
  cluster                = aws_ecs_cluster.this.id
  task_definition        = aws_ecs_task_definition.this[each.key].arn
  desired_count          = 1
  launch_type            = "FARGATE"
  enable_execute_command = each.key == "ui_static"

  # The first start of the metadata service migrates the database before it answers.
  health_check_grace_period_seconds = 120

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [local.group_ids["tasks"]]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this[each.key].arn
    container_name   = each.key
    container_port   = each.value.port
  }

  # ECS refuses a target group that no listener uses.
  depends_on = [aws_lb_listener.this, aws_lb_listener_rule.ui_api]
}

# ---- load balancer

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:Access logs need a bucket of their own; the service logs each request.
  #checkov:skip=CKV_AWS_150:The variable deletion_protection decides.
  #checkov:skip=CKV2_AWS_28:A web firewall is for balancers that face the world; this one is internal.
  name                       = "${var.name}-md"
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [local.group_ids["load_balancer"]]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:From the balancer to the container inside of the VPC; the official images speak HTTP.
  for_each = local.services

  name                 = "${var.name}-${substr(replace(each.key, "_", ""), 0, 7)}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = each.value.port
  deregistration_delay = 30

  health_check {
    path    = each.value.health
    matcher = "200"
  }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2:HTTPS where tls is given; without a domain of its own an account has no certificate.
  #checkov:skip=CKV_AWS_103:See ssl_policy; not for plain HTTP.
  #checkov:skip=CKV2_AWS_20:There is no second listener to redirect from.
  for_each = {
    metadata  = local.metadata_port
    ui_static = local.ui_port
  }

  load_balancer_arn = aws_lb.this.arn
  port              = each.value
  protocol          = upper(local.scheme)
  certificate_arn   = var.tls == null ? null : var.tls.certificate_arn
  ssl_policy        = var.tls == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }
}

resource "aws_lb_listener_rule" "ui_api" {
  listener_arn = aws_lb_listener.this["ui_static"].arn
  priority     = 1

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["ui_backend"].arn
  }

  condition {
    path_pattern {
      values = ["/api/*"]
    }
  }
}
