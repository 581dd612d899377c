"""What a person does with a stream's folder: write one from a sample, check it, compare it with the running places."""
