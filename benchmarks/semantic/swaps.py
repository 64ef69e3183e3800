"""What the false twins exchange. Wider than the guards' own lists. Pairs are apart by commas."""

_UNITS_TEXT = """
miles kilometers, pounds kilograms, dollars euros, minutes hours, feet meters, hours days, days weeks, weeks
months, months years, gallons liters, cups tablespoons, inches feet, ounces grams, cents dollars, usd gbp,
fahrenheit celsius, mph kph, acres hectares, pesos dollars, yen dollars
"""

_DATES_TEXT = """
monday tuesday, friday sunday, january june, march april, today tomorrow, yesterday today, morning evening, july
august, tonight tomorrow, weekend monday, christmas easter, december october, saturday thursday, wednesday
friday, tuesday wednesday, thursday monday, sunday saturday, tomorrow tonight
"""

_INVERTED_TEXT = """
to from, from to, before after, after before, more less, increase decrease, over under, above below, open close,
buy sell, add remove, higher lower, activate deactivate, maximum minimum, longer shorter, with without, on off,
sent received, up down, start stop, in out, first last
"""

_ENTITIES_TEXT = """
paris london chicago boston houston miami denver seattle dallas atlanta phoenix tampa orlando detroit portland
berlin madrid rome tokyo seoul beijing sydney toronto mexico spain france italy germany japan china brazil
canada india russia korea ireland scotland england greece egypt turkey thailand vietnam cuba chile peru
argentina portugal norway sweden spanish french german italian japanese chinese russian english visa mastercard
apple google amazon walmart target starbucks mcdonalds netflix toyota honda ford tesla chase citibank paypal
monzo texas california florida ohio utah nevada hawaii alaska kansas iowa mom dad brother sister wife husband
boss bob john mary jack chicken beef pasta rice pizza bread eggs milk cheese salmon
"""

_NEGATED_TEXT = """
is: is not, are: are not, can: cannot, do: do not, does: does not, will: will not, should: should not, was: was
not, did: did not, have: have not, has: has not, could: could not
"""


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((one, other) for one, other in (pair.split() for pair in text.split(",")))


UNITS, DATES, INVERTED = _pairs(_UNITS_TEXT), _pairs(_DATES_TEXT), _pairs(_INVERTED_TEXT)
ENTITIES = tuple(_ENTITIES_TEXT.split())
NEGATED = {word.strip(): negated.strip() for word, negated in (pair.split(":") for pair in _NEGATED_TEXT.split(","))}
