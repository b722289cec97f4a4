"""What scores an answer (the exact score, a reward model, your own function), and its uses."""
