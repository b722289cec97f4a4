"""What every program here needs, and what no method is about."""
