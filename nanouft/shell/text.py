"""Text for the terminal and for messages."""


def one_line(text: str, n: int = 160) -> str:
    """White space folded, at most `n` characters."""
    text = " ".join(text.split())
    return text if len(text) <= n else text[:n] + " ..."
