"""Fragments of HTML for Metaflow's Markdown component; text of users is escaped, nothing is fetched.

Each fragment is one line: a blank line would end the HTML block and start Markdown again.
"""

import html
from collections.abc import Sequence

GREEN, RED, GREY, BLUE = "#1a7f4b", "#c0362c", "#6b7280", "#2563eb"
TILE = "flex:1;min-width:150px;padding:14px 18px;border:1px solid #e5e7eb;border-radius:10px"
TABLE = "width:100%;border-collapse:collapse;font-size:14px;margin:4px 0"
CELL = (
    "text-align:left;vertical-align:top;padding:8px 12px 8px 0;background:none;"
    "border:0;border-bottom:1px solid #e5e7eb"
)
PAIR = "display:flex;border-bottom:1px solid #e5e7eb;padding:8px 0;font-size:14px"
MONO = (
    "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;line-height:1.75;"
    "white-space:pre-wrap;overflow-wrap:anywhere"
)
SCORED = "background:#d7f0df;border-radius:3px;box-shadow:inset 0 -2px 0 #1a7f4b"
UNSCORED = "color:#6b7280"


def escaped(text: str) -> str:
    """Text that stays text inside a block of HTML: no tag, no Markdown; a line end is a <br>."""
    safe = html.escape(text.replace("\r\n", "\n").replace("\r", "\n"))
    for mark in "\\`*_~[]|":
        safe = safe.replace(mark, f"&#{ord(mark)};")
    return safe.replace("\n", "<br>").replace("\t", "&nbsp;&nbsp;")


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> str:
    """Rows of fragments (escape the text of users first), left-aligned; no headers, no head."""
    head = "".join(
        f'<th style="{CELL};color:{GREY};font-weight:500">{h}</th>' for h in headers
    )
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if headers else ""
    return f'<table style="{TABLE}">{head}<tbody>{body}</tbody></table>'


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Label and value, one pair a line; escapes both."""
    lines = "".join(
        f'<div style="{PAIR}"><div style="color:{GREY};flex:0 0 240px">{escaped(label)}</div>'
        f'<div style="overflow-wrap:anywhere">{escaped(value)}</div></div>'
        for label, value in rows
    )
    return f"<div>{lines}</div>"  # the card puts a wide gap between blocks


def small_print(text: str) -> str:
    return f'<div style="color:{GREY};font-size:13px">{escaped(text)}</div>'


def folded(title: str, text: str) -> str:
    """Preformatted text behind a title that opens it."""
    return (
        f'<details><summary style="cursor:pointer;color:{BLUE}">{escaped(title)}</summary>'
        f'<div style="{MONO}">{escaped(text).replace("  ", "&nbsp;&nbsp;")}</div></details>'
    )


def banner(accepted: bool, sentence: str) -> str:
    """The verdict as one coloured strip."""
    colour, word = (GREEN, "Accepted") if accepted else (RED, "Rejected")
    return (
        f'<div style="border-left:6px solid {colour};padding:10px 18px;background:{colour}12;'
        f'border-radius:6px"><b style="color:{colour};font-size:20px">{word}</b><br>'
        f"{escaped(sentence)}</div>"
    )


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """(label, large value, small print) side by side."""
    shown = "".join(
        f'<div style="{TILE}"><div style="color:{GREY};font-size:13px">{escaped(label)}</div>'
        f'<div style="font-size:19px;font-weight:600;white-space:nowrap">{escaped(value)}</div>'
        f'<div style="color:{GREY};font-size:12px">{escaped(note)}</div></div>'
        for label, value, note in values
    )
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin:12px 0">{shown}</div>'
    )


def unbroken(text: str) -> str:
    """Text that keeps to one line of its cell."""
    return f'<span style="white-space:nowrap">{escaped(text)}</span>'


def passed_mark(passed: bool) -> str:
    """A word, with a colour for those who see it."""
    colour, word = (GREEN, "✓ passed") if passed else (RED, "✗ failed")
    return f'<b style="color:{colour};white-space:nowrap">{word}</b>'


def answer(text: str, stopped: bool) -> str:
    """What a model wrote; says when it was cut off."""
    cut = "" if stopped else f' <span style="color:{RED}">… cut at the limit</span>'
    body = escaped(text) if text.strip() else f'<i style="color:{GREY}">nothing</i>'
    return f'<div style="{MONO};min-width:150px;line-height:1.5">{body}{cut}</div>'


def masked_tokens(tokens: Sequence[str], scored: Sequence[bool]) -> str:
    """Tokens in a row with thin borders; those that are learned are green and underlined."""
    shown = "".join(
        f'<span style="{SCORED if mark else UNSCORED};border-right:1px solid #d1d5db">'
        f"{_visible(token)}</span>"
        for token, mark in zip(tokens, scored, strict=True)
    )
    return f'<div style="{MONO};padding:10px 14px;border:1px solid #e5e7eb;border-radius:8px">{shown}</div>'


def mask_legend(where: str, tokens: int, scored: int) -> str:
    """Which row it is, what the colours mean, and how much of the row is learned."""
    return (
        f'<div style="font-size:13px;color:{GREY};margin:6px 0"><b>{escaped(where)}</b> · '
        f'{scored:,} of {tokens:,} tokens shown are <span style="{SCORED}">learned</span>, the '
        "rest is only read; a thin line ends each token</div>"
    )


def _visible(token: str) -> str:
    """A token with its line ends shown."""
    marked = token.replace("\r", "").replace("\n", "↵\n").replace("\t", "→")
    return escaped(marked)
