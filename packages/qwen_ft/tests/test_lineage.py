"""Code and libraries as a manifest names them."""

import subprocess

from packages.qwen_ft.src.lineage import git_state, installed_sha256


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", folder, *words],
        check=True,
        capture_output=True,
    )


def test_a_checkout_gives_its_commit_and_whether_it_is_changed(tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "one")

    commit, dirty = git_state(tmp_path)
    (tmp_path / "new.txt").write_text("x")

    assert len(commit) == 40 and dirty is False
    assert git_state(tmp_path) == (commit, True)


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    assert git_state(tmp_path) == (None, None)


def test_the_hash_of_the_libraries_is_the_same_each_time():
    assert installed_sha256() == installed_sha256()
