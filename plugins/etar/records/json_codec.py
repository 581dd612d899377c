"""Records as JSON: plain, under the stream's own JSON Schema, or behind a header under one that is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

from etar.dead_letters import Reason
from etar.records.codec import ColumnReader, NotEncodableError, Reader, UnusableSchemaError
from etar.records.column_types import Declared
from etar.records.framing import OWN_SCHEMA, Frame, SchemaId, registered_frame, schema_id_of, with_header
from etar.records.json_rules import RULES
from etar.records.json_text import read_object, read_value, to_text
from etar.records.plan import Plan
from etar.records.record import BadRecordError, Record, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import TableLayout

if TYPE_CHECKING:
    import jsonschema_rs

    from etar.records.batch import Batch
    from etar.records.bodies import Bodies

_BEYOND_TYPE = frozenset(
    (
        "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength", "maxProperties",
        "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "uniqueItems",
    )
)  # fmt: skip
"""Rules of a JSON Schema about values that are of the right type."""

_SHOWN = 60
_BACKTRACKS = 100_000
"""Steps that one pattern may take on one text. One without look-around and back-references takes one a character."""


class _JsonDeclared(Declared):
    """Numbers are as they are; instants, dates and decimals may be texts."""

    is_json = True

    @property
    def items(self) -> Declared:
        return self

    def field(self, name: str) -> Declared:  # noqa: ARG002  (as of its superclass)
        return self


DECLARED = _JsonDeclared()


class _Checker:
    """Holds values to a JSON Schema, exactly: the library is given the schema as text, numbers as Decimal, and those
    rules in which it goes through a float. ``tests/unit/records/test_json.py`` compares all with exact arithmetic."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """
        Raises:
            UnusableSchemaError: the text is no JSON Schema, or refers to what its references do not define.
        """
        import jsonschema_rs

        try:
            read_value(schema.text.encode())
            self._validator: jsonschema_rs.Validator = jsonschema_rs.validator_for(
                schema.text,
                retriever=_retriever(schema),
                keywords=RULES,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
        except BadRecordError as error:
            raise UnusableSchemaError(f"the schema is no JSON: {error.detail}") from error
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            said = str(error).partition("\n")[0]
            raise UnusableSchemaError(f"the schema cannot be used: {said:.300}") from error

    def check(self, datum: dict[str, Any]) -> None:
        """
        Raises:
            BadRecordError: the detail names field, rule and value.
        """
        try:
            if self._validator.is_valid(datum):
                return
            broken = next(self._validator.iter_errors(datum))
        except UnicodeEncodeError as error:  # the one text of JSON's that the library cannot take
            raise BadRecordError(
                Reason.MISSING_OR_WRONG_FIELD, "expected text, got half of a surrogate pair in the object"
            ) from error
        rule = str(broken.kind.name)
        where = ".".join(map(str, broken.instance_path)) or "the object"
        message = broken.message if len(broken.message) <= 3 * _SHOWN else f"got {broken.instance!r:.{_SHOWN}}"
        reason = Reason.OUT_OF_RANGE if rule in _BEYOND_TYPE else Reason.MISSING_OR_WRONG_FIELD
        raise BadRecordError(reason, f"{where}: {rule} of the JSON Schema: {message}")


def _retriever(schema: RegisteredSchema) -> Callable[[str], Any]:
    """Gives what a schema refers to out of what was registered with it, and nothing from anywhere else."""
    texts = dict(zip(schema.names, schema.references, strict=True))

    def retrieve(uri: str) -> Any:
        for name, text in texts.items():
            if uri == name or uri.endswith(f"/{name}"):
                return read_value(text.encode())
        raise LookupError(f"it is not among the schema's registered references ({', '.join(texts) or 'none'})")

    return retrieve


class JsonReader:
    """A :class:`etar.records.codec.Reader`."""

    columns: ColumnReader | None = None

    def __init__(self, checker: _Checker, plan: Plan) -> None:
        self._checker = checker
        self._plan = plan

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        datum = read_object(body.read())
        self._checker.check(datum)
        return self._plan.values(datum)


class JsonWriter:
    """A :class:`etar.records.codec.Writer`."""

    def __init__(self, schema: RegisteredSchema, schema_id: SchemaId) -> None:
        self.schema_id: int | str | None = str(schema_id) if isinstance(schema_id, UUID) else schema_id or None
        """A GUID as its text; None of the stream's own."""
        self._checker = _Checker(schema)

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        if isinstance(self.schema_id, str):
            raise NotEncodableError("a schema that is known by its GUID alone cannot be named in Confluent's header")
        try:
            body = to_text(dict(fields)).encode()
            # Read back: what a hook made may hold floats, or what is no JSON; the rules are those of the reader.
            self._checker.check(read_object(body))
        except BadRecordError as error:
            raise NotEncodableError(error.detail) from error
        except (TypeError, ValueError) as error:
            raise NotEncodableError(str(error)) from error
        return body if self.schema_id is None else with_header(self.schema_id, body)


class _JsonFormat:
    malformed = Reason.NOT_JSON

    def bodies(self, batch: Batch) -> Bodies | None:  # noqa: ARG002  (no reader has a use for them)
        return None

    def reader(self, schema: RegisteredSchema, layout: TableLayout) -> Reader | Unreadable:
        if schema.kind != "JSON":
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, f"the schema is {schema.kind}, not JSON Schema")
        try:
            checker = _Checker(schema)
        except UnusableSchemaError as error:
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, str(error))
        absent = "the record has no such field, and the column takes no null"
        return JsonReader(checker, Plan(layout, DECLARED, absent=absent))

    def writer(self, schema: RegisteredSchema, schema_id: SchemaId) -> JsonWriter:
        if schema.kind != "JSON":
            raise UnusableSchemaError(f"it is {schema.kind}, not JSON Schema")
        return JsonWriter(schema, schema_id)


class PlainJsonCodec(_JsonFormat):
    """A :class:`etar.records.codec.Codec`: each value is the JSON alone."""

    def __init__(self, schema_text: str | None) -> None:
        """``schema_text``: of the stream's JSON Schema; with None any object will do that fits the table."""
        self.own_schema: RegisteredSchema | None = RegisteredSchema(schema_text or "true", "JSON")

    def frame_of(self, record: Record, value: bytes) -> Frame:  # noqa: ARG002  (no header of a record matters)
        if value[0] == 0:
            schema_id = schema_id_of(value)
            behind = f", behind which the schema id {schema_id} may stand" if schema_id else ""
            raise BadRecordError(
                self.malformed,
                f"the value begins with a zero byte{behind}: values with a header are of the format json-registered",
            )
        return OWN_SCHEMA, 0, None


class RegisteredJsonCodec(_JsonFormat):
    """A :class:`etar.records.codec.Codec`: Confluent's header, then JSON."""

    own_schema: RegisteredSchema | None = None

    def frame_of(self, record: Record, value: bytes) -> Frame:
        return registered_frame(record, value, self.malformed)
