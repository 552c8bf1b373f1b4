"""Rendering a chat template once for each order of roles, where the template only copies the contents.

Invariant: a template passes `copies_contents` only if no decision, filter or variable in it depends on a content. Then
the text of a conversation is a fixed frame, given its roles, with the contents put in.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes

from packages.chat_data.src.document import Message

_GENERATION_TAG = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
_CONTENT = "content"
# Methods of a message or of the list that would give a content away under another name.
_OPAQUE = frozenset({"get", "items", "values", "pop", "copy", "keys"})
# What prints elsewhere than where it stands.
_CAPTURING = (
    nodes.Macro,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.AssignBlock,
    nodes.Block,
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
)


def copies_contents(template: str) -> bool:
    """Whether contents are only ever printed as they are, alone or joined to other strings with + or ~."""
    # Only the structure is looked at, so the marks may go; their white space control does not matter here.
    source = _GENERATION_TAG.sub("", template)
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(
            source
        )  # noqa: S701
    except TemplateSyntaxError:
        return False
    return _Analysis(tree).passes()


@dataclass(frozen=True, slots=True)
class TemplateShape:
    """The frame of one order of roles.

    Args:
        pieces: fixed text before, between and behind the contents.
        order: for each gap between pieces, the number of the message whose content goes there.
        borders: for each scored span its start and end as (characters of fixed text, contents before it).
    """

    pieces: tuple[str, ...]
    order: tuple[int, ...]
    borders: tuple[tuple[tuple[int, int], tuple[int, int]], ...]

    def fill(self, contents: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
        """(text, spans) of a conversation with these contents."""
        parts, lengths = [self.pieces[0]], [0]
        for number, piece in zip(self.order, self.pieces[1:], strict=True):
            content = contents[number]
            parts += (content, piece)
            lengths.append(lengths[-1] + len(content))
        spans = tuple(
            (start + lengths[before], end + lengths[inside])
            for (start, before), (end, inside) in self.borders
        )
        return "".join(parts), spans


def shape_of(
    roles: Sequence[str],
    render: Callable[[tuple[Message, ...]], tuple[str, tuple[tuple[int, int], ...]]],
) -> TemplateShape:
    """The frame of these roles, found by rendering a conversation of markers. For templates that copy contents."""
    markers = [f"\ue0f8{number}\ue0f8" for number in range(len(roles))]
    turns = tuple(
        Message(role, marker) for role, marker in zip(roles, markers, strict=True)
    )
    text, spans = render(turns)
    found = list(re.finditer("\ue0f8(\\d+)\ue0f8", text))
    ends = [0, *(match.end() for match in found)]
    starts = [*(match.start() for match in found), len(text)]
    pieces = tuple(text[end:start] for end, start in zip(ends, starts, strict=True))

    def border(position: int) -> tuple[int, int]:
        before = [match for match in found if match.end() <= position]
        return position - sum(match.end() - match.start() for match in before), len(
            before
        )

    borders = tuple((border(start), border(end)) for start, end in spans)
    return TemplateShape(pieces, tuple(int(match[1]) for match in found), borders)


class _Analysis:
    """Follows the list of messages, and what is taken out of it, through the tree of a template."""

    def __init__(self, tree: nodes.Template) -> None:
        self._tree = tree
        self._parents: dict[int, nodes.Node] = {}
        for parent in (tree, *tree.find_all(nodes.Node)):
            for child in parent.iter_child_nodes():
                self._parents[id(child)] = parent
        self._names = {"messages"}

    def passes(self) -> bool:
        if next(self._tree.find_all(_CAPTURING), None) is not None:
            return False
        if any(
            field.attr in ("previtem", "nextitem")
            for field in self._tree.find_all(nodes.Getattr)
        ):
            return False
        while self._names_grow():
            pass
        return all(
            self._allowed(node)
            for node in self._tree.find_all(nodes.Expr)
            if self._is_message(node)
        )

    def _names_grow(self) -> bool:
        before = len(self._names)
        for loop in self._tree.find_all(nodes.For):
            if self._is_message(loop.iter) and isinstance(loop.target, nodes.Name):
                self._names.add(loop.target.name)
        for assignment in self._tree.find_all(nodes.Assign):
            if self._is_message(assignment.node) and isinstance(
                assignment.target, nodes.Name
            ):
                self._names.add(assignment.target.name)
        return len(self._names) > before

    def _is_message(self, node: nodes.Node) -> bool:
        """A message, or a list of messages."""
        if isinstance(node, nodes.Name):
            return node.name in self._names
        if isinstance(node, nodes.Getitem) and self._is_message(node.node):
            return not (
                isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
            )
        return False

    def _allowed(self, node: nodes.Expr) -> bool:
        parent = self._parents[id(node)]
        if isinstance(node, nodes.Name) and node.ctx == "store":
            return isinstance(parent, nodes.For | nodes.Assign)
        if isinstance(parent, nodes.Getattr):
            return self._field_allowed(parent, parent.attr)
        if isinstance(parent, nodes.Getitem) and parent.node is node:
            arg = parent.arg
            if isinstance(arg, nodes.Const) and isinstance(arg.value, str):
                return self._field_allowed(parent, arg.value)
            return True
        if isinstance(parent, nodes.For):
            return parent.iter is node and isinstance(parent.target, nodes.Name)
        if isinstance(parent, nodes.Assign):
            return parent.node is node and isinstance(parent.target, nodes.Name)
        return isinstance(parent, nodes.Filter) and parent.name in ("length", "count")

    def _field_allowed(self, field: nodes.Expr, name: str) -> bool:
        if name in _OPAQUE:
            return False
        if name != _CONTENT:
            return True
        node: nodes.Node = field
        while not isinstance(node := self._parents[id(node)], nodes.Output):
            if not isinstance(node, nodes.Add | nodes.Concat):
                return False
        return True
