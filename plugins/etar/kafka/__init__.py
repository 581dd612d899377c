"""What etar asks Kafka: offsets, records by their offsets, the log below them, a topic's settings, who stands still."""
