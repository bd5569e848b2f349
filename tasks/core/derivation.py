"""Simple derivations of a value that somebody gave: the same amount or date written in another way, or a sum."""

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal

_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
# A number that may be written in other ways; one with a leading zero is an id and may not.
_AMOUNT = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?")
_ARITHMETIC = re.compile(r"(?=.*[+*/()-])[\d.\s+*/()-]+")
_DATE = re.compile(r"(?=.*\d)[a-z0-9 ,./-]{6,24}")
_DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y"),
    *("%B %d %Y", "%d %B %Y", "%b %d %Y", "%d %b %Y"),
)


def numbers_in(text: str) -> Iterator[Decimal]:
    """Yield the numbers of a text; thousands separators are read, digits inside words and ids are not."""
    for found in _NUMBER.findall(text):
        yield Decimal(found.replace(",", ""))


def amount_in(text: str) -> Decimal | None:
    """Return the amount that a whole text is, or None where it is none."""
    return Decimal(text.replace(",", "")) if _AMOUNT.fullmatch(text) else None


def is_arithmetic(text: str) -> bool:
    """Whether a text is an expression of numbers, operators and parentheses."""
    return _ARITHMETIC.fullmatch(text) is not None


def is_sum(amount: Decimal, known: Iterable[Decimal]) -> bool:
    """Whether an amount of money is the sum or the difference of two known ones; whole numbers are never taken so."""
    if amount == amount.to_integral_value():
        return False
    fractions = {number for number in known if number != number.to_integral_value()}
    return any(amount - one in fractions or amount + one in fractions for one in fractions)


def date_spellings(text: str) -> list[str]:
    """Return the ways to write the date that a folded text is, in lower case; none where it is no date."""
    if not _DATE.fullmatch(text):
        return []
    found = dict.fromkeys(day for form in _DATE_FORMATS if (day := _read_date(text, form)) is not None)
    return [spelling for day in found for spelling in _spellings(day)]


def _read_date(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text.replace(",", ""), form).date()
    except ValueError:
        return None


def _spellings(day: date) -> Iterator[str]:
    number, year = day.day, day.year
    ending = "th" if 10 < number < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    for month in (f"{day:%B}".lower(), f"{day:%b}".lower()):
        for spoken in (f"{number}", f"{number}{ending}"):
            yield from (f"{month} {spoken}, {year}", f"{month} {spoken} {year}", f"{spoken} {month} {year}")
            yield from (f"{spoken} of {month} {year}", f"{month} {spoken}", f"{spoken} {month}", f"{spoken} of {month}")
    yield from (f"{day:%Y-%m-%d}", f"{day:%Y/%m/%d}", f"{day:%m/%d/%Y}", f"{day:%d/%m/%Y}", f"{day:%d.%m.%Y}")
    yield from (f"{day.month}/{number}/{year}", f"{number}/{day.month}/{year}", f"{number}.{day.month}.{year}")
