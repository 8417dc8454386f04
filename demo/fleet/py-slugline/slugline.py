"""Slugs for headlines: lower case, ASCII, words joined by hyphens."""
import re
import unicodedata

_WORD = re.compile(r"[a-z0-9]+")


def slug(headline: str, limit: int = 80) -> str:
    """Returns the slug of `headline`, cut at a word boundary before `limit` characters."""
    plain = unicodedata.normalize("NFKD", headline).encode("ascii", "ignore").decode()
    words, length = [], 0
    for word in _WORD.findall(plain.lower()):
        if words and length + 1 + len(word) > limit:
            break
        length += len(word) + (1 if words else 0)
        words.append(word)
    return "-".join(words)
