"""From records as Kafka holds them to rows of the table or dead letters: a sink's work between read and commit.

The native sink does it for every record once; the auditor does it again for those that a sink lost or misfiled.
"""
