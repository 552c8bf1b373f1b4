# The outputs of an environment, where programs find them: one SSM parameter each, below one path.

resource "aws_ssm_parameter" "this" {
  #checkov:skip=CKV2_AWS_34:Names and addresses, no secret; a SecureString would need kms:Decrypt in every role.
  #checkov:skip=CKV_AWS_337:See above.
  for_each = var.values

  name  = "${var.path}/${each.key}"
  type  = "String"
  value = each.value
}
