"""The flow as a Petri net: each step with the artifacts that it consumes and produces, as Mermaid."""

import ast
import inspect
from dataclasses import dataclass

from metaflow import FlowSpec


@dataclass(frozen=True)
class StepShape:
    """One step as its source reads.

    Args:
        consumes: artifacts and parameters that it reads before it writes them, sorted.
        produces: artifacts that it assigns, sorted.
        leads_to: names of the next steps.
        on_batch: whether it is sent to AWS Batch where there is one.
    """

    name: str
    first_line: str
    consumes: tuple[str, ...]
    produces: tuple[str, ...]
    leads_to: tuple[str, ...]
    on_batch: bool


def read_steps(flow_class: type[FlowSpec]) -> tuple[StepShape, ...]:
    """The steps of `flow_class` in the order of its source."""
    (body,) = ast.parse(inspect.getsource(flow_class)).body
    assert isinstance(body, ast.ClassDef)
    functions = [node for node in body.body if isinstance(node, ast.FunctionDef)]
    return tuple(_shape(node) for node in functions if "step" in _decorators(node))


def flow_diagram(flow_class: type[FlowSpec]) -> str:
    """Mermaid: steps as boxes, artifacts as round places, one arrow per read or write."""
    steps = read_steps(flow_class)
    lines = ["graph TD"]
    for step in steps:
        where = "Batch" if step.on_batch else "local"
        lines.append(f'    {step.name}["{step.name} ({where})"]')
    produced = {name for step in steps for name in step.produces}
    given = {name for step in steps for name in step.consumes} - produced
    for name in sorted(produced | given):
        lines.append(f"    a_{name}([{name}])")
    for step in steps:
        lines += [f"    a_{name} --> {step.name}" for name in step.consumes]
        lines += [f"    {step.name} --> a_{name}" for name in step.produces]
    for step in steps:
        lines += [f"    {step.name} ==> {after}" for after in step.leads_to]
    return "\n".join(lines) + "\n"


def _decorators(node: ast.FunctionDef) -> list[str]:
    calls = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return [call.id for call in calls if isinstance(call, ast.Name)]


def _shape(node: ast.FunctionDef) -> StepShape:
    produces: set[str] = set()
    consumes: set[str] = set()
    leads_to: list[str] = []
    for statement in node.body:
        reads, writes = _attributes(statement, ast.Load), _attributes(
            statement, ast.Store
        )
        for call in (n for n in ast.walk(statement) if isinstance(n, ast.Call)):
            if _is_self(call.func, "next"):
                leads_to = [a.attr for a in call.args if isinstance(a, ast.Attribute)]
                foreach = [k.value for k in call.keywords if k.arg == "foreach"]
                consumes |= {
                    str(v.value) for v in foreach if isinstance(v, ast.Constant)
                } - produces
            if _is_self(call.func, "merge_artifacts"):
                (kept,) = (k.value for k in call.keywords if k.arg == "include")
                assert isinstance(kept, ast.List)
                consumes |= {
                    str(e.value) for e in kept.elts if isinstance(e, ast.Constant)
                }
        consumes |= (
            reads - produces - set(leads_to) - {"next", "merge_artifacts", "input"}
        )
        consumes |= {"trials"} if "input" in reads else set()
        produces |= writes
    return StepShape(
        name=node.name,
        first_line=(ast.get_docstring(node) or "").splitlines()[0],
        consumes=tuple(sorted(consumes)),
        produces=tuple(sorted(produces)),
        leads_to=tuple(leads_to),
        on_batch="batch" in _decorators(node),
    )


def _attributes(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    """Names X of every `self.X`, and of `branch.X` in a join, used in `context`."""
    return {
        node.attr
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "branch")
        and isinstance(node.ctx, context)
    }


def _is_self(function: ast.expr, name: str) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == name
        and isinstance(function.value, ast.Name)
        and function.value.id == "self"
    )
