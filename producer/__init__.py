"""The event producer: seeded made-up traffic of a stream, or a user's own events, sent to Kafka and accounted for."""
