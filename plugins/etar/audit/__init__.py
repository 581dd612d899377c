"""The auditor: finds records that no place accounts for, brings them where they belong, and closes what is exact.

It trusts no sink: what it goes by is Kafka's own offsets and records. Nothing is imported here: `etar status` and the
pipeline read the auditor's books (``marks``) without what the auditor itself needs.
"""
