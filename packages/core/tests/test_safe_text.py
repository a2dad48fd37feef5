"""Names chosen by strangers harm neither terminals nor spreadsheets, and JSON keeps its meaning."""

import json
import re
import unicodedata

import pytest
from devflow_core.safe_text import escape_formula, escape_json, replace_control_characters
from hypothesis import given
from hypothesis import strategies as st

TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ODD = st.text(
    st.characters() | st.sampled_from(f"{TURNING}\x1b\x7f\x9b\r\n\u2028\u200b\ufeff=\uff1d")
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("claude \u2013 caf\u00e9 \u4e2d\u6587", "claude \u2013 caf\u00e9 \u4e2d\u6587"),
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("a\r\nb\tc", "a\ufffd\ufffdb\ufffdc"),
        ("user\u202egpj.exe", "user\ufffdgpj.exe"),
        ("a\u2028b\ufeff", "a\ufffdb\ufffd"),
    ],
)
def test_a_label_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert replace_control_characters(text) == shown


@given(ODD)
def test_no_control_character_is_left_in_a_label(text: str) -> None:
    shown = replace_control_characters(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in shown)
    assert not set(TURNING) & set(shown)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("gpt-x", "gpt-x"),
        ("1 + 1 = 2", "1 + 1 = 2"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("-1", "'-1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "'\ufffd=1"),
        ("a\n=1", "a\ufffd=1"),
    ],
)
def test_a_label_is_no_formula(text: str, cell: str) -> None:
    assert escape_formula(text) == cell


@given(ODD)
def test_no_label_becomes_a_formula(text: str) -> None:
    cell = escape_formula(text)
    assert re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", cell) is None
    assert cell.removeprefix("'").removeprefix("'") in replace_control_characters(text)


def test_json_is_written_with_escapes_for_what_steers() -> None:
    document = '{"a\u202e": "\x9b31m caf\u00e9 \ufeff"}'
    assert escape_json(document) == '{"a\\u202e": "\\u009b31m caf\u00e9 \\ufeff"}'


@given(st.dictionaries(ODD, ODD | st.integers() | st.none()))
def test_escaped_json_says_the_same(value: dict[str, object]) -> None:
    escaped = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(escaped) == value
    assert not any(one < " " or "\x7f" <= one <= "\x9f" for one in escaped)
    assert not set(TURNING) & set(escaped)
