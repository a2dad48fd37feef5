"""Checks which addresses keys may be sent to, and that credentials in one are hidden."""

import pytest
from devflow_core.addresses import (
    check_address,
    check_confidential_address,
    hide_user_info,
    is_loopback,
    parse_address,
    passwords_in,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "url",
    ["https://h/api", "HTTPS://h:1", "http://localhost", "http://127.9.9.9:1/x", "http://[::1]:1/"],
)
def test_keys_go_over_https_or_stay_here(url: str) -> None:
    assert check_confidential_address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://localhost.h",
        "http://127.0.0.1@h",
        "http://h#@127.0.0.1",
        "http://h\\@127.0.0.1",
        "http://[::2]",
    ],
)
def test_keys_do_not_go_over_http_elsewhere(url: str) -> None:
    with pytest.raises(ValueError, match="it has to be"):
        check_confidential_address(url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "h", "//h", "https://", "ftp://h", "https://h:x", "https://h:0", "https://[h"),
        *("https:// h", "ht\ntps://h", "https://h\x7f"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"begin with http:// or https://"):
        check_address(url)


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="@")))
def test_what_stands_before_an_at_is_not_shown(secret: str, rest: str) -> None:
    for url in (f"https://{secret}@{rest}", f"{secret}@{rest}"):
        assert hide_user_info(url).rpartition("…@")[2] == rest
        assert hide_user_info(url) in (f"https://…@{rest}", f"…@{rest}") or "://" in secret
    assert hide_user_info(rest) == rest


@given(st.text())
def test_any_text_is_an_address_or_a_value_error_without_it(text: str) -> None:
    told = ""
    try:
        parse_address(text)
    except ValueError as error:
        told = str(error)
    assert told in ("", "it has to begin with http:// or https:// and name a host")


def test_no_host_is_not_this_machine() -> None:
    assert not is_loopback(None)
    assert not is_loopback("")


def test_an_address_of_any_host_is_one() -> None:
    assert check_address("http://10.0.0.1:80/x") == "http://10.0.0.1:80/x"


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("https://ann:pa%40ss@h/x", ["pa%40ss", "pa@ss"]),
        ("https://:pw@h", ["pw"]),
        ("https://ann:p@ss:word@h", ["p@ss:word"]),
        ("https://ann@h", []),
        ("https://h:443/x", []),
        ("ann:pw", []),
    ],
)
def test_the_passwords_in_an_address(url: str, passwords: list[str]) -> None:
    assert sorted(passwords_in(url)) == passwords
