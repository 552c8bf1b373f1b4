mock_provider "aws" {}

variables {
  name                      = "qwen-ft-test"
  account_id                = "123456789012"
  region                    = "eu-central-1"
  job_queue_arn             = "arn:aws:batch:eu-central-1:123456789012:job-queue/qwen-ft-test"
  repository_arn            = "arn:aws:ecr:eu-central-1:123456789012:repository/qwen-ft-test/training"
  input                     = { bucket_arn = "arn:aws:s3:::example-input", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/input", prefix = "" }
  datastore                 = { bucket_arn = "arn:aws:s3:::example-datastore", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/datastore", prefix = "metaflow" }
  registry                  = { bucket_arn = "arn:aws:s3:::example-registry", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/registry", prefix = "" }
  secret_arns               = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:hub-token-AbCdEf"]
  secret_kms_key_arns       = ["arn:aws:kms:eu-central-1:123456789012:key/secrets"]
  submitter_principal_arns  = ["arn:aws:iam::123456789012:role/developers"]
  github_oidc_provider_arn  = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  submitter_github_subjects = ["repo:example-org/example-repo:environment:training"]
  pusher_github_subjects    = ["repo:example-org/example-repo:ref:refs/heads/main"]
  server_service            = "ecs-tasks.amazonaws.com"
}

run "rendered" {
  command = apply

  assert {
    condition     = toset(keys(aws_iam_role_policy.this)) == toset(["submitter", "job", "registrar", "server", "ecr-push"])
    error_message = "five roles, one policy each"
  }
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.this : alltrue([for statement in jsondecode(policy.policy).Statement : statement.Effect == "Allow" && length([for action in statement.Action : action if strcontains(action, "*")]) == 0])])
    error_message = "no action has a wildcard"
  }
  assert {
    condition = toset(flatten([for policy in aws_iam_role_policy.this : [for statement in jsondecode(policy.policy).Statement : statement.Action if contains(statement.Resource, "*")]])) == toset([
      "batch:DescribeComputeEnvironments", "batch:DescribeJobDefinitions", "batch:DescribeJobQueues", "batch:DescribeJobs", "batch:ListJobs", "ecr:GetAuthorizationToken",
    ])
    error_message = "the resource * appears only where AWS takes no other"
  }
  assert {
    condition     = length([for policy in aws_iam_role_policy.this : policy if strcontains(policy.policy, "Delete")]) == 0
    error_message = "no role deletes"
  }
  assert {
    condition     = jsondecode(aws_iam_role.registrar.assume_role_policy).Statement[0].Principal.AWS == "arn:aws:iam::123456789012:role/qwen-ft-test-submitter"
    error_message = "only submitter becomes registrar"
  }
  assert {
    condition     = jsondecode(aws_iam_role.this["ecr-push"].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == ["repo:example-org/example-repo:ref:refs/heads/main"]
    error_message = "only the named branch pushes images"
  }
}

run "without_secrets_a_job_reads_none" {
  command = plan

  variables {
    secret_arns         = []
    secret_kms_key_arns = []
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.this["job"].policy, "secretsmanager")
    error_message = "no secret, no statement"
  }
}

run "nobody_as_submitter_is_refused" {
  command = plan

  variables {
    submitter_principal_arns  = []
    submitter_github_subjects = []
  }

  expect_failures = [aws_iam_role.this["submitter"]]
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    name                      = "qwen_ft"
    account_id                = "1234"
    region                    = "europe"
    job_queue_arn             = "arn:aws:batch:eu-central-1:123456789012:job-queue/*"
    repository_arn            = "*"
    input                     = { bucket_arn = "arn:aws:s3:::*", kms_key_arn = "arn:aws:kms:example", prefix = "" }
    datastore                 = { bucket_arn = "arn:aws:s3:::example-datastore", kms_key_arn = "arn:aws:kms:example", prefix = "*" }
    registry                  = { bucket_arn = "arn:aws:s3:::example-registry", kms_key_arn = "*", prefix = "" }
    secret_arns               = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:*"]
    secret_kms_key_arns       = ["*"]
    submitter_principal_arns  = ["*"]
    github_oidc_provider_arn  = "arn:aws:iam::123456789012:oidc-provider/example.com"
    submitter_github_subjects = ["repo:example-org/*"]
    pusher_github_subjects    = ["repo:example-org/example-repo:ref:refs/heads/*"]
    server_service            = "lambda.amazonaws.com"
  }

  expect_failures = [
    var.name,
    var.account_id,
    var.region,
    var.job_queue_arn,
    var.repository_arn,
    var.input,
    var.datastore,
    var.registry,
    var.secret_arns,
    var.secret_kms_key_arns,
    var.submitter_principal_arns,
    var.github_oidc_provider_arn,
    var.submitter_github_subjects,
    var.pusher_github_subjects,
    var.server_service,
  ]
}
