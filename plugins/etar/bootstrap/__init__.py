"""What the places must have before the first event: topic, tables, bucket."""
