"""Memory of a process tree, also of one whose processes come and go."""

import os
import subprocess

from packages.local_aws.src.process_memory import resident_bytes, total_bytes


def test_processes_that_end_while_they_are_measured_are_left_out():
    child = subprocess.Popen(["sh", "-c", "for i in $(seq 300); do true & done; wait"])
    looks = 0
    while child.poll() is None:
        resident_bytes(os.getpid())
        looks += 1

    assert looks > 0 and child.returncode == 0


def test_shared_pages_count_once():
    assert total_bytes({1: (100, 30), 2: (50, 20)}) == 180
