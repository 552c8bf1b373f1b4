# Who may do what. One role per duty, each action and resource by name; `*` only where AWS takes no resource.
# tests/infra/test_allow_deny.py holds the table of what each role can and cannot do.

locals {
  batch_arn = "arn:aws:batch:${var.region}:${var.account_id}"
  role_arn  = "arn:aws:iam::${var.account_id}:role"

  # Objects below the prefix, or all of them where the prefix is empty.
  objects = {
    for key, place in { input = var.input, datastore = var.datastore, registry = var.registry } :
    key => place.prefix == "" ? "${place.bucket_arn}/*" : "${place.bucket_arn}/${place.prefix}/*"
  }

  # Without s3:ListBucket S3 answers 403, not 404, for a missing key, and Metaflow misreads that. A condition
  # on s3:prefix brings the 403 back: that check has no prefix. So the whole bucket may be listed.
  read_input = [
    { Sid = "ReadInput", Effect = "Allow", Action = ["s3:GetObject", "s3:GetObjectVersion"], Resource = [local.objects.input] },
    { Sid = "DecryptInput", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.input.kms_key_arn] },
  ]
  use_datastore = [
    { Sid = "ListDatastore", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.datastore.bucket_arn] },
    { Sid = "UseDatastore", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = [local.objects.datastore] },
    { Sid = "EncryptDatastore", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.datastore.kms_key_arn] },
  ]

  # No role may delete an object: Metaflow's code asks for it nowhere, and the registry never forgets.
  statements = {
    # A laptop or a CI run: starts jobs, and executes the local steps (they read the input, too).
    submitter = concat(
      [
        # AWS takes no resource for these five.
        {
          Sid      = "SeeBatch"
          Effect   = "Allow"
          Action   = ["batch:DescribeComputeEnvironments", "batch:DescribeJobDefinitions", "batch:DescribeJobQueues", "batch:DescribeJobs", "batch:ListJobs"]
          Resource = ["*"]
        },
        { Sid = "DefineJobs", Effect = "Allow", Action = ["batch:RegisterJobDefinition"], Resource = ["${local.batch_arn}:job-definition/metaflow_*"] },
        # AWS checks both kinds of resource at once.
        { Sid = "SubmitJobs", Effect = "Allow", Action = ["batch:SubmitJob"], Resource = [var.job_queue_arn, "${local.batch_arn}:job-definition/metaflow_*"] },
        { Sid = "StopJobs", Effect = "Allow", Action = ["batch:TerminateJob"], Resource = ["${local.batch_arn}:job/*"] },
        {
          Sid       = "GiveJobsTheirRole"
          Effect    = "Allow"
          Action    = ["iam:PassRole"]
          Resource  = ["${local.role_arn}/${local.names.job}"]
          Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
        },
        { Sid = "BecomeRegistrar", Effect = "Allow", Action = ["sts:AssumeRole"], Resource = ["${local.role_arn}/${local.names.registrar}"] },
        { Sid = "ListInput", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.input.bucket_arn] },
      ],
      local.read_input,
      local.use_datastore,
    )

    # The container of a step on Batch.
    job = concat(
      local.use_datastore,
      local.read_input,
      [for arns in [sort(var.secret_arns)] : { Sid = "ReadSecrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = arns } if length(arns) > 0],
      [for arns in [sort(var.secret_kms_key_arns)] : { Sid = "DecryptSecrets", Effect = "Allow", Action = ["kms:Decrypt"], Resource = arns } if length(arns) > 0],
    )

    # Assumed in the flow's last step only: adds versions and moves aliases.
    registrar = [
      { Sid = "ListRegistry", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.registry.bucket_arn] },
      { Sid = "UseRegistry", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = [local.objects.registry] },
      { Sid = "EncryptRegistry", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.registry.kms_key_arn] },
    ]

    # The adapter server: reads.
    server = [
      { Sid = "ListRegistry", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [var.registry.bucket_arn] },
      { Sid = "ReadRegistry", Effect = "Allow", Action = ["s3:GetObject"], Resource = [local.objects.registry] },
      { Sid = "DecryptRegistry", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.registry.kms_key_arn] },
    ]

    # GitHub Actions: pushes the training image.
    ecr-push = [
      # AWS takes no resource for this one.
      { Sid = "SignIn", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
      {
        Sid      = "Push"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
        Resource = [var.repository_arn]
      },
    ]
  }

  names = { for role in ["submitter", "job", "registrar", "server", "ecr-push"] : role => "${var.name}-${role}" }

  github_trust = {
    for role, subjects in { submitter = var.submitter_github_subjects, ecr-push = var.pusher_github_subjects } : role => [
      for subject_list in [sort(subjects)] : {
        Effect    = "Allow"
        Principal = { Federated = var.github_oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
            "token.actions.githubusercontent.com:sub" = subject_list
          }
        }
      } if length(subject_list) > 0
    ]
  }

  trust = {
    submitter = concat(
      [for arns in [sort(var.submitter_principal_arns)] : { Effect = "Allow", Principal = { AWS = arns }, Action = "sts:AssumeRole" } if length(arns) > 0],
      local.github_trust.submitter,
    )
    # The condition keeps another account from having AWS use this role for it.
    job = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
    server   = [{ Effect = "Allow", Principal = { Service = var.server_service }, Action = "sts:AssumeRole" }]
    ecr-push = local.github_trust.ecr-push
  }
}

resource "aws_iam_role" "this" {
  for_each = local.trust

  name                 = local.names[each.key]
  max_session_duration = each.key == "submitter" ? 43200 : 3600
  assume_role_policy   = jsonencode({ Version = "2012-10-17", Statement = each.value })

  lifecycle {
    precondition {
      condition     = length(each.value) > 0
      error_message = "Nobody could become ${each.key}. Name someone in submitter_principal_arns or submitter_github_subjects."
    }
  }
}

# Apart from the others: it trusts one of them, and IAM refuses a principal that does not exist yet.
resource "aws_iam_role" "registrar" {
  name = local.names.registrar

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { AWS = "${local.role_arn}/${local.names.submitter}" }, Action = "sts:AssumeRole" }]
  })

  depends_on = [aws_iam_role.this]
}

locals {
  roles = merge(aws_iam_role.this, { registrar = aws_iam_role.registrar })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.statements

  name   = each.key
  role   = local.roles[each.key].name
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
