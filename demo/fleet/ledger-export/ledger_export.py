"""Journal entries as fixed-width records of 64 characters."""


def record(account: str, cents: int, text: str) -> str:
    """Returns one record: account (12), amount in cents (14), text (38)."""
    if len(account) > 12:
        raise ValueError(f"account {account!r} is longer than 12 characters")
    sign = "-" if cents < 0 else "+"
    return f"{account:<12}{sign}{abs(cents):013d}{text[:38]:<38}"
