"""How fields and values of a row are named in an error."""
import json
from collections.abc import Collection
from typing import Any

from nanouft.errors import visible


def json_type(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "a string", list: "a list",
             dict: "an object"}
    return names.get(type(value), "a number")


def short_json(value: Any) -> str:
    """A value of a file as JSON, on one line, at most 40 characters."""
    line = " ".join(json.dumps(value, ensure_ascii=False, default=str).splitlines())
    text = visible(line)
    return text if len(text) <= 40 else text[:37] + "..."


def quoted_names(keys: Collection[str]) -> str:
    names = [short_json(key) for key in keys]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
