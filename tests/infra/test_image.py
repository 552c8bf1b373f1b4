"""The training image, without Docker: what its files say, and the entrypoint run as process 1 of a namespace."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "infra" / "docker"
DOCKERFILE = (DOCKER / "training.Dockerfile").read_text()
ENTRYPOINT = DOCKER / "entrypoint.sh"
WORKFLOW = ROOT / ".github" / "workflows" / "build-and-push-ecr.yml"

# Prints, catches SIGTERM, and leaves with the code of a preempted training.
CATCHER = """
import os, signal, sys, time
def leave(number, frame):
    os.write(1, b"caught\\n")  # print may be at work on the line before
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(60)
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) in order; continued lines joined, comments dropped."""
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def test_the_base_comes_by_argument_without_a_default():
    # A default would be a tag that moves, or a digest that nobody chose.
    found = instructions(DOCKERFILE)

    assert found[:2] == [("ARG", "CUDA_BASE"), ("FROM", "${CUDA_BASE} AS python")]
    assert [rest.split()[0] for name, rest in found if name == "FROM"] == [
        "${CUDA_BASE}",
        "python",
        "python",
    ]


def test_libraries_are_installed_with_hashes_from_the_cuda_lock():
    [install] = [
        rest
        for name, rest in instructions(DOCKERFILE)
        if name == "RUN" and "pip install" in rest
    ]

    assert (
        "--require-hashes" in install
        and "--no-cache-dir" in install
        and "--no-deps" in install
    )
    assert ("COPY", "3rdparty/python/cuda.lock /tmp/cuda.lock") in instructions(
        DOCKERFILE
    )


def test_the_image_does_not_run_as_root():
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    users = [rest for name, rest in instructions(last_stage) if name == "USER"]

    # By number: an orchestrator that demands a non-root user cannot look a name up.
    assert users == ["10001:10001"]


def test_entrypoint_and_command_are_lists():
    # The other form puts `/bin/sh -c` in front, which takes the signals.
    found = {
        name: rest
        for name, rest in instructions(DOCKERFILE)
        if name in ("ENTRYPOINT", "CMD")
    }

    assert found == {
        "ENTRYPOINT": '["/usr/local/bin/entrypoint.sh"]',
        "CMD": '["python", "--version"]',
    }


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("no ADD: it unpacks and downloads in silence", r"(?m)^ADD "),
        ("no sudo", r"\bsudo\b"),
        ("no download outside of the locks", r"\b(curl|wget|git clone)\b"),
        ("no AWS CLI: nothing calls it", r"\bawscli\b"),
        (
            "no secret in an argument or variable",
            r"(?m)^(ARG|ENV) .*(TOKEN|SECRET|PASSWORD|KEY)=",
        ),
        ("no tag `latest`", r":latest\b"),
        ("no cd in RUN: WORKDIR says where", r"(?m)^RUN cd "),
    ],
)
def test_a_lint_rule_holds(rule, pattern):
    assert not re.search(
        pattern, "\n".join(" ".join(pair) for pair in instructions(DOCKERFILE))
    ), rule


def test_package_lists_do_not_stay_in_a_layer():
    installs = [
        rest
        for name, rest in instructions(DOCKERFILE)
        if name == "RUN" and "dnf install" in rest
    ]

    assert installs and all(
        "dnf clean all" in rest and "--assumeyes" in rest for rest in installs
    )


def test_the_build_context_is_what_the_dockerfile_copies():
    rules = [
        line
        for line in (DOCKER / "training.Dockerfile.dockerignore")
        .read_text()
        .splitlines()
        if line and not line.startswith("#")
    ]
    copied = [
        rest.split()[0]
        for name, rest in instructions(DOCKERFILE)
        if name == "COPY" and not rest.startswith("--from")
    ]
    kept = [rule.removeprefix("!") for rule in rules[1:]]

    # Everything out, then the copied files in: no .git, no .env, no data can reach the image.
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:])
    assert sorted(kept) == sorted(copied)
    assert sum((ROOT / name).stat().st_size for name in kept) < 2_000_000


def test_compose_publishes_no_port_and_needs_no_account():
    compose = yaml.safe_load((DOCKER / "docker-compose.yml").read_text())

    assert compose["networks"] == {"emulator": {"internal": True}}
    for service in compose["services"].values():
        assert "ports" not in service and "privileged" not in service
        assert service["networks"] == ["emulator"]
    assert compose["services"]["training"]["environment"]["AWS_ACCESS_KEY_ID"] == "test"


def test_the_workflow_signs_in_without_a_stored_key():
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    steps = workflow["jobs"]["image"]["steps"]

    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in text
    assert [
        step["with"]["role-to-assume"]
        for step in steps
        if "role-to-assume" in step.get("with", {})
    ] == ["${{ vars.ECR_PUSH_ROLE_ARN }}"]
    assert any("$REPOSITORY:$GITHUB_SHA" in step.get("run", "") for step in steps)
    assert "digest" in steps[-1]["run"]


def namespace() -> list[str]:
    """Command that makes its child process 1 of an own process namespace."""
    for options in (["-pf", "--mount-proc"], ["-Urpf", "--mount-proc"]):
        command = [shutil.which("unshare") or "unshare", *options]
        try:
            if (
                subprocess.run(
                    [*command, "true"], capture_output=True, check=False
                ).returncode
                == 0
            ):
                return command
        except FileNotFoundError:
            break
    pytest.skip(
        "unshare cannot make a process namespace here (not Linux, or not allowed): nothing was tried"
    )


def start_as_process_1(*command: str) -> tuple[subprocess.Popen[str], int]:
    """The entrypoint with `command`, after its first line `ready`; and its process id outside of the namespace."""
    process = subprocess.Popen(
        [*namespace(), "/bin/sh", str(ENTRYPOINT), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    [child] = (
        Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    )
    return process, int(child)


@pytest.mark.flow
def test_a_plain_command_gets_the_signal_itself():
    process, first = start_as_process_1(sys.executable, "-c", CATCHER)
    os.kill(first, signal.SIGTERM)

    assert process.communicate(timeout=30)[0] == "caught\n"
    assert process.returncode == 75


@pytest.mark.flow
def test_a_step_behind_bash_gets_the_signal_and_its_log_collector_lives():
    # The shape of Metaflow's command on Batch: a collector beside, the step in front, more to do after it.
    script = f"""
    sleep 30 & collector=$!
    {sys.executable} -c '{CATCHER}'
    code=$?
    kill -0 $collector && echo collector lives
    exit $code
    """
    process, first = start_as_process_1("bash", "-c", script)
    os.kill(first, signal.SIGTERM)

    assert process.communicate(timeout=30)[0] == "caught\ncollector lives\n"
    assert process.returncode == 75


@pytest.mark.flow
def test_bash_alone_keeps_the_signal_from_the_step():
    # Why the entrypoint is there: without it the step sleeps on.
    script = f"{sys.executable} -c '{CATCHER}'; exit $?"
    process = subprocess.Popen(
        [*namespace(), "bash", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    [child] = (
        Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    )
    os.kill(int(child), signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    os.kill(int(child), signal.SIGKILL)
    process.communicate()


@pytest.mark.flow
@pytest.mark.parametrize("code", [0, 1, 75, 137])
def test_the_exit_code_is_the_commands(code):
    for command in (
        ["bash", "-c", f"exit {code}"],
        [sys.executable, "-c", f"raise SystemExit({code})"],
    ):
        done = subprocess.run(["/bin/sh", str(ENTRYPOINT), *command], check=False)
        assert done.returncode == code


@pytest.mark.flow
def test_no_command_is_a_usage_error():
    done = subprocess.run(
        ["/bin/sh", str(ENTRYPOINT)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 64
    assert "found no command" in done.stderr
