"""The corpus `starter://python-docs`: questions and answers from standard library docstrings.

Invariant: the documents depend on the running interpreter alone (version, platform, build), never
on the working directory, the environment, the hash seed, or what is installed in site-packages.
"""

import ast
import gc
import importlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packages.chat_data.src.document import Document, Message, document_key
from packages.cloud.src.exit_codes import EX_UNAVAILABLE, UserError

# Side effects on import, no documentation worth asking about, or left out of some distributions.
SKIPPED_MODULES = frozenset(
    "antigravity encodings ensurepip idlelib lib2to3 pydoc_data test this turtledemo".split()
)
# Written in C, so their docstrings are read by import. None of them does anything when imported.
COMPILED_MODULES = tuple(
    "array binascii builtins cmath collections decimal functools gc hashlib io itertools math mmap "
    "operator os random re select signal socket struct sys time unicodedata zlib".split()
)
# The longest pair stays below 256 tokens of a 4k byte-level BPE (measured: 168).
MAX_ANSWER_CHARACTERS = 400
MAX_SIGNATURE_CHARACTERS = 100
MIN_ANSWER_WORDS = 4

_SIGNATURE_LINE = re.compile(r"^[\w.]+\(.*?\)\s*(?:->|--|=)?\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_HOME_NAMES = {"posix": "os", "nt": "os"}
_HAS_BODY = (ast.If, ast.Try, ast.With)


@dataclass(frozen=True, slots=True)
class DocumentedObject:
    """A public name of the standard library, e.g. `json.JSONEncoder.encode`.

    Args:
        name: dotted, as a user would write it.
        kind: "class", "property", or "function" (methods too).
        signature: "(obj, *, indent)"; empty where unknown or too long.
        docstring: with the indentation removed.
    """

    name: str
    kind: str
    signature: str
    docstring: str


def starter_documents() -> Iterator[Document]:
    """Question and answer pairs by dotted name; no two share a question or an answer.

    Raises:
        UserError: this interpreter has no readable standard library sources.
    """
    seen: set[str] = set()
    for documented in sorted(_documented_objects(), key=lambda found: found.name):
        answer = summary(documented.docstring)
        # The answer alone is the key: `str.strip` and `bytes.strip` say the same, and must not
        # sit on both sides of a split.
        key = document_key(Document((), answer, documented.name)) if answer else ""
        if not answer or key in seen:
            continue
        seen.add(key)
        turns = (Message("user", question(documented)), Message("assistant", answer))
        yield Document(turns, "", documented.name)


def question(documented: DocumentedObject) -> str:
    """What a user asks about the object; one wording per kind."""
    if documented.kind == "function":
        return f"What does {documented.name}{documented.signature} do?"
    return f"What is {documented.name}{documented.signature}?"


def summary(docstring: str) -> str:
    """The first paragraph of prose on one line, cut after a whole sentence; empty if none.

    A leading signature ("max(iterable, *[, key=func]) -> value") is not prose and is dropped.
    """
    for paragraph in docstring.split("\n\n"):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        if lines and _SIGNATURE_LINE.match(lines[0]):
            alternatives = [line for line in lines if not _SIGNATURE_LINE.match(line)]
            # "D.keys() -> a set-like object ..." holds its only prose behind the arrow.
            lines = alternatives or [_SIGNATURE_LINE.sub("", lines[0])]
        text = _whole_sentences(" ".join(" ".join(lines).split()))
        if len(text.split()) >= MIN_ANSWER_WORDS:
            return text if _is_prose(text) else ""
    return ""


def standard_library_sources() -> list[tuple[str, Path]]:
    """(dotted module name, source file) of every public standard library module, by name.

    Raises:
        UserError: no source file was found, e.g. in an interpreter that ships only byte code.
    """
    library = Path(sysconfig.get_path("stdlib"))
    sources: list[tuple[str, Path]] = []
    for name in sorted(sys.stdlib_module_names - SKIPPED_MODULES):
        if name.startswith("_"):
            continue
        folder = library / name
        if folder.is_dir():
            sources += [
                (_module_name(path, library), path) for path in _public_files(folder)
            ]
        elif folder.with_suffix(".py").is_file():
            sources.append((name, folder.with_suffix(".py")))
    if not sources:
        raise UserError(
            "starter://python-docs found no Python source of the standard library in this "
            "interpreter, expected json/__init__.py and some 300 more. Install the interpreter "
            "with its sources, or set data.source to a file.",
            EX_UNAVAILABLE,
        )
    return sorted(sources)


def _documented_objects() -> list[DocumentedObject]:
    with _garbage_collection_paused():
        objects = [
            found
            for module, path in standard_library_sources()
            if '"""' in (source := path.read_text(encoding="utf-8", errors="replace"))
            for found in _in_statements(module, ast.parse(source).body)
        ]
        named = {found.name for found in objects}
        for module in COMPILED_MODULES:
            objects += [
                found
                for found in _in_compiled_module(module)
                if found.name not in named
            ]
    return objects


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    # Syntax trees are millions of objects without a cycle: collecting among them doubled the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _public_files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if not any(
            _is_private(part) for part in path.relative_to(folder).with_suffix("").parts
        )
    ]


def _is_private(part: str) -> bool:
    return (part.startswith("_") and part != "__init__") or part in (
        "test",
        "tests",
        "idle_test",
    )


def _module_name(path: Path, library: Path) -> str:
    parts = path.relative_to(library).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _in_statements(
    scope: str, statements: Iterable[ast.stmt]
) -> Iterator[DocumentedObject]:
    for statement in statements:
        if isinstance(statement, _HAS_BODY):
            yield from _in_statements(scope, statement.body)
        elif isinstance(
            statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            if statement.name.startswith("_"):
                continue
            name = f"{scope}.{statement.name}"
            if docstring := ast.get_docstring(statement):
                yield DocumentedObject(
                    name, _kind(statement), _source_signature(statement), docstring
                )
            if isinstance(statement, ast.ClassDef):
                yield from _in_statements(name, statement.body)


def _kind(statement: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if isinstance(statement, ast.ClassDef):
        return "class"
    decorators = {
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        for node in statement.decorator_list
    }
    return "property" if decorators & {"property", "cached_property"} else "function"


def _source_signature(
    statement: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> str:
    if isinstance(statement, ast.ClassDef) or _kind(statement) == "property":
        return ""
    arguments = statement.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if names and names[0] in ("self", "cls"):
        del names[0]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return _short_signature(names)


def _in_compiled_module(module: str) -> Iterator[DocumentedObject]:
    namespace = vars(importlib.import_module(module))
    for name in sorted(namespace):
        found = namespace[name]
        # Re-exports (`from math import gcd`) and aliases (`array.ArrayType`) are left out.
        home = str(getattr(found, "__module__", "")).lstrip("_")
        if (
            _HOME_NAMES.get(home, home) != module
            or getattr(found, "__name__", "") != name
        ):
            continue
        # Test runners and shells put their own functions in the place of sys.unraisablehook.
        if name.startswith("_") or name.endswith("hook"):
            continue
        scope = name if module == "builtins" else f"{module}.{name}"
        if inspect.isclass(found):
            yield from _in_compiled_class(scope, found)
        elif inspect.isbuiltin(found) and found.__doc__:
            yield DocumentedObject(
                scope,
                "function",
                _compiled_signature(found),
                inspect.cleandoc(found.__doc__),
            )


def _in_compiled_class(scope: str, found: type) -> Iterator[DocumentedObject]:
    docstring = vars(found).get("__doc__")
    if isinstance(docstring, str):
        yield DocumentedObject(scope, "class", "", inspect.cleandoc(docstring))
    for name, member in sorted(vars(found).items()):
        docstring = getattr(member, "__doc__", None)
        if name.startswith("_") or not isinstance(docstring, str):
            continue
        if inspect.isgetsetdescriptor(member) or inspect.ismemberdescriptor(member):
            yield DocumentedObject(
                f"{scope}.{name}", "property", "", inspect.cleandoc(docstring)
            )
        elif inspect.ismethoddescriptor(member) or isinstance(
            member, classmethod | staticmethod
        ):
            yield DocumentedObject(
                f"{scope}.{name}",
                "function",
                _compiled_signature(member),
                inspect.cleandoc(docstring),
            )


def _compiled_signature(found: object) -> str:
    text = getattr(found, "__text_signature__", None)
    if not text:
        return ""
    names = [part.split("=")[0].strip() for part in text.strip("()").split(",")]
    return _short_signature(
        [name for name in names if name and name[0] != "$" and name != "/"]
    )


def _short_signature(names: list[str]) -> str:
    signature = f"({', '.join(names)})"
    return signature if len(signature) <= MAX_SIGNATURE_CHARACTERS else ""


def _whole_sentences(text: str) -> str:
    kept = ""
    for sentence in _SENTENCE_END.split(text):
        longer = f"{kept} {sentence}".strip()
        if len(longer) > MAX_ANSWER_CHARACTERS:
            break
        kept = longer
    return kept


def _is_prose(text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return ">>>" not in text and letters >= 0.8 * len(text)
