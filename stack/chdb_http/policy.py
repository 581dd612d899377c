"""What clients may not do, in two fences.

The engine's own access control is the outer one: its single user is given what working on tables takes, and nothing
that reaches files, the network or other programs; the caps on time and memory are constraints that no SETTINGS
clause can lift. The inner fence refuses what the engine grants too freely when it runs as a library (the scalar
``file``, ``executable``, Python objects, disks defined in a table) and what would pass the front by (INTO OUTFILE,
which the client side of the engine carries out). It reads canonical text only, so that neither case, comments nor
nesting hide anything from it.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from stack.chdb_http.config import Limits
from stack.chdb_http.errors import ACCESS_DENIED, NOT_IMPLEMENTED, FrontError
from stack.chdb_http.sql import Statement, Token

_GRANTS = (
    "SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, "
    "KILL QUERY, SHOW ON *.*"
)

# Settings that name a file or an address: fixed at what the engine starts with.
_FIXED_SETTINGS = (
    "format_avro_schema_registry_url",
    "format_schema",
    "format_template_resultset",
    "format_template_row",
    "max_memory_usage_for_user",
    "output_format_schema",
)

_VERBS = {
    *("SELECT", "WITH", "(", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN", "CHECK", "KILL", "INSERT", "DELETE", "UPDATE"),
    *("CREATE", "ALTER", "DROP", "UNDROP", "TRUNCATE", "RENAME", "EXCHANGE", "OPTIMIZE", "DETACH"),
}
_SESSION_VERBS = {"SET", "USE"}

# Table functions that stay inside the engine. All others that it has are refused, also those of later versions.
_SAFE_TABLE_FUNCTIONS = {
    *("dictionary", "format", "generate_series", "generateseries", "generaterandom", "merge", "mergetreeindex"),
    *("mergetreeprojection", "null", "numbers", "numbers_mt", "primes", "sqlstandardvalues", "values", "view"),
    *("zeros", "zeros_mt"),
}
_REFUSED_FUNCTIONS = {"file", "disk", "catboostevaluate"}

_SAFE_ENGINES = re.compile(
    r"(?:Aggregating|Coalescing|Collapsing|Graphite|Replacing|Summing|VersionedCollapsing)?MergeTree"
    r"|Atomic|Buffer|GenerateRandom|Join|Log|Memory|Merge|Null|Set|StripeLog|TinyLog"
)


class Policy:
    """The inner fence. ``table_functions`` are the names that the engine itself lists."""

    def __init__(self, table_functions: frozenset[str]) -> None:
        lowered = {name.lower() for name in table_functions}
        self._refused = (lowered - _SAFE_TABLE_FUNCTIONS) | _REFUSED_FUNCTIONS

    def check(self, statement: Statement) -> None:
        """Raises FrontError (ACCESS_DENIED or NOT_IMPLEMENTED) where clients may not run the statement."""
        if statement.verb in _SESSION_VERBS:
            raise FrontError(
                NOT_IMPLEMENTED,
                f"{statement.verb} needs a session, and every request has a connection of its own here: "
                "send settings and the database as URL parameters",
            )
        if statement.verb not in _VERBS:
            raise _denied(f"{statement.verb} statements")
        found = statement.tokens
        for token, following in zip(found, (*found[1:], None), strict=True):
            self._check_pair(statement, token, following)

    def _check_pair(self, statement: Statement, token: Token, following: Token | None) -> None:
        if following is None or (token.kind != "word" and not token.text.startswith(("`", '"'))):
            return
        name, after = token.text, following.text
        if after == "(" and name.strip('`"').lower() in self._refused:
            raise _denied(f"the function {name}")
        if (name, after) in {("INTO", "OUTFILE"), ("FROM", "INFILE")}:
            raise _denied(f"{name} {after}")
        if name == "TEMPORARY" and statement.verb == "CREATE":
            raise FrontError(NOT_IMPLEMENTED, "Temporary tables need a session, and there are none here")
        if name.lower() == "log_comment" and after == "=":
            raise _denied("log_comment in a statement (send it as a URL parameter)")
        if name == "ENGINE" and after == "=" and statement.verb in {"CREATE", "ALTER"}:
            engine = next((t.text for t in statement.tokens if t.start >= following.end), "")
            if not _SAFE_ENGINES.fullmatch(engine.strip('`"')):
                raise _denied(f"the engine {engine}")


def _denied(what: str) -> FrontError:
    return FrontError(ACCESS_DENIED, f"Not allowed through this front: {what}")


def engine_config(users_config: str, limits: Limits) -> str:
    """config.xml of the engine. ``default`` is left free for a database of its own, see ``engine``."""
    return f"""<clickhouse>
  <users_config>{escape(users_config)}</users_config>
  <default_database>_local</default_database>
  <max_server_memory_usage>{limits.max_server_memory_usage}</max_server_memory_usage>
</clickhouse>
"""


def engine_users(limits: Limits) -> str:
    """users.xml of the engine: its one user, what it is granted, and the caps as defaults and as constraints."""
    caps = {"max_memory_usage": limits.max_memory_usage, "max_execution_time": limits.max_execution_time}
    defaults = "".join(f"<{name}>{value}</{name}>" for name, value in caps.items())
    constraints = "".join(f"<{name}><min>1</min><max>{value}</max></{name}>" for name, value in caps.items())
    constraints += "".join(f"<{name}><const/></{name}>" for name in _FIXED_SETTINGS)
    return f"""<clickhouse>
  <profiles><default>{defaults}<constraints>{constraints}</constraints></default></profiles>
  <quotas><default/></quotas>
  <users><default>
    <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT {_GRANTS}</query></grants>
  </default></users>
</clickhouse>
"""
