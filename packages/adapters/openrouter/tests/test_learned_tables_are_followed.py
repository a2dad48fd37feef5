"""A running gateway takes the table that was learned last, and goes on where it cannot be read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from devflow_core.settings import Settings
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_openrouter.parts import follow_learned
from devflow_routing import LearnedFolder, LearnedTable, Router
from devflow_routing.training.examples import Example
from devflow_routing.training.train import train

DEAR, CHEAP = "anthropic/claude-opus-4.5", "openai/gpt-5-mini"


def learn(cheap: float) -> LearnedTable:
    """A coarse table, in which the cheap model is as good as is said."""
    one = Example(
        scores={DEAR: 1.0, CHEAP: cheap},
        costs_usd={DEAR: 0.02, CHEAP: 0.001},
        kind="coding",
        complexity="medium",
    )
    return train([one] * 60)


@asynccontextmanager
async def following(settings: Settings, router: Router) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(follow_learned(settings, router, 0.01))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_used(router: Router, version: str | None) -> None:
    async with asyncio.timeout(30):
        while (router.learned and router.learned.version) != version:  # noqa: ASYNC110 - untold
            await asyncio.sleep(0.01)


async def test_a_table_is_taken_changed_and_left_while_the_gateway_runs(tmp_path: Path) -> None:
    settings = Settings.load({"HOME": str(tmp_path), "DEVFLOW_DATA_DIR": str(tmp_path / "data")})
    folder, router = LearnedFolder(settings.data_dir), Router(load_shipped_catalogue())
    async with following(settings, router):
        for cheap in (1.0, 0.0):
            await until_used(router, folder.save(learn(cheap)).version)
        folder.undo()
        await until_used(router, learn(1.0).version)


async def test_a_folder_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    settings = Settings.load({"HOME": str(tmp_path), "DEVFLOW_DATA_DIR": str(tmp_path / "data")})
    folder, router = LearnedFolder(settings.data_dir), Router(load_shipped_catalogue())
    version = folder.save(learn(1.0)).version
    async with following(settings, router):
        await until_used(router, version)
        folder.path.rename(tmp_path / "away")
        folder.path.write_text("a file where the folder was")
        await until_used(router, None)
        folder.path.unlink()
        (tmp_path / "away").rename(folder.path)
        await until_used(router, version)
