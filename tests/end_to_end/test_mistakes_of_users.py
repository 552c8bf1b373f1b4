"""A user's mistake ends as one message and its exit code; no traceback, and no GPU step is reached."""

import pytest

from tests.end_to_end.flow_process import run_flow

pytestmark = pytest.mark.flow

PROSE = "".join(
    f"Sentence number {n} says that the value of item {n} is {n * n}, which nobody doubts.\n\n"
    for n in range(400)
)


def data_file(folder, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


CASES = {
    "missing file": (66, "does not exist", lambda f: str(f / "no.txt")),
    "empty file": (65, "FT-D001", lambda f: data_file(f, "empty.txt", b"")),
    "binary file": (
        65,
        "FT-D016",
        lambda f: data_file(f, "a.txt", b"\x89PNG\r\n\x1a\n" + b"\0" * 99),
    ),
    "latin-1": (
        65,
        "latin-1",
        lambda f: data_file(f, "a.txt", "caf\xe9 au lait\n".encode("latin-1")),
    ),
    "malformed row": (
        65,
        "rows.jsonl:2:",
        lambda f: data_file(f, "rows.jsonl", b'{"text": "good"}\n{"text": }\n'),
    ),
    "rows without text": (
        65,
        "FT-D04",
        lambda f: data_file(f, "a.jsonl", b'{"txt": "a"}\n{"txt": "b"}\n'),
    ),
    "too few rows": (
        65,
        "FT-D09",
        lambda f: data_file(f, "a.jsonl", b'{"text": "just one"}\n'),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_data_stops_in_a_local_step(tmp_path, case):
    exit_code, words, make = CASES[case]

    finished = run_flow(tmp_path, "run", "--data", make(tmp_path))

    assert finished.exit_code == exit_code, finished.output
    assert words in finished.output
    assert "Traceback" not in finished.output
    assert "/train/" not in finished.output
    assert not (tmp_path / "registry").exists()


def test_a_folder_without_text_is_named(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    finished = run_flow(tmp_path, "run", "--data", str(tmp_path / "pictures"))

    assert finished.exit_code == 66
    assert "pictures" in finished.stderr
    assert "Traceback" not in finished.output


def test_a_wrong_model_stops_before_the_data_is_read(tmp_path):
    finished = run_flow(tmp_path, "run", "--base-model", "starter://tiny-qwen3")

    assert finished.exit_code == 78
    assert "starter://tiny-qwen2" in finished.stderr
    assert "/tokenize/" not in finished.output


def test_a_hub_model_without_network_says_so_quickly(tmp_path):
    finished = run_flow(
        tmp_path, "run", "--base-model", "Qwen/Qwen2.5-0.5B", timeout_s=60
    )

    assert finished.exit_code == 69
    assert "Qwen/Qwen2.5-0.5B" in finished.stderr
    assert "Traceback" not in finished.output


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path):
    (tmp_path / "my.yaml").write_text(
        "model:\n  nam: x\ntraining:\n  learning_rat: 1\n"
    )

    finished = run_flow(tmp_path, "--config", "run_config", "my.yaml", "run")

    assert finished.exit_code == 78
    assert (
        "line 2: model.nam" in finished.stderr
        and "did you mean name?" in finished.stderr
    )
    assert "line 4: training.learning_rat" in finished.stderr
    assert "Traceback" not in finished.output


def test_a_registry_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "registry").write_text("a file where the folder should be")

    finished = run_flow(
        tmp_path,
        "run",
        "--set",
        "data.max_documents=200 training.max_steps=2 training.eval_steps=1 gate.confidence=0.5 "
        "evaluation.sample_documents=0 training.learning_rate=5e-3",
    )

    assert finished.exit_code in (66, 73)
    assert "registry" in finished.stderr
    assert "Traceback" not in finished.output


@pytest.mark.parametrize("command", ["show", "--help", "output-dot"])
def test_commands_that_only_look_start_without_torch(tmp_path, command):
    finished = run_flow(tmp_path, command, timeout_s=60)

    assert finished.exit_code == 0, finished.output
    if command == "show":
        assert [
            f"Step {name}" in finished.output for name in ("start", "train", "end")
        ] == [True] * 3
