mock_provider "aws" {}

variables {
  name      = "qwen-ft-test"
  region    = "eu-central-1"
  cidr      = "10.20.0.0/16"
  zones     = ["eu-central-1a", "eu-central-1b"]
  nat_zones = ["eu-central-1a"]
}

run "one_nat_gateway_serves_two_zones" {
  command = apply

  assert {
    condition     = length(aws_nat_gateway.this) == 1
    error_message = "one zone in nat_zones must make one NAT gateway"
  }
  assert {
    condition     = aws_route.private_out["eu-central-1b"].nat_gateway_id == aws_nat_gateway.this["eu-central-1a"].id
    error_message = "a zone without a NAT gateway must leave through the one there is"
  }
  assert {
    condition     = length(output.private_subnet_ids) == 2
    error_message = "each zone has one private subnet"
  }
  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "the VPC's default security group must have no rule"
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch != true])
    error_message = "nothing gets a public address by itself"
  }
}

run "a_zone_may_have_its_own_nat_gateway" {
  command = plan

  variables {
    nat_zones = ["eu-central-1a", "eu-central-1b"]
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2
    error_message = "two zones in nat_zones must make two NAT gateways"
  }
}

# Every variable with a rule, each with a value that its rule must refuse.
run "bad_values_are_refused" {
  command = plan

  variables {
    name   = "Qwen FT"
    region = "europe"
    cidr   = "10.20.0.0/28"
    zones  = ["eu-central-1a"]
  }

  expect_failures = [
    var.name,
    var.region,
    var.cidr,
    var.zones,
  ]
}

# Apart: a rule that looks at zones is judged only where zones are right.
run "a_nat_zone_outside_of_the_zones_is_refused" {
  command = plan

  variables {
    nat_zones = ["eu-central-1c"]
  }

  expect_failures = [var.nat_zones]
}
