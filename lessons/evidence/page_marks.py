"""Parts of a page that a command writes. They stand between two marks, which readers do not see:
<!-- lessons --> and <!-- end of lessons -->, each on a line of its own."""
import re

from nanouft.plumbing.errors import UserError


def between(name: str) -> re.Pattern:
    """What stands between the two marks of this name on a page."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.S)


def write_between(page: str, name: str, text: str) -> str:
    """The page with this text between the two marks of this name."""
    if not between(name).search(page):
        raise UserError(f"a page lacks its marks, <!-- {name} --> and <!-- end of {name} -->")
    return between(name).sub(lambda _: text, page)
