"""Other people's files: containers, fields and dialogues, read into rows."""
