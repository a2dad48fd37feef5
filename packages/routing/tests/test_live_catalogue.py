"""The one catalogue of a process: renewed, kept, shared."""

import asyncio
import gc
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, NotSent, ProtocolError
from devflow_core.testing import EPOCH
from devflow_openrouter.models.catalogue import decode_document, parse_catalogue
from devflow_routing import Catalogue, FetchedFile, LiveCatalogue
from devflow_routing.live_catalogue import POLL_INTERVAL_S, REFRESH_INTERVAL_S

ROW: dict[str, Any] = {
    "id": "a/one",
    "context_length": 1000,
    "pricing": {"prompt": "0.000001", "completion": "0.000002"},
}
DEARER = {**ROW, "pricing": {"prompt": "0.000002", "completion": "0.000002"}}
TWO = {**ROW, "id": "a/two"}


def document_of(*rows: dict[str, Any], at: datetime = EPOCH) -> dict[str, Any]:
    return {"fetched_at": at.isoformat(), "body": {"data": list(rows)}}


class Source:
    def __init__(self, *documents: dict[str, Any] | Exception) -> None:
        self.documents = list(documents)
        self.fetched = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        self.fetched += 1
        await self.gate.wait()
        document = self.documents.pop(0)
        if isinstance(document, Exception):
            raise document
        return document


def open_source(*documents: dict[str, Any] | Exception) -> Source:
    source = Source(*documents)
    source.gate.set()
    return source


def live_catalogue(
    path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> LiveCatalogue:
    shipped = parse_catalogue({"data": [ROW]}, fetched_at=EPOCH - timedelta(days=90))
    retired = parse_catalogue({"data": [{**ROW, "id": "a/retired"}]}, fetched_at=EPOCH)
    return LiveCatalogue(
        lambda: shipped,
        decode_document,
        file=FetchedFile(path) if path else None,
        overrides=overrides,
        unlisted=lambda: retired,
        clock=lambda: EPOCH,
    )


def prompt_usd(live: LiveCatalogue, model: str = "a/one") -> str | None:
    price = live.price_of(model)
    return None if price is None else f"{price.prompt:f}"


async def test_many_callers_make_one_fetch_and_see_what_changed() -> None:
    source, used = Source(document_of(DEARER, TWO)), list[Catalogue]()
    live = live_catalogue()
    live.subscribe(used.append)
    callers = [asyncio.ensure_future(live.refresh(source)) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    source.gate.set()
    changes = (await asyncio.gather(*callers[1:]))[0]
    assert source.fetched == 1
    assert [(one.model, one.kind) for one in changes] == [
        ("a/one", "price_rose"),
        ("a/two", "added"),
    ]
    assert used == [live.current]


async def test_a_new_list_changes_every_price_at_once() -> None:
    live = live_catalogue(overrides={"a/two": {"prompt_usd_per_mtok": 7}})
    price_of = live.price_of
    assert (prompt_usd(live), prompt_usd(live, "a/two")) == ("0.000001", None)
    assert price_of("a/retired") is not None  # recorded work names models that nobody lists
    await live.refresh(open_source(document_of(DEARER, TWO)))
    assert (prompt_usd(live), prompt_usd(live, "a/two")) == ("0.000002", "0.000007")
    assert price_of("a/one") == live.price_of("a/one")
    served = live.find_served("a/two")
    assert served is not None
    assert served.price == live.price_of("a/two")


async def test_the_old_list_stays_while_the_source_fails() -> None:
    source = open_source(NotSent("no network"), document_of(), document_of(ROW))
    live = live_catalogue()
    before = live.current
    for expected in (NotSent, ConfigurationError):
        with pytest.raises(expected):
            await live.refresh(source)
        assert live.current is before
        assert isinstance(live.last_error, expected)
    await live.refresh(source)
    assert live.last_error is None


@pytest.mark.parametrize("place", ["fetch", "decode", "subscriber", "file"])
async def test_no_error_ends_the_renewing(tmp_path: Path, place: str) -> None:
    faults = [place]

    def fail(here: str) -> None:
        if here in faults:
            raise ZeroDivisionError

    def decode(document: Any) -> Catalogue:
        fail("decode")
        return decode_document(document)

    async def fetch() -> dict[str, Any]:
        fail("fetch")
        return document_of(TWO)

    async def sleep(_seconds: float) -> None:
        faults.clear()
        if place == "file" and not errors:
            FetchedFile(path).save(document_of(TWO))
            faults.append("decode")
            errors.append("as damaged")
        elif live.current.lookup("a/two") is not None:
            raise asyncio.CancelledError

    path, errors = tmp_path / "data" / "models.json", list[str]()
    shipped = parse_catalogue({"data": [ROW]}, fetched_at=EPOCH - timedelta(days=90))
    file = FetchedFile(path)
    live = LiveCatalogue(lambda: shipped, decode, file=file, clock=lambda: EPOCH)
    live.subscribe(lambda _fresh: fail("subscriber"))
    with pytest.raises(asyncio.CancelledError):
        await live.run(fetch, on_error=lambda error: errors.append(error.code), sleep=sleep)
    assert len(errors) == 1
    assert live.last_error is None


async def test_it_is_renewed_by_the_hour_and_after_a_failure_by_the_minute() -> None:
    first = document_of(ROW)
    source = open_source(NotSent("no network"), first, ProtocolError("nonsense"), first)
    live, ages, errors = live_catalogue(), list[float](), list[str]()
    live._clock = lambda: EPOCH + timedelta(seconds=sum(ages))

    async def sleep(seconds: float) -> None:
        ages.append(seconds)
        if source.fetched == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await live.run(source, on_error=lambda one: errors.append(one.message), sleep=sleep)
    assert errors == ["no network", "nonsense"]
    # a minute to the second fetch, an hour to the third, a minute to the fourth
    assert set(ages) == {POLL_INTERVAL_S}
    assert sum(ages) == REFRESH_INTERVAL_S + 2 * POLL_INTERVAL_S


async def test_what_was_fetched_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "data" / "models.json"
    kept = {**document_of(DEARER, TWO), "zero_retention": ["a/two"]}
    await live_catalogue(path).refresh(open_source(kept))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = live_catalogue(path)
    assert prompt_usd(again) == "0.000002"
    assert again.current.zero_retention == {"a/two"}
    assert [one.name for one in path.parent.iterdir()] == ["models.json"]


async def test_what_one_process_fetches_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    one, other, seen = live_catalogue(path), live_catalogue(path), list[Catalogue]()
    other.subscribe(seen.append)
    assert not await other.reload()
    await one.refresh(open_source(document_of(DEARER, TWO)))
    assert not await one.reload()  # it has written this itself
    assert await other.reload()
    assert not await other.reload()
    assert prompt_usd(other) == "0.000002"
    assert seen == [other.current]


async def test_an_older_or_damaged_file_does_not_replace_a_good_list(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    live = live_catalogue(path)
    await live.refresh(open_source(document_of(DEARER)))
    older = document_of(TWO, at=EPOCH - timedelta(days=1))
    FetchedFile(path).save(older)
    assert not await live.reload()
    path.write_bytes(b'{"fetched_at": 3')
    assert not await live.reload()
    assert prompt_usd(live) == "0.000002"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"body": {}}', b'{"body": {"data": []}}'])
async def test_damage_is_told_at_the_start_and_mended_by_a_refresh(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="devflow models refresh"):
        live_catalogue(path)
    shipped = parse_catalogue({"data": [ROW]}, fetched_at=EPOCH)
    file = FetchedFile(path, tolerates_damage=True)
    mended = LiveCatalogue(lambda: shipped, decode_document, file=file)
    await mended.refresh(open_source(document_of(TWO)))
    assert prompt_usd(live_catalogue(path), "a/two") == "0.000001"


async def test_a_list_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    live = live_catalogue(folder / "models.json")
    with pytest.raises(ConfigurationError, match="can be written by others"):
        await live.refresh(open_source(document_of(DEARER)))
    assert prompt_usd(live) == "0.000002"
    assert live.last_error is None


async def test_closing_ends_a_fetch_under_way() -> None:
    live = live_catalogue()
    waiting = asyncio.ensure_future(live.refresh(Source(document_of(ROW))))
    await asyncio.sleep(0)
    await live.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_fetch_that_failed_for_nobody_is_not_reported_at_the_end() -> None:
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unhandled.append(told))
    live = live_catalogue()
    source = Source(NotSent("no network"))
    waiting = asyncio.ensure_future(live.refresh(source))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    source.gate.set()
    await asyncio.sleep(0.01)  # the fetch fails meanwhile
    assert live.last_error is not None
    await live.aclose()
    del live, waiting, source
    gc.collect()
    assert unhandled == []
