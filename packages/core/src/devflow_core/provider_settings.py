"""Defines what a user can set for one provider besides the main one: its keys and its address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from devflow_core.addresses import check_confidential_address, passwords_in


def unique_keys(pool: Iterable[SecretStr], single: SecretStr | None) -> tuple[str, ...]:
    """Return the keys in their order of use, without duplicates: the pool, then the single one."""
    given = [*pool, *([single] if single else [])]
    return tuple(dict.fromkeys(key.get_secret_value() for key in given if key))


class ProviderSettings(BaseModel):
    """One table `[providers.NAME]` of `devflow.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_keys: tuple[SecretStr, ...] = ()
    """Keys that are used in rotation."""
    api_key: SecretStr | None = None
    """The single key, used after the pool."""
    base_url: Annotated[str, AfterValidator(check_confidential_address)] | None = None
    """The address, if not the provider's usual one: https, or http to this machine."""

    def keys(self) -> tuple[str, ...]:
        """Return the pool, then the single key, without duplicates."""
        return unique_keys(self.api_keys, self.api_key)

    def secrets(self) -> Iterator[str]:
        """Yield its keys, and the password of its address if that has one."""
        yield from self.keys()
        yield from passwords_in(self.base_url or "")
