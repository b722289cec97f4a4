"""A GPT and its tokenizer: loaded and saved."""
