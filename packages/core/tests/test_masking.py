"""Secrets are masked by their value in every encoding, and by their form; ordinary text stays."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.masking import KNOWN_SECRETS, KnownSecrets, Masker, holds_secret, mask
from devflow_core.safe_text import are_plain_names, clean_name
from hypothesis import assume, given
from hypothesis import strategies as st

KEY = "plainKeyWithoutAPrefix-Canary_42"
DRAWN = "aB3dE5fG7hJ9kL1mN"
"""A text that looks random."""
PREFIXED = f"sk-or-v1-{DRAWN}{DRAWN}"

SECRETS = [
    f"x-api-key: {DRAWN}",
    "x-api-key: abcdefghijklmnopq",
    f'{{"X-Api-Key": "{DRAWN}"}}',
    f"api-key={DRAWN}",
    f"Authorization: Basic {b64encode(f'user:{DRAWN}'.encode()).decode()}",
    f"Authorization: Bearer {DRAWN}",
    f"Cookie: session={DRAWN}",
    f"Set-Cookie: sid={DRAWN}; Path=/",
    f"OPENAI_KEY={DRAWN}",
    f"https://host/path?key={DRAWN}",
    f"key={DRAWN}",
    f"DB_PASS={DRAWN}",
    f"pwd={DRAWN};",
    f"mysql --password {DRAWN} db",
    f"tool --api-key={DRAWN}",
    f"sshpass -p {DRAWN} ssh root@host",
    f"private_key: {DRAWN}",
    f"ya29.{DRAWN}{DRAWN}",
    f"AccountKey={DRAWN}{DRAWN}==;EndpointSuffix=core.windows.net",
    f"dop_v1_{'0123456789abcdef' * 4}",
    f"shpat_{'0123456789abcdef' * 2}",
    f"'api_key' => '{DRAWN}'",
    f"SECRET_KEY = '{DRAWN}'",
    f"s\u200bk-or-v1-{DRAWN}{DRAWN}",
    json.dumps(f"s\u200bk-or-v1-{DRAWN}{DRAWN}"),
    b64encode(PREFIXED.encode()).decode(),
    b64encode(f"export X={PREFIXED}".encode()).decode(),
    b64encode(f"ab ghp_{DRAWN}{DRAWN}".encode()).decode(),
    f"postgres://admin:{DRAWN}@host/db",
    f"htp//u:{DRAWN}@h",
    f"devflow_{DRAWN}{DRAWN}",
    f"glpat-{DRAWN}{DRAWN}",
]
WORDS_ONLY = [
    ("password: correcthorse", "correcthorse"),
    ("PGPASSWORD=correcthorse psql", "correcthorse"),
    ("DB_PASS=correcthorse", "correcthorse"),
    ('{"password":"correcthorse"}', "correcthorse"),
    ("--password correcthorse", "correcthorse"),
    ("OPENAI_KEY=correcthorsebattery", "correcthorsebattery"),
    ("sshpass -p hunter2 ssh host", "hunter2"),
]
ORDINARY = [
    "def __getitem__(self, key: SupportsIndex) -> T: return sorted(rows, key=lambda row: row.key)",
    "password: string; token: string | null",
    "password = forms.CharField(widget=forms.PasswordInput, required=False)",
    "api_key=os.environ['OPENAI_API_KEY'], token=settings.api_token",
    "API_KEY=your-api-key-here",
    'f"Authorization: Bearer {token}"',
    "use bearer authentication. Basic authentication is no option",
    "--token-limit 5000 --password-file /run/secrets/db --api-key $KEY",
    "max_tokens: 20000, input_tokens=1234567, total_tokens: 24",
    "devflow_http_request_seconds_bucket{le='5'} and devflow_attempts",
    "key: user_id_2024_01_export, cache_key=page_17, primary_key=True",
    "a task-force, a risk-averse disk-usage of sk-learn",
    "id: 550e8400-e29b-41d4-a716-446655440000, key=550e8400-e29b-41d4-a716-446655440000",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "https://github.com/devflow/devflow/pull/17#issuecomment-1234567890",
    "document.cookie = theme; Cookie: a=b",
    "The secret: keep it simple. The token is expired. Password must have 8 characters.",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "git@github.com:devflow/devflow.git and user@host.example",
    "The provider answered 429 (Acme, rate_limit_exceeded): wait a minute. Wait, or ask another.",
]


def _encodings(key: str) -> dict[str, str]:
    data = key.encode()
    return {
        "plain": key,
        "upper": key.upper(),
        "reversed": key[::-1],
        "percent": "".join(f"%{byte:02X}" for byte in data),
        "percent twice": quote("".join(f"%{byte:02x}" for byte in data)),
        "hex": data.hex(),
        "hex with colons": data.hex(":"),
        "JSON": json.dumps({"a": key}),
        "unicode escapes": "".join(f"\\u{ord(char):04x}" for char in key),
        "HTML": "".join(f"&#{ord(char)};" for char in key),
        "zero width": "\u200b".join(key),
        "over two lines": f"{key[:9]}\n{key[9:]}",
        "in JSON over two lines": json.dumps(f"{key[:9]}\n{key[9:]}"),
        **{f"base64 {n}": b64encode(b"xyz"[:n] + data + b"?").decode() for n in range(3)},
    }


@pytest.mark.parametrize("encoding", list(_encodings(KEY)))
def test_a_known_key_is_masked_in_every_encoding(encoding: str) -> None:
    said = _encodings(KEY)[encoding]
    with KNOWN_SECRETS.using(KEY):
        masked = mask(f"before {said} after")
    assert said not in masked
    assert said[4:16] not in masked
    assert "[masked key in use]" in masked


@given(st.text(st.characters(codec="utf-8"), min_size=16, max_size=80), st.text(), st.text())
def test_no_known_secret_is_left_whatever_stands_around_it(
    secret: str, before: str, after: str
) -> None:
    assume(secret not in "[masked key in use]")  # our own words tell nothing of a key
    known = KnownSecrets()
    known.hold(secret)
    masked, count = known.mask(f"{before}{secret}{after}")
    assert secret not in masked
    assert count >= 1


@given(st.text())
def test_texts_without_a_known_secret_stay_as_they_are(text: str) -> None:
    known = KnownSecrets()
    known.hold(KEY)
    assume(KEY[:8].lower() not in text.lower())
    assert known.mask(text) == (text, 0)


def test_a_key_that_was_cut_off_is_masked() -> None:
    with KNOWN_SECRETS.using(KEY):
        assert KEY[:6] not in mask(f"Wrong key {KEY[:24]}… given")


def test_a_secret_is_known_for_as_long_as_it_is_held() -> None:
    known = KnownSecrets()
    known.hold(KEY)
    known.hold(KEY)
    known.release(KEY)
    assert known.mask(KEY)[1] == 1
    known.release(KEY)
    assert known.mask(KEY) == (KEY, 0)
    known.remember([KEY, None, "short"])
    known.hold(KEY)
    known.release(KEY)
    assert known.mask(KEY)[1] == 1
    assert known.mask("short of words") == ("short of words", 0)


def test_a_value_that_stands_in_too_many_words_is_not_held() -> None:
    known = KnownSecrets()
    with known.using("seven77"):
        assert known.mask("a seven77 of words") == ("a seven77 of words", 0)
    with known.using("eight888"):
        assert known.mask("a eight888 of words") == ("a [masked key in use] of words", 1)


def test_the_oldest_value_is_forgotten_unless_it_is_in_use() -> None:
    known = KnownSecrets()
    values = [f"value-{n:04}-{DRAWN}" for n in range(258)]
    known.hold(values[1])
    known.remember(values)
    assert known.mask(values[0]) == (values[0], 0)
    assert [known.mask(one)[0] for one in values[1:]] == ["[masked key in use]"] * 257
    known.release(values[1])
    assert known.mask(values[1]) == (values[1], 0)


@pytest.mark.parametrize(
    "key", ["schlüssel-中文-0123456789", "key-\U0001f511-0123", "\U00010400" * 8]
)
def test_a_key_of_any_letters_is_masked_in_every_encoding(key: str) -> None:
    known = KnownSecrets()
    known.hold(key)
    for said in (
        *(key, key.upper(), quote(key), key.encode().hex()),
        *(json.dumps(key)[1:-1], json.dumps(key)[1:-1].upper().replace("\\U", "\\u")),
        key.encode("ascii", "xmlcharrefreplace").decode(),
    ):
        assert known.mask(f"before {said} after") == ("before [masked key in use] after", 1)
    masked, count = known.mask(json.dumps(json.dumps(key)))
    assert count == 1
    assert masked == "[masked key in use]"


def test_short_secrets_are_not_looked_for_across_words() -> None:
    known = KnownSecrets()
    known.hold("helloworld")
    assert known.mask("hello world") == ("hello world", 0)
    assert known.mask("helloworld") == ("[masked key in use]", 1)


def test_a_masked_json_text_stays_json() -> None:
    with KNOWN_SECRETS.using('quote"and\\backslash-0123'):
        text = Masker().mask_json({"a": 'C:\\quote"and\\backslash-0123', "b": [1, PREFIXED]})
    assert json.loads(text) == {"a": "C:\\[masked key in use]", "b": [1, "[masked API key]"]}


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    masked = mask(text)
    assert "[masked " in masked
    assert DRAWN not in masked
    assert text[-12:] not in masked or not text.endswith(DRAWN)


@pytest.mark.parametrize(("text", "secret"), WORDS_ONLY)
def test_secrets_of_letters_are_masked_where_their_name_says_so(text: str, secret: str) -> None:
    assert secret not in mask(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_code_and_prose_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("text", [*SECRETS, *ORDINARY])
def test_what_was_masked_once_is_not_masked_again(text: str) -> None:
    assert mask(mask(text)) == mask(text)


def test_base64_that_only_begins_like_a_token_stays() -> None:
    harmless = b64encode(b"Bearer of good news, and of bad").decode()
    assert mask(harmless) == harmless
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
    token = b64encode(f"Bearer {DRAWN}".encode()).decode()
    assert mask(f"{picture} {token}").startswith(f"{picture} [masked")


def test_errors_are_masked_whoever_raises_them() -> None:
    assert DRAWN not in str(InvalidRequest(f"No such thing: {PREFIXED}"))


def test_names_are_short_plain_and_without_secrets() -> None:
    assert clean_name(None) is None
    assert clean_name("Google AI Studio") == "Google AI Studio"
    assert clean_name("A\r\n=1\x1b<b>\u202e") == "A??=1??b??"
    assert len(clean_name("x" * 999) or "") == 200
    assert DRAWN not in (clean_name(f"P{PREFIXED}") or "")
    assert are_plain_names("z-ai/glm-5", None, "gen-1780944465-x")
    assert not are_plain_names("a\nb")
    assert holds_secret(f"P{KEY[::-1]}", KEY)
    assert not holds_secret("Acme", KEY)
    assert not holds_secret(KEY, "")
