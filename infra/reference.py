"""Write docs/reference/terraform.md from the variables and outputs of every module and environment.

./python -m infra.reference            # writes the page; a test fails while it is stale
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INFRA = Path(__file__).resolve().parent
PAGE = INFRA.parent / "docs" / "reference" / "terraform.md"

HEAD = """# Terraform: variables and outputs

Written by `./python -m infra.reference` from `infra/`; a test fails while this page is stale. How to use them:
[deploy on AWS](../how_to/deploy_on_aws.md).

## What reads what

The environments pass everything; no module looks another one up.

| Reads | From |
|---|---|
| `metadata_service`, `batch_gpu` | VPC and private subnets: `network`, or ids given to the environment |
| `metadata_service` | datastore bucket and key: `buckets` |
| `batch_gpu` | security group that may reach the service: `metadata_service` |
| `roles` | queue: `batch_gpu`; repository: `image_registry`; buckets and keys: `buckets` |
| `parameters`, output `metaflow_config` | all of them |
"""


@dataclass(frozen=True)
class Block:
    """One `variable` or `output` of a file."""

    kind: str
    name: str
    body: str

    @property
    def description(self) -> str:
        found = re.search(r'^  description = "(.*)"$', self.body, re.MULTILINE)
        return found[1].replace('\\"', '"') if found else ""

    @property
    def type(self) -> str:
        """On one line, as written."""
        found = re.search(
            r"^  type\s*= (.*?)(?=^  \w|^\Z|^$)", self.body, re.MULTILINE | re.DOTALL
        )
        lines = (
            [
                re.sub(r"\s+", " ", line.strip())
                for line in found[1].strip().splitlines()
            ]
            if found
            else []
        )
        text = ", ".join(lines)
        return text.replace("({,", "({").replace(", })", " })")

    @property
    def default(self) -> str:
        found = re.search(r"^  default\s*= (.*)$", self.body, re.MULTILINE)
        return f"`{found[1]}`" if found else "required"

    @property
    def is_validated(self) -> bool:
        """By a rule of its own, or by its type: a bool has no wrong value."""
        return "\n  validation {" in self.body or (
            self.type == "bool" and "nullable    = false" in self.body
        )


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a formatted file: terraform fmt puts each one's end alone at the line's start."""
    for found in re.finditer(
        r'^(variable|output) "(\w+)" \{\n(.*?)^\}$',
        path.read_text(),
        re.MULTILINE | re.DOTALL,
    ):
        yield Block(found[1], found[2], found[3])


def roots() -> list[Path]:
    return sorted(INFRA.glob("environments/*")) + sorted(INFRA.glob("modules/*"))


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for root in roots():
        parts.append(f"\n## `{root.relative_to(INFRA)}`\n")
        parts.append("| Variable | Type | Default | What it is |\n|---|---|---|---|")
        for block in blocks(root / "variables.tf"):
            parts.append(
                f"| `{block.name}` | `{block.type}` | {block.default} | {cell(block.description)} |"
            )
        parts.append("\n| Output | What it is |\n|---|---|")
        for block in blocks(root / "outputs.tf"):
            parts.append(f"| `{block.name}` | {cell(block.description)} |")
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
