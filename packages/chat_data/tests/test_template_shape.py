import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packages.chat_data.src.chat_template import ChatTemplate
from packages.chat_data.src.document import Message
from packages.chat_data.src.template_shape import copies_contents
from packages.chat_data.tests.conftest import MARKED_TEMPLATE, QWEN25_TEMPLATE

COPYING = [
    QWEN25_TEMPLATE,
    MARKED_TEMPLATE,
    "{% for m in messages[1:] %}{{ m['content'] ~ m.role }}{% endfor %}",
    "{% set last = messages[messages | length - 1] %}{{ 'x' + last.content }}",
    "{% for m in messages %}{% if m.role == 'user' and not m.tool_calls %}{{ m.content }}{% endif %}{% endfor %}",
]
DEPENDING = [
    "{% for m in messages %}{{ m.content | trim }}{% endfor %}",
    "{% for m in messages %}{{ m.content.strip() }}{% endfor %}",
    "{% for m in messages %}{% if m.content %}x{% endif %}{% endfor %}",
    "{% for m in messages %}{% if '</think>' in m.content %}x{% endif %}{% endfor %}",
    "{% for m in messages %}{{ 'x' if m['content'] else 'y' }}{% endfor %}",
    "{% set c = messages[0].content %}{{ c | trim }}",
    "{% set m = messages[0] %}{{ m | tojson }}",
    "{% for m in messages %}{{ m }}{% endfor %}",
    "{% for m in messages %}{{ m.get('content') | upper }}{% endfor %}",
    "{% for m in messages %}{% for k, v in m.items() %}{{ v | upper }}{% endfor %}{% endfor %}",
    "{% for m in messages %}{% set k = 'content' %}{{ m[k] | upper }}{% endfor %}",
    "{% for m in messages %}{{ m.content[:3] }}{% endfor %}",
    "{{ messages | map(attribute='content') | join }}",
    "{% macro f(m) %}{{ m.content | trim }}{% endmacro %}{{ f(messages[0]) }}",
    "{% for m in messages | sort(attribute='content') %}{{ m.role }}{% endfor %}",
    "{% if messages[0] == messages[1] %}x{% endif %}",
    "{{ dict(a=messages) }}",
    "{% filter upper %}{{ messages[0].content }}{% endfilter %}",
    "{% set x %}{{ messages[0].content }}{% endset %}{{ x | trim }}",
    "{% for m in messages %}{{ loop.previtem.content | trim }}{% endfor %}",
    "{% for m in messages %}{% if loop.changed(m.content) %}x{% endif %}{% endfor %}",
    "{% set ns = namespace(last=messages[0]) %}{{ ns.last.content | trim }}",
    "{% for m in messages %}{{ m.content }",
]


@pytest.mark.parametrize("template", COPYING)
def test_templates_that_copy_contents_are_recognized(template):
    assert copies_contents(template)


@pytest.mark.parametrize("template", DEPENDING)
def test_templates_that_look_at_contents_are_not_shortened(template):
    assert not copies_contents(template)


@pytest.mark.parametrize(
    "template", [QWEN25_TEMPLATE, MARKED_TEMPLATE], ids=["without marks", "with marks"]
)
@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    contents=st.lists(st.text(max_size=12), min_size=2, max_size=6),
    system=st.booleans(),
    everything=st.booleans(),
)
def test_the_frame_gives_what_the_template_renders(
    make_tokenizer, template, contents, system, everything
):
    turns = [
        Message(("user", "assistant")[number % 2], content)
        for number, content in enumerate(contents)
    ]
    if system:
        turns.insert(0, Message("system", "{{ not code }} \ue0f8"))
    chat = ChatTemplate(
        make_tokenizer(template), train_on_prompt=everything, system_message=None
    )
    assert chat.render(turns) == chat._rendered(tuple(turns))
    assert len(chat._shapes) == 1
