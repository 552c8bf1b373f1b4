"""Code and libraries as a manifest names them."""

import subprocess

from packages.qwen_ft.src.lineage import git_state, lock_sha256


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


def test_the_lock_is_named_by_the_hash_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("packages.qwen_ft.src.lineage.ROOT", tmp_path)
    (tmp_path / "3rdparty" / "python").mkdir(parents=True)
    installed = lock_sha256()
    (tmp_path / "3rdparty" / "python" / "cpu.lock").write_bytes(b"abc")

    # FIPS 180-2, appendix B.1: the digest of "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert lock_sha256() == expected != installed
