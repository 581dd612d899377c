"""The auditor: finds records that no place accounts for, brings them where they belong, and closes what is exact.

It trusts no sink: what it goes by is Kafka's own offsets and records.
"""

from etar.audit.auditor import AuditResult, LostRecordsError, NotRepairedError, RewoundTopicError
from etar.audit.marks import AuditBusyError
from etar.audit.run import run_audit

__all__ = [
    "AuditBusyError",
    "AuditResult",
    "LostRecordsError",
    "NotRepairedError",
    "RewoundTopicError",
    "run_audit",
]
