"""`etar trace`: where one event is, step by step, from Kafka to the report that counted it."""
