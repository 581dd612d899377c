"""The event producer: seeded shop traffic, or a user's own events, sent to Kafka and accounted for one by one."""
