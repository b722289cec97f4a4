"""What every command stands on: flags and messages, devices, GPT-2 folders, run folders. Knows no model and no data."""
