"""The key given to `devflow init` is read back from its place, and only for its own address."""

import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.masking import mask
from devflow_core.settings import Settings
from devflow_core.stored_key import CREDENTIALS_FILE, read_stored_key, store_key

ADDRESS = "https://openrouter.ai/api/v1"
KEY = "sk-or-v1-kept-by-devflow-init-of-this-test"


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory, which can be locked."""

    priority = 1  # type: ignore[assignment] - as the library's own backends declare it

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def _check(self) -> None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.kept[service, username] = password


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    found = Ring()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


@pytest.fixture
def no_ring(ring: Ring) -> Ring:
    ring.is_locked = True
    return ring


def settings(home: Path, **environment: str) -> Settings:
    return Settings.load({"HOME": str(home), **environment}, judge_folder=None)


def config_dir(home: Path) -> Path:
    return home / ".config" / "devflow"


@pytest.mark.usefixtures("no_ring")
def test_without_a_keyring_a_private_file_keeps_it(tmp_path: Path) -> None:
    stored = store_key(config_dir(tmp_path), ADDRESS, KEY)
    file = config_dir(tmp_path) / CREDENTIALS_FILE
    assert stored.place == str(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert settings(tmp_path).server_keys() == (KEY,)
    assert settings(tmp_path).require_keys() == (KEY,)
    assert KEY not in mask(f"the key {KEY} in a message")


def test_a_keyring_keeps_it_and_no_file_does(tmp_path: Path, ring: Ring) -> None:
    stored = store_key(config_dir(tmp_path), ADDRESS, KEY)
    assert stored.place == "the system's keyring"
    assert KEY not in (config_dir(tmp_path) / CREDENTIALS_FILE).read_text()
    assert settings(tmp_path).server_keys() == (KEY,)
    ring.is_locked = True
    with pytest.raises(ConfigurationError, match="Unlock it"):
        settings(tmp_path).server_keys()
    ring.kept.clear()
    ring.is_locked = False
    with pytest.raises(ConfigurationError, match="devflow init"):
        settings(tmp_path).server_keys()


@pytest.mark.usefixtures("no_ring")
def test_it_is_sent_to_no_other_address(tmp_path: Path) -> None:
    store_key(config_dir(tmp_path), ADDRESS, KEY)
    other = settings(tmp_path, OPENROUTER_BASE_URL="http://127.0.0.1:9/api/v1")
    assert other.server_keys() == ()


@pytest.mark.usefixtures("no_ring")
def test_a_key_in_the_environment_wins(tmp_path: Path) -> None:
    store_key(config_dir(tmp_path), ADDRESS, KEY)
    (config_dir(tmp_path) / CREDENTIALS_FILE).chmod(0o644)  # not even looked at
    assert settings(tmp_path, OPENROUTER_API_KEY="sk-other").server_keys() == ("sk-other",)


@pytest.mark.usefixtures("no_ring")
def test_a_file_that_others_may_read_is_refused_and_mended_by_storing(tmp_path: Path) -> None:
    store_key(config_dir(tmp_path), ADDRESS, KEY)
    file = config_dir(tmp_path) / CREDENTIALS_FILE
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        settings(tmp_path).server_keys()
    store_key(config_dir(tmp_path), ADDRESS, KEY)
    assert file.stat().st_mode & 0o777 == 0o600
    assert settings(tmp_path).server_keys() == (KEY,)


def test_a_damaged_file_or_a_link_is_refused(tmp_path: Path) -> None:
    config_dir(tmp_path).mkdir(parents=True)
    file = config_dir(tmp_path) / CREDENTIALS_FILE
    file.write_text("not TOML at all")
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match="devflow init"):
        read_stored_key(config_dir(tmp_path), ADDRESS)
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match="link"):
        read_stored_key(config_dir(tmp_path), ADDRESS)
    with pytest.raises(ConfigurationError, match="link"):
        store_key(config_dir(tmp_path), ADDRESS, KEY)


def test_without_a_home_nothing_is_kept() -> None:
    assert read_stored_key(None, ADDRESS) == ()
    with pytest.raises(ConfigurationError, match="HOME"):
        store_key(None, ADDRESS, KEY)


def test_without_the_keyring_library_a_private_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    store_key(config_dir(tmp_path), ADDRESS, KEY)
    assert (config_dir(tmp_path) / CREDENTIALS_FILE).stat().st_mode & 0o777 == 0o600
    assert settings(tmp_path).server_keys() == (KEY,)
