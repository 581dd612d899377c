"""Writes records of an Avro schema, and reads them field by field, as far as they go. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from fastavro.validation import validate

from etar.records.avro import LONG, AvroDeclared, AvroSchema, Node, UnreadableSchemaError, renamed
from etar.records.codec import NotEncodableError, UnusableSchemaError
from etar.records.column_types import MOST_DECIMAL_BYTES, MOST_DIGITS, TICKS_PER_SECOND, UUID_BYTES
from etar.records.framing import SchemaId, with_header


class Instant(NamedTuple):
    """A field as it was in another schema: its value, and how many of it make a second."""

    value: int
    ticks: int


class AvroWriter:
    """A :class:`etar.records.codec.Writer`. Of a union, it writes the first of its records that the fields make."""

    def __init__(self, schema_id: SchemaId, text: str, references: Sequence[str] = ()) -> None:
        """
        Raises:
            UnusableSchemaError: the schema is not an Avro record.
        """
        self.schema_id: int | str = str(schema_id) if isinstance(schema_id, UUID) else schema_id
        """A GUID as its text."""
        try:
            parsed = AvroSchema(text, references)
            self.branches = [AvroFields(parsed, node) if parsed.is_record(node) else None for node in parsed.branches]
        except UnreadableSchemaError as error:
            raise UnusableSchemaError(f"schema id {schema_id} is not an Avro record: {error}") from error
        if not any(self.branches):
            raise UnusableSchemaError(f"schema id {schema_id} is not an Avro record")
        self.is_union = parsed.is_union

    def encode(self, fields: Mapping[str, Any], former: Mapping[str, Instant] | None = None) -> bytes:
        """A value in Confluent's wire format; a field that is left out takes its default.

        Args:
            former: instants as they were before. One that is still the same number is in the ticks of its own schema,
                and is written in those of this one.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        if isinstance(self.schema_id, str):
            raise NotEncodableError("a schema that is known by its GUID alone cannot be named in Confluent's header")
        refusals = []
        for number, record in enumerate(self.branches):
            if record is None:
                continue
            body = BytesIO()
            if self.is_union:
                LONG.write(body, number)
            try:
                record.write(body, record.in_own_ticks(fields, former or {}))
            except NotEncodableError as error:
                refusals.append(error)
                continue
            return with_header(self.schema_id, body.getvalue())
        raise NotEncodableError(f"{refusals[0]} (schema id {self.schema_id})") from refusals[0]


class AvroFields:
    """The fields of one record of a schema, read and written one by one: so a record is read as far as it goes."""

    def __init__(self, schema: AvroSchema, node: Node) -> None:
        types = schema.fields(node)
        self._shapes = {name: schema.shape(part) for name, part in types.items()}
        kinds = {name: set(schema.kinds(part)) for name, part in types.items()}
        self._uuids = {name for name, each in kinds.items() if ("fixed", "uuid") in each}
        declared = {name: AvroDeclared(schema, part) for name, part in types.items()}
        self._decimals = {
            name: _DecimalBytes(each.scale, each.size) for name, each in declared.items() if each.scale is not None
        }
        self.ticks = {
            name: ticks for name, part in types.items() if (ticks := _ticks(schema.logical_type(part))) is not None
        }
        try:
            self._whole = schema.shape(node, defaults=True)
        except UnreadableSchemaError:  # a default that is none: what is written has to be whole
            self._whole = schema.shape(node)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._shapes)

    def read(self, source: BytesIO) -> tuple[dict[str, Any], str | None]:
        """The fields up to the first that cannot be decoded, and what stopped the reading (None: nothing did)."""
        fields: dict[str, Any] = {}
        for name, shape in self._shapes.items():
            try:
                value = renamed(shape.read(source), shape.symbols)
            except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
                return fields, f"{name} cannot be decoded: {error!r:.200}"
            fields[name] = self._told(name, value)
        return fields, None

    def _told(self, name: str, value: Any) -> Any:
        """A UUID as its text, a decimal as the number it is."""
        if not isinstance(value, bytes):
            return value
        if name in self._uuids and len(value) == UUID_BYTES:
            return str(UUID(bytes=value))
        return self._decimals[name].number(value) if name in self._decimals else value

    def write(self, body: BytesIO, fields: Mapping[str, Any]) -> None:
        """Raises:
        NotEncodableError: names the field, where it is one.
        """
        ours = {symbol: name for name, symbol in self._whole.symbols.items()}
        plain = {name: renamed(_floats(self._written(name, value)), ours) for name, value in fields.items()}
        try:
            self._whole.write(body, plain)
        except Exception as error:  # as many kinds as there are wrong values
            misfit = next((name for name in self._shapes if not self._fits(name, plain)), None)
            raise NotEncodableError(f"{f'{misfit}: ' if misfit else ''}{error}") from error
        # The writer takes 2**40 for an int and any text for a boolean.
        for name, value in plain.items():
            if not validate(value, self._shapes[name].schema, raise_errors=False):
                raise NotEncodableError(f"{name}: {fields[name]!r:.60} is not of the schema's type")

    def in_own_ticks(self, fields: Mapping[str, Any], former: Mapping[str, Instant]) -> dict[str, Any]:
        return {
            name: value * self.ticks[name] // former[name].ticks
            if type(value) is int and name in self.ticks and name in former and value == former[name].value
            else value
            for name, value in fields.items()
        }

    def _written(self, name: str, value: Any) -> Any:
        """What :meth:`_told` tells, as the bytes it was; what is no such thing as it is."""
        try:
            if name in self._uuids and isinstance(value, str):
                return UUID(value).bytes
            if name in self._decimals and isinstance(value, Decimal | int | str) and not isinstance(value, bool):
                return self._decimals[name].bytes_of(Decimal(value))
        except (OverflowError, NotEncodableError) as error:
            raise NotEncodableError(f"{name}: {value} does not fit: {error}") from error
        except (ValueError, ArithmeticError):
            return value
        return value

    def _fits(self, name: str, fields: Mapping[str, Any]) -> bool:
        try:
            # Left out, it is the whole record's writer that knows whether there is a default.
            self._shapes[name].write(BytesIO(), fields[name])
        except Exception:  # as above
            return False
        return True


@dataclass(frozen=True)
class _DecimalBytes:
    """How a schema writes a decimal. ``size``: in bytes, where it is fixed."""

    scale: int
    size: int | None

    def number(self, raw: bytes) -> Decimal | bytes:
        """Bytes that are absurdly many stay what they are."""
        if len(raw) > MOST_DECIMAL_BYTES:
            return raw
        unscaled = int.from_bytes(raw, "big", signed=True)
        return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -self.scale))

    def bytes_of(self, number: Decimal) -> bytes:
        """Raises:
        NotEncodableError: the number has too many digits after the point.
        OverflowError: it has more bytes than there are.
        """
        if not number.is_finite() or abs(number.adjusted()) > MOST_DIGITS:
            raise NotEncodableError("it is no number that a schema could hold")
        numerator, denominator = number.as_integer_ratio()
        ten_to_the_scale: int = 10**self.scale
        unscaled, rest = divmod(numerator * ten_to_the_scale, denominator)
        if rest:
            raise NotEncodableError(f"the schema has {self.scale} digits after the point")
        return unscaled.to_bytes(self.size or (unscaled.bit_length() + 8) // 8, "big", signed=True)


def _floats(value: Any) -> Any:
    """``value`` with the floats that Avro has where a JSON text was read exactly."""
    match value:
        case Decimal():
            return float(value)
        case list():
            return [_floats(each) for each in value]
        case dict():
            return {name: _floats(each) for name, each in value.items()}
    return value


def _ticks(logical_type: str | None) -> int | None:
    return TICKS_PER_SECOND.get((logical_type or "").removeprefix("local-"))
