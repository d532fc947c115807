"""From captions to edits: the record, its engines and its filters."""
