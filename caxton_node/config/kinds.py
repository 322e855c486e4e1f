"""Readers for what only settings have: addresses to listen on, folders, secrets, prices."""

import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from caxton_node.documents.document import Flaw
from caxton_node.documents.plain import plain_flaws
from caxton_node.documents.readers import Flawed, Number, Reader, found

__all__ = [
    "EncryptionKeys",
    "Expression",
    "File",
    "Folder",
    "ListenAddress",
    "ModelPrice",
    "NumericAddress",
    "PriceOfModel",
    "Reads",
    "Secret",
    "WrongValue",
    "decode_key",
]

_ADDRESS: Final = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9.-]{0,252})|\[(?P<literal>[0-9A-Fa-f:.]{2,45})\])"
    r":(?P<port>[0-9]{1,5})"
)
_EXPRESSION_LENGTH_MAX: Final = 500
_PATH_LENGTH_MAX: Final = 1_000
_SECRET_LENGTH_MAX: Final = 10_000
_KEY_SIZES_BYTES: Final = (16, 24, 32)
"""AES-128, AES-192, AES-256."""
_KEY_COUNT_MAX: Final = 8
_PRICE: Final = Number(minimum=0.0, maximum=1_000_000.0)


class _FromPlainText:
    __slots__ = ()

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


class WrongValue(ValueError):
    """What a reader refused, in the form that pydantic collects.

    Attributes:
        flaws: Everything that is wrong.
    """

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Reads:
    """Lets a reader of hand-written values read a field of a pydantic model."""

    reader: Reader

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of a value that the reader alone decides on."""
        return core_schema.no_info_plain_validator_function(self._validate)

    def _validate(self, value: Any) -> Any:
        if isinstance(value, str | int | float | list | dict):
            unfit = tuple(plain_flaws(value))
            if unfit:
                raise WrongValue(*unfit)
        try:
            return self.reader.read(value)
        except Flawed as error:
            raise WrongValue(*error.flaws) from None


@dataclass(frozen=True, slots=True)
class Expression(_FromPlainText):
    """A regular expression."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return r'a regular expression, such as "\bproject x\b"'

    def read(self, value: Any) -> str:
        """Return the expression as it is written."""
        if not isinstance(value, str) or not value or len(value) > _EXPRESSION_LENGTH_MAX:
            rule = "form" if isinstance(value, str) else "wrong_type"
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", rule))
        try:
            re.compile(value)
        except re.error as error:
            raise Flawed(Flaw(f"is no regular expression: {error}", "form")) from None
        return value


@dataclass(frozen=True, slots=True)
class ListenAddress(_FromPlainText):
    """Host and port to listen on."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'a host and a port, such as "127.0.0.1:8080" or "[::1]:8080"'

    def read(self, value: Any) -> str:
        """Return the address as it is written."""
        match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            rule = "form" if isinstance(value, str) else "wrong_type"
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", rule))
        if int(match["port"]) > 65_535:
            raise Flawed(Flaw(f"has the port {match['port']}; ports end at 65535", "range"))
        return match[0]


@dataclass(frozen=True, slots=True)
class NumericAddress(_FromPlainText):
    """An address that needs no look-up, and a port."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'a numeric address and a port, such as "10.0.0.7:7946" or "[fd00::7]:7946"'

    def read(self, value: Any) -> str:
        """Return the address as it is written."""
        address = ListenAddress().read(value)
        host = address.rpartition(":")[0].strip("[]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            fix = "Write 127.0.0.1" if host == "localhost" else "Write its IP address"
            message = f"must be {self.wanted}, not {found(value)}"
            raise Flawed(Flaw(message, "form", fix)) from None
        return address


@dataclass(frozen=True, slots=True)
class Folder(_FromPlainText):
    """A folder, which need not exist."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "the path of a folder"

    def read(self, value: Any) -> Path:
        """Return the path. `~` and relative paths are the loader's business."""
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value or len(value) > _PATH_LENGTH_MAX:
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "wrong_type"))
        return Path(value)


@dataclass(frozen=True, slots=True)
class File(Folder):
    """A file, which is read later."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "the path of a file"


@dataclass(frozen=True, slots=True)
class Secret(_FromPlainText):
    """A text that is never shown."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "a text that is kept secret"

    def read(self, value: Any) -> SecretStr:
        """Return the secret, wrapped."""
        if isinstance(value, SecretStr):
            return value
        # What stands there is not repeated, whatever it is.
        if not isinstance(value, str):
            raise Flawed(Flaw("must be a text", "wrong_type", "Write it in quotes"))
        if not value.strip() or len(value) > _SECRET_LENGTH_MAX:
            raise Flawed(Flaw("must not be empty, nor longer than a key can be", "empty"))
        return SecretStr(value.strip())


def decode_key(text: str) -> bytes:
    """Return the encryption key that `text` spells in base64.

    Raises:
        ValueError: It is no base64, or no key of AES has that size. The text is not repeated.
    """
    try:
        key = binascii.a2b_base64(text.encode(), strict_mode=True)
    except ValueError:
        raise ValueError("a key is written in base64") from None
    if len(key) not in _KEY_SIZES_BYTES:
        raise ValueError(f"a key has 16, 24 or 32 bytes, not {len(key)}")
    return key


@dataclass(frozen=True, slots=True)
class EncryptionKeys(Secret):
    """Keys in base64, separated by blanks or line ends."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "keys of 16, 24 or 32 bytes in base64, that are kept secret"

    def read(self, value: Any) -> SecretStr:
        """Return the keys as they are written, wrapped."""
        secret = Secret.read(self, value)
        words = secret.get_secret_value().split()
        if len(words) > _KEY_COUNT_MAX:
            raise Flawed(Flaw(f"holds {len(words)} keys; {_KEY_COUNT_MAX} at most", "too_many"))
        try:
            for word in words:
                decode_key(word)
        except ValueError as error:
            fix = "Make one with: head -c 32 /dev/urandom | base64"
            raise Flawed(Flaw(f"cannot be used: {error}", "form", fix)) from None
        return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What one model costs, in US dollars for a million tokens."""

    input_usd_per_million: float
    output_usd_per_million: float


@dataclass(frozen=True, slots=True)
class PriceOfModel(_FromPlainText):
    """The price of one model: `{ input = 2.5, output = 10 }`."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "{ input = 2.5, output = 10 }, in US dollars for a million tokens"

    def read(self, value: Any) -> ModelPrice:
        """Return the price."""
        if not isinstance(value, Mapping) or set(value) != {"input", "output"}:
            message = f"must be {self.wanted}"
            raise Flawed(Flaw(message, "wrong_type", "Write input and output, and nothing else"))
        return ModelPrice(
            input_usd_per_million=_PRICE.read(value["input"]),
            output_usd_per_million=_PRICE.read(value["output"]),
        )
