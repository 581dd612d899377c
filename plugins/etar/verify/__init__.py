"""`etar verify`: what each place says of the same records, and where they differ."""
