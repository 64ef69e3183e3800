"""The word lists of the guards, written as plain lists of words."""

from __future__ import annotations


def _groups(text: str) -> dict[str, str]:
    """Each word of a group, and the group's first word for it. Groups are apart by commas."""
    return {word: group.split()[0] for group in text.split(",") for word in group.split()}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATIONS = _set(
    """not no never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt wont wouldnt
    shouldnt couldnt isnt arent wasnt werent hasnt havent hadnt aint mustnt neednt except unless unable fail fails
    failed failing refuse refuses refused lack lacks lacking avoid avoids avoiding stop stops stopped"""
)

NUMBERS = _groups(
    """0 zero, 2 two, 3 three, 4 four, 5 five, 6 six, 7 seven, 8 eight, 9 nine, 10 ten, 11 eleven, 12 twelve, 13
    thirteen, 14 fourteen, 15 fifteen, 16 sixteen, 17 seventeen, 18 eighteen, 19 nineteen, 20 twenty, 30 thirty, 40
    forty, 50 fifty, 60 sixty, 70 seventy, 80 eighty, 90 ninety, 100 hundred, 1000 thousand k, 1000000 million,
    1000000000 billion, 12 dozen, 1/2 half, 1/4 quarter, 2x double twice, 3x triple, 1st first, 2nd second, 3rd third,
    4th fourth, 5th fifth, 6th sixth, 7th seventh, 8th eighth, 9th ninth, 10th tenth, last, next, previous"""
)

#: Units, currencies and dates: as many of each must stand in both texts.
UNITS = _groups(
    """seconds secs sec, minutes minute min mins, hours hour hr hrs, days day daily, weeks week weekly, months month
    monthly, years year yr yrs yearly annual annually, decades decade, centuries century, milliseconds millisecond,
    meters meter metre metres, kilometers kilometer kilometre kilometres km, centimeters centimeter cm, millimeters
    millimeter mm, miles mile, feet foot ft, inches inch, yards yard, acres acre, hectares hectare, grams gram,
    kilograms kilogram kg kilo kilos, milligrams milligram mg, pounds pound lb lbs, ounces ounce oz, tons ton tonnes,
    liters liter litre litres, milliliters milliliter ml, gallons gallon, pints pint, quarts quart, cups cup,
    tablespoons tablespoon tbsp, teaspoons teaspoon tsp, celsius centigrade, fahrenheit, kelvin, percent percentage %,
    dollars dollar usd bucks $, euros euro eur €, sterling gbp £, yen jpy ¥, rupees rupee inr ₹, yuan rmb cny, pesos
    peso, francs franc chf, rubles ruble rub, cents cent, bitcoin bitcoins btc, ethereum eth ether, bytes byte,
    kilobytes kb, megabytes megabyte mb, gigabytes gigabyte gb, terabytes terabyte tb, watts watt, kilowatts kilowatt
    kw, volts volt, calories calorie, kph kmh, mph, pm, january jan, february feb, march, april apr, june jun, july
    jul, august aug, september sep sept, october oct, november nov, december dec, monday, tuesday tue, wednesday,
    thursday thu, friday fri, saturday, sunday, today, tomorrow, yesterday, tonight, morning, afternoon, evening,
    noon, midnight, weekend, weekday, christmas, easter, halloween, thanksgiving, spring, summer, autumn, winter"""
)

#: Words that have a side before and a side after them which cannot be exchanged. After `from` the sides are turned.
DIRECTED = _set("to into from than before after over under vs versus against onto toward towards")

_OPPOSITES = """to from,in out,on off,up down,before after,over under,above below,with without,and or,for against,
here there,all some,all none,any no,can cannot,he she,his her,him her,my your,i you,we they,our their,my his,my her,
inside outside,since until,by for,by to"""
#: Small words that turn a sentence round where they stand for each other.
OPPOSITES = frozenset(frozenset(pair.split()) for pair in _OPPOSITES.split(","))

COMPARISONS = dict.fromkeys(
    _set(
        """more greater larger bigger higher longer faster older better above most max maximum increase increases
        raise gain buy lend hot open enable activate start accept import win plus add upgrade deposit incoming"""
    ),
    "+",
) | dict.fromkeys(
    _set(
        """less fewer smaller lower shorter slower younger worse below least min minimum decrease decreases reduce
        lose sell borrow cold close disable deactivate end reject export loss minus remove downgrade withdraw
        outgoing"""
    ),
    "-",
)

QUESTIONS = _groups(
    """who whom whose,when,where,why,which,what whats,how,
    is are do does did can could should will would was were has have am must"""
)

STOP = _set(
    """a an the is are was were be been being am i me my mine we us our you your yours he him his she her it its they
    them their this that these those there here do does did done doing have has had having can could will would shall
    should may might must of in on at to for from by with about into as and or but if so than then too very just also
    please tell know want need like get got how what when where which who whom why whose any some all out up down
    again s t d ll m re ve hi hello hey thanks thank ok okay u really now give let lets im ive id whats one"""
)

LANGUAGES = {
    language: _set(words)
    for language, words in {
        "en": "the is are what how does can you of and my for with that this",
        "de": "der die das ist und wie ich nicht ein eine kann mit für auf warum den",
        "fr": "le la les est et comment je ne pas une que quoi peut avec pour où pourquoi",
        "es": "el los es cómo yo una qué puede para por dónde las del mi",
        "it": "il lo gli è come non che cosa può per dove perché di della",
        "pt": "os é como eu não um uma pode com onde meu da do",
        "nl": "het een en hoe ik niet wat kan voor op waar waarom van mijn",
    }.items()
}
