"""The interface of the Terraform code: described, typed, validated, and documented as it is."""

import re

import pytest

from infra import reference, terraform_cli

ROOTS = reference.roots()
VARIABLES = [
    (root, block) for root in ROOTS for block in reference.blocks(root / "variables.tf")
]
NAMES = [f"{root.name}-{block.name}" for root, block in VARIABLES]

# A default is only for what neither costs money nor opens access.
MAY_HAVE_A_DEFAULT = {("metadata_service", "password_version")}


def test_the_parser_finds_every_block():
    for root in ROOTS:
        for name, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
            text = (root / name).read_text()
            found = [block.kind for block in reference.blocks(root / name)]
            assert found == [kind] * len(re.findall(rf"(?m)^{kind} ", text)), (
                root / name
            )
    assert len(VARIABLES) > 90


@pytest.mark.parametrize(("root", "block"), VARIABLES, ids=NAMES)
def test_a_variable_is_described_typed_and_validated(root, block):
    assert len(block.description) > 10 and block.description.endswith(".")
    assert block.type
    assert block.is_validated
    has_default = block.default != "required"
    assert has_default == ((root.name, block.name) in MAY_HAVE_A_DEFAULT)


@pytest.mark.parametrize(("root", "block"), VARIABLES, ids=NAMES)
def test_an_error_message_names_the_variable(root, block):
    messages = re.findall(r'error_message = "(.*)"$', block.body, re.MULTILINE)

    assert all(message.startswith(block.name) for message in messages)


def test_every_output_is_described():
    for root in ROOTS:
        for block in reference.blocks(root / "outputs.tf"):
            assert len(block.description) > 10, f"{root.name} {block.name}"


def test_the_page_is_what_the_files_say():
    assert (
        reference.PAGE.read_text() == reference.page()
    ), "stale: run ./python -m infra.reference"


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_example_sets_each_variable_of_its_environment(environment):
    folder = terraform_cli.INFRA / "environments" / environment
    set_there = re.findall(
        r"(?m)^(\w+)\s*=", (folder / "terraform.tfvars.example").read_text()
    )

    assert sorted(set_there) == sorted(
        block.name for block in reference.blocks(folder / "variables.tf")
    )


def test_every_account_number_is_the_documented_example():
    # 123456789012 is the account of AWS's own documentation.
    for path in terraform_cli.INFRA.rglob("*"):
        if path.suffix in (".tf", ".hcl", ".example", ".md"):
            numbers = set(
                re.findall(r"(?<![0-9a-f])[0-9]{12}(?![0-9a-f])", path.read_text())
            )
            assert numbers <= {"123456789012"}, path


def test_metaflow_config_names_what_the_client_reads():
    # Keys that Metaflow's client reads (metaflow_config.py), each written by both environments.
    from metaflow import metaflow_config

    for environment in ("dev", "prod"):
        text = (
            terraform_cli.INFRA / "environments" / environment / "main.tf"
        ).read_text()
        keys = re.findall(r"\bMETAFLOW_(\w+)\s*=", text)
        assert {
            "DEFAULT_DATASTORE",
            "BATCH_JOB_QUEUE",
            "ECS_S3_ACCESS_IAM_ROLE",
            "BATCH_CONTAINER_IMAGE",
        } <= set(keys)
        assert [key for key in keys if not hasattr(metaflow_config, key)] == []
