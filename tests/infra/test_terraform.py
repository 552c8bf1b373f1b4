"""The Terraform code: formatted, valid, and every module's own tests pass, all without AWS."""

import json

import pytest

from infra import terraform_cli
from tests.infra.conftest import ENVIRONMENTS, MODULES, TerraformRoot


def test_every_module_has_the_four_files_and_tests():
    for name in MODULES:
        folder = terraform_cli.INFRA / "modules" / name
        files = {path.name for path in folder.glob("*.tf")}
        assert files == {"main.tf", "variables.tf", "outputs.tf", "versions.tf"}, name
        assert (folder / "tests" / f"{name}.tftest.hcl").is_file(), name


def test_files_are_formatted(terraform_root: TerraformRoot):
    done = terraform_cli.run(
        ["fmt", "-check", "-recursive", "-diff"],
        terraform_cli.INFRA,
        terraform_root.env,
    )

    assert done.returncode == 0, done.stdout


def test_modules_and_environments_are_valid_with_the_example_values(
    terraform_root: TerraformRoot,
):
    # One root calls all of them, with their tests' values and with the committed examples.
    answer = json.loads(terraform_root.run("validate", "-json").stdout)

    assert answer["valid"], answer["diagnostics"]
    assert (
        sorted(path.name for path in terraform_root.folder.glob("environments/*"))
        == ENVIRONMENTS
    )


@pytest.fixture(scope="module")
def test_results(
    terraform_root: TerraformRoot,
) -> dict[str, dict[str, tuple[str, str]]]:
    """Module to run to (status, what terraform says), of one `terraform test` over all modules."""
    done = terraform_root.run("test", "-json")
    results: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in MODULES}
    said: dict[tuple[str, str], str] = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        place = (message.get("@testfile", ""), message.get("@testrun", ""))
        if message["type"] == "diagnostic":
            found = message["diagnostic"]
            said[place] = (
                said.get(place, "") + f"\n{found['summary']}: {found.get('detail', '')}"
            )
        if (
            message["type"] == "test_run"
            and message["test_run"].get("progress") == "complete"
        ):
            module = place[0].removeprefix("tests/").removesuffix(".tftest.hcl")
            results[module][place[1]] = (
                message["test_run"]["status"],
                said.get(place, ""),
            )
    return results


@pytest.mark.parametrize("module", MODULES)
def test_the_tests_of_a_module_pass(module, test_results):
    failed = {
        run: said
        for run, (status, said) in test_results[module].items()
        if status != "pass"
    }

    assert not failed
    assert "bad_values_are_refused" in test_results[module]
