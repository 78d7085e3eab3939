"""What a flag lists with commas."""

from bss.utils.errors import RecipeError, shown


def entries(flag: str, text: str) -> tuple[str, ...]:
    """The entries of a list, without the blanks around them; a comma may end it, and an empty text has none.

    Args:
        flag: whose text it is, for the message.
        text: such as ``"uniform, spl"``.

    Raises:
        RecipeError: an entry before a comma is empty, which is a slip more often than a wish.
    """
    parts = [part.strip() for part in text.split(",")]
    if not parts[-1]:
        del parts[-1]
    if not all(parts):
        raise RecipeError(f"{flag} {shown(text)}: there is nothing before one of its commas; take it out, or say what")
    return tuple(parts)
