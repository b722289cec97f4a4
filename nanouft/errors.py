"""Errors for the person at the keyboard: one clear line each.

    raise UserError("rows.jsonl:3: no prompt; give --prompt-field NAME")    # what, where, remedy
    in_range(hp, "beta", low=0, above=True)                     # "--beta 0.0: must be above 0"
    say(answer)                                     # control characters as text: \\x1b
"""
# C0 but newline and tab, DEL, C1, and the signs that change the direction of writing
CONTROL = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F),
           *range(0x2066, 0x206A)]
ESCAPES = {c: f"\\x{c:02x}" if c < 256 else f"\\u{c:04x}" for c in CONTROL}


class UserError(Exception):
    """One clear line: what is wrong, where, what to do. Commands print it and exit with code 2."""


class Diverged(UserError):
    """A loss, a gradient or a weight is not finite. The one failure that is also a result."""


def flag(name: str) -> str:
    """batch_size -> --batch-size"""
    return "--" + name.replace("_", "-")


def in_range(record: object, *names: str, low: float = 0, high: float = float("inf"),
             above: bool = False) -> None:
    """UserError unless these fields lie from `low` (or above it) to `high`; None passes."""
    for name in names:
        value = getattr(record, name, None)
        if value is not None and (value < low or value > high or above and value == low):
            least = f"{'above' if above else 'at least'} {low}"
            most = f" and at most {high:,}" if high < float("inf") else ""
            raise UserError(f"{flag(name)} {value}: must be {least}{most}")


def visible(text: str) -> str:
    """Control characters written out; newlines and tabs stay."""
    return text.translate(ESCAPES)


def say(*texts, sep=" ", write=print, **how) -> None:
    """print, safe for a terminal: data, models and names of files come from others, and an escape
    sequence could hide or forge what is printed. `write`: tqdm.write, where a bar runs."""
    write(visible(sep.join(map(str, texts))), **how)
