"""What a person has to know of who is not looking: rules, the numbers they are about, and who is told."""
