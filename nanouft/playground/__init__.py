"""A page in which a small language model learns in the browser, with every objective."""
