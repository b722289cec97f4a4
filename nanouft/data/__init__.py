"""From files to batches: forms of data, rows, tokens, masks, order."""
