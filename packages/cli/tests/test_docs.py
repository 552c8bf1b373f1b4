"""docs/reference is what the code says now."""

from pathlib import Path

import pytest

from packages.cli.src.docs import REFERENCE, generated_pages


@pytest.mark.parametrize("name", sorted(generated_pages()))
def test_a_generated_page_is_up_to_date(name):
    written = Path(REFERENCE, name).read_text()

    assert written == generated_pages()[name], "run ./python -m packages.cli docs write"
