"""One terraform root for all tests of a session: every module and environment, initialised once."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import terraform_cli

MODULES = sorted(path.name for path in (terraform_cli.INFRA / "modules").iterdir())
ENVIRONMENTS = sorted(
    path.name for path in (terraform_cli.INFRA / "environments").iterdir()
)

# Of AWS's own example account: the provider must find some, and no command here reaches AWS.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class TerraformRoot:
    """A folder that holds a copy of infra/ and is initialised; `env` makes commands use its provider process."""

    folder: Path
    env: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return terraform_cli.run(arguments, self.folder, self.env)


def gather_tests(folder: Path) -> None:
    """Put the modules' test files side by side, each run pointed to its module.

    `terraform test` in each module's folder does the same, at seven times the start-up cost.
    """
    (folder / "tests").mkdir()
    for source in sorted(folder.glob("modules/*/tests/*.tftest.hcl")):
        module = source.parents[1].name
        pointer = f'\\1\n  module {{\n    source = "./modules/{module}"\n  }}\n'
        text = re.sub(r'(?m)^(run "\w+" \{)$', pointer, source.read_text())
        (folder / "tests" / f"{module}.tftest.hcl").write_text(text)


def example_values(module: str) -> str:
    """The `variables` of a module's tests, as arguments of a call."""
    text = (
        terraform_cli.INFRA / "modules" / module / "tests" / f"{module}.tftest.hcl"
    ).read_text()
    found = re.search(r"(?ms)^variables \{\n(.*?)^\}", text)
    assert found, f"the tests of {module} have no variables block"
    return found[1]


def root_configuration() -> str:
    """Calls every module and environment, so that one `validate` judges them all, and one plan renders policies."""
    calls = [
        f'module "{name}" {{\n  source = "./modules/{name}"\n{example_values(name)}}}\n'
        for name in MODULES
    ]
    for name in ENVIRONMENTS:
        values = (
            terraform_cli.INFRA / "environments" / name / "terraform.tfvars.example"
        ).read_text()
        calls.append(
            f'module "{name}" {{\n  source = "./environments/{name}"\n{values}}}\n'
        )
    return "\n".join(calls)


@pytest.fixture(scope="session")
def terraform_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TerraformRoot]:
    folder = terraform_cli.copy_infra(tmp_path_factory.mktemp("infra"))
    gather_tests(folder)
    (folder / "main.tf").write_text(root_configuration())
    env = terraform_cli.environment(**CREDENTIALS)
    # No certificate bundle or profile of this machine: the provider is never asked to reach anything.
    env = {
        name: value
        for name, value in env.items()
        if not name.startswith("AWS_") or name in CREDENTIALS
    }
    try:
        terraform_cli.init(folder, env, "-backend=false")
    except terraform_cli.TerraformUnusable as reason:
        pytest.skip(str(reason))
    with terraform_cli.shared_provider(folder, env) as address:
        yield TerraformRoot(folder, env | address)


@pytest.fixture(scope="session")
def rendered_policies(terraform_root: TerraformRoot) -> dict[str, dict[str, object]]:
    """Every policy document of the modules roles and buckets, as a plan renders it, by resource address.

    The plan asks AWS for nothing: both modules write their ARNs out.
    """
    folder = terraform_root.folder / "rendering"
    folder.mkdir()
    calls = "".join(
        f'module "{name}" {{\n  source = "../modules/{name}"\n{example_values(name)}}}\n'
        for name in ("roles", "buckets")
    )
    skips = (
        "skip_credentials_validation",
        "skip_metadata_api_check",
        "skip_requesting_account_id",
        "skip_region_validation",
    )
    provider = (
        'provider "aws" {\n' + "".join(f"  {name} = true\n" for name in skips) + "}\n"
    )
    (folder / "main.tf").write_text(provider + calls)
    root = TerraformRoot(folder, terraform_root.env)
    for arguments in (["init", "-input=false"], ["plan", "-input=false", "-out=plan"]):
        done = root.run(*arguments)
        assert done.returncode == 0, done.stderr
    planned = json.loads(root.run("show", "-json", "plan").stdout)["planned_values"]
    documents = {}
    for module in planned["root_module"]["child_modules"]:
        for resource in module["resources"]:
            for name in ("policy", "assume_role_policy"):
                text = resource["values"].get(name)
                if text and resource["type"] in (
                    "aws_iam_role",
                    "aws_iam_role_policy",
                    "aws_s3_bucket_policy",
                ):
                    documents[resource["address"]] = json.loads(text)
    return documents
