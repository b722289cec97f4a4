"""What scores an answer: NanoWorld's exact score, a reward model, your own function; and what is done with it."""
