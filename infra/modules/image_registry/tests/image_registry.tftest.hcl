mock_provider "aws" {}

variables {
  name          = "qwen-ft-test/training"
  keep_images   = 10
  force_destroy = false
}

run "tags_never_move_and_every_push_is_scanned" {
  command = apply

  assert {
    condition     = aws_ecr_repository.training.image_tag_mutability == "IMMUTABLE"
    error_message = "a tag must never move"
  }
  assert {
    condition     = aws_ecr_repository.training.image_scanning_configuration[0].scan_on_push
    error_message = "every push is scanned"
  }
  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.training.policy).rules : rule.selection.countNumber] == [7, 10]
    error_message = "untagged images go after 7 days, and keep_images stay"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    name        = "Qwen"
    keep_images = 1
  }

  expect_failures = [
    var.name,
    var.keep_images,
  ]
}
