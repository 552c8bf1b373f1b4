"""Run terraform on any machine: find it, find its plugins, and keep one provider process for many commands.

Used by the tests and by `try_on_emulator`. Nothing here writes into the repository: roots are copies.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

INFRA = Path(__file__).resolve().parent
PROVIDER = Path("registry.terraform.io", "hashicorp", "aws")

# A mirror is a folder that holds registry.terraform.io/...; these are looked into when nobody names one.
MIRRORS = (
    "/opt/*",
    "/opt/*/*",
    "/usr/local/share/*/plugins",
    "/usr/share/*/plugins",
    "/usr/local/lib/*",
    "/var/lib/*",
)
# A test runner may clear PATH.
PROGRAM_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin")


class TerraformUnusable(Exception):
    """Terraform is not installed, or `terraform init` cannot get its provider. The message says which."""


def find_terraform() -> str:
    """Path of the terraform binary.

    Raises:
        TerraformUnusable: there is none on PATH or in a usual folder.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *PROGRAM_FOLDERS])
    found = shutil.which("terraform", path=path)
    if found is None:
        raise TerraformUnusable(
            "terraform is on no PATH. Install Terraform 1.11 or newer."
        )
    return found


def find_plugin_dir() -> Path | None:
    """The folder with the provider, for `init -plugin-dir`; None: terraform knows by itself, or downloads."""
    named = os.environ.get("TF_PLUGIN_DIR")
    if named:
        return Path(named)
    home = Path(os.environ.get("HOME", "/nonexistent"))
    data = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
    candidates = [home / ".terraform.d" / "plugins", data / "terraform" / "plugins"]
    for pattern in MIRRORS:
        candidates += sorted(Path("/").glob(pattern.lstrip("/")))
    return next((folder for folder in candidates if (folder / PROVIDER).is_dir()), None)


def environment(base: Mapping[str, str] = os.environ, **extra: str) -> dict[str, str]:
    """Environment of a terraform command: no dangling configuration, no question, no upgrade check."""
    result = dict(base)
    configuration = result.get("TF_CLI_CONFIG_FILE")
    if configuration and not Path(configuration).is_file():
        del result["TF_CLI_CONFIG_FILE"]
    result.setdefault("HOME", tempfile.gettempdir())
    result.update(CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1", TF_INPUT="0")
    # Half of the CPU time of a command is the garbage collection of the provider's schema.
    result.setdefault("GOGC", "off")
    return result | extra


def run(
    arguments: Sequence[str], folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """One terraform command in `folder`; output is captured, the exit code is the caller's to judge."""
    return subprocess.run(
        [find_terraform(), *arguments],  # noqa: S603
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def copy_infra(target: Path) -> Path:
    """A copy of modules and environments in `target`, where terraform may leave its files."""
    ignore = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")
    for name in ("modules", "environments"):
        shutil.copytree(INFRA / name, target / name, ignore=ignore)
    return target


def init(folder: Path, env: dict[str, str], *options: str) -> None:
    """`terraform init` with the plugins of this machine.

    Raises:
        TerraformUnusable: it failed; the message holds what terraform said.
    """
    plugins = find_plugin_dir()
    arguments = ["init", "-input=false", "-no-color", *options]
    if plugins:
        arguments.append(f"-plugin-dir={plugins}")
    done = run(arguments, folder, env)
    if done.returncode:
        raise TerraformUnusable(
            f"terraform init failed in {folder.name} (plugins: {plugins or 'from the registry'}). Set "
            "TF_PLUGIN_DIR to a folder that holds registry.terraform.io/hashicorp/aws, or let it reach "
            f"the registry.\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


@contextlib.contextmanager
def shared_provider(folder: Path, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Start the provider that `init` put into `folder`; yields the variable that makes commands use it.

    It is this process that talks to AWS: credentials and endpoint are those of `env`.

    Terraform starts, hashes and asks a provider anew for each command and each `run` of a test. One
    process for all took 20 runs from 84 s to 9 s. It ends with the block, and with us if we are killed:
    `cat` ends when our end of its pipe closes.
    """
    [binary] = (folder / ".terraform" / "providers").glob(
        f"{PROVIDER}/*/*/terraform-provider-aws*"
    )
    keep = '"$0" -debug & cat > /dev/null; kill $!; wait'
    process = subprocess.Popen(
        ["/bin/sh", "-c", keep, str(binary)],  # noqa: S603
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(r"TF_REATTACH_PROVIDERS='(.*)'", line)
            if found:
                json.loads(found[1])
                yield {"TF_REATTACH_PROVIDERS": found[1]}
                break
        else:
            raise TerraformUnusable(f"{binary.name} -debug printed no address")
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()
