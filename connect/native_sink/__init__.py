"""A small Kafka-to-ClickHouse sink of our own, for machines without Kafka Connect.

It reads the same connector configuration, fills the same table and commits to the same consumer group as the official
sink would. At-least-once: insert, then commit; the table makes it exactly-once in effect (see ``sql/clickhouse``).
"""
