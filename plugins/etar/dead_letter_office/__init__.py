"""What a person does with dead letters: look at them, fix, replay and discard them (`etar dead-letters`)."""
