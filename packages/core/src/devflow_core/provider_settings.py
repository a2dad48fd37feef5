"""What a person sets for one provider beside the main one: its keys, and where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from devflow_core.addresses import check_confidential_address, passwords_in


class ProviderSettings(BaseModel):
    """One table `[providers.NAME]` of `devflow.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_keys: tuple[SecretStr, ...] = ()
    """Used in rotation."""
    api_key: SecretStr | None = None
    """The single key, used after the pool."""
    base_url: Annotated[str, AfterValidator(check_confidential_address)] | None = None
    """Where it is, if not at its usual address. https, or http to this machine."""

    def keys(self) -> tuple[str, ...]:
        """The pool, then the single key, none twice."""
        given = [*self.api_keys, *([self.api_key] if self.api_key else [])]
        return tuple(dict.fromkeys(key.get_secret_value() for key in given if key))

    def secrets(self) -> Iterator[str]:
        """Its keys, and the password of an address."""
        yield from self.keys()
        yield from passwords_in(self.base_url or "")
