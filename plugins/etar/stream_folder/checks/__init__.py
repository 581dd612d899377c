"""What a stream's folder is checked for, a module a file of it."""
