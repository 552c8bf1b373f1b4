mock_provider "aws" {}

variables {
  path   = "/qwen-ft/test"
  values = { registry_uri = "s3://example-registry", job_queue_arn = "arn:aws:batch:eu-central-1:123456789012:job-queue/qwen-ft-test" }
}

run "each_value_has_its_name_below_the_path" {
  command = apply

  assert {
    condition     = output.names == tolist(["/qwen-ft/test/job_queue_arn", "/qwen-ft/test/registry_uri"])
    error_message = "names are path, slash, key"
  }
  assert {
    condition     = aws_ssm_parameter.this["registry_uri"].value == "s3://example-registry"
    error_message = "the value is stored as it is"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    path   = "/aws/service"
    values = { registry_uri = "" }
  }

  expect_failures = [
    var.path,
    var.values,
  ]
}
