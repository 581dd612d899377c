"""Which modules are mutated, with the unit tests that are asked to notice."""

from __future__ import annotations

GUARDS = {
    "etar.audit.auditor": "tests/unit/audit",
    "etar.audit.marks": "tests/unit/audit",
    "etar.audit.pieces": "tests/unit/audit",
    "etar.audit.placement": "tests/unit/audit",
    "etar.audit.reopening": "tests/unit/audit",
    "etar.dead_letter_office.replay": "tests/unit/dead_letters",
    "etar.offsets": "tests/unit/etar",
    "etar.pipeline.lost_rows": "tests/unit/pipeline",
    "etar.pipeline.settle": "tests/unit/pipeline",
    "etar.records.avro_codec": "tests/unit/records",
    "etar.records.decode": "tests/unit/records",
    "etar.records.framing": "tests/unit/records",
    "etar.records.plan": "tests/unit/records",
    "etar.records.record": "tests/unit/records",
    "etar.verify.account": "tests/unit/verify",
    "etar.verify.compare": "tests/unit/verify",
    "etar.verify.facts": "tests/unit/verify",
    "connect.native_sink.source": "tests/unit/connect",
    "producer.account": "tests/unit/producer",
    "producer.block_publisher": "tests/unit/producer",
    "producer.publisher": "tests/unit/producer",
    "producer.tally": "tests/unit/producer",
    "stack.chdb_http.framing": "tests/unit/chdb_http",
}
"""What docs/guarantees.md rests on. mutmut itself picks, of these tests, those that run a mutant's function."""


def file_of(module: str) -> str:
    """Where the module stands, from the folder of its package on."""
    return f"{module.replace('.', '/')}.py"
