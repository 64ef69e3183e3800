"""The questions: what each desk of the company asks, with the repeats and the rewordings of real traffic."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

from asahi_dashboard_api.demo.company import Desk, Person

Body: TypeAlias = dict[str, Any]

_SUPPORT = "You are the support desk of Kitsune Outdoor. Answer in two short paragraphs, friendly and exact."
_WORDINGS = (
    "What is your policy on {topic}?",
    "Hello, can you tell me about your policy on {topic}?",
    "What are the rules for {topic}, please?",
)
_TOPICS = (
    *("returns of worn boots", "late deliveries", "broken zips", "lost parcels", "gift vouchers", "repairs of tents"),
    *("price matching", "orders from abroad", "student discounts", "warranty on stoves", "exchange of sizes"),
    *("cancelled orders", "damaged packaging", "rental gear", "club points", "invoices for companies"),
    *("washing down jackets", "spare tent poles", "waxing canvas", "resoling boots", "trial nights for sleeping bags"),
)
_PRODUCTS = (
    *("Fuji 2 tent", "Kita 30 backpack", "Sora down jacket", "Ishi trekking boots", "Hoshi headlamp", "Mizu filter"),
    *("Yuki snowshoes", "Tani climbing rope", "Kaze rain shell", "Nami dry bag", "Ki carbon poles", "Hi gas stove"),
)
_MISHAPS = ("has not arrived", "came in the wrong colour", "has a torn seam", "is missing a part", "was charged twice")
_CODE = (
    "Debug this Python function of the {module} service and explain the cause.",
    "Refactor the import of the {module} module without a change of behaviour.",
    "Implement a function that retries the {module} call, with tests.",
    "Write code for a class that caches the {module} of a customer.",
)
_MODULES = ("checkout", "stock", "pricing", "search", "loyalty", "shipping", "returns", "newsletter")
_LANGUAGES = ("German", "French", "Italian", "Japanese", "Swedish")
_PAPERS = ("supplier contract", "lease of the Hamburg store", "data processing agreement", "insurance policy")
_NOUNS = (
    *("delivery", "season", "carrier", "warehouse", "customer", "refund", "margin", "fabric", "supplier", "stock"),
    *("campaign", "store", "clause", "term"),
)
_VERBS = (
    *("covers", "delays", "renews", "limits", "changes", "extends", "replaces", "reports", "confirms", "requires"),
    *("excludes", "settles"),
)


class Questions:
    """Draws the next question of a person. The same seed asks the same."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._papers = [self._text(draw.randint(250, 1_100)) for _ in range(40)]
        self._desks: dict[Desk, Callable[[], Body]] = {
            "support": self._support,
            "engineering": self._engineering,
            "marketing": self._marketing,
            "legal": self._legal,
            "reviews": self._review,
            "research": self._research,
        }

    def of(self, person: Person) -> Body:
        """A body of `/infer`."""
        assert person.desk is not None
        return {**self._desks[person.desk](), "tags": {"desk": person.desk}}

    def answer(self, body: Body) -> str | None:
        """What is right to answer where several wordings ask the same; None leaves it to the mock."""
        topic = next((each for each in _TOPICS if body.get("task_type") == "faq" and each in body["prompt"]), None)
        return None if topic is None else f"Mock answer. On {topic}: {_text_of(topic, 0)}"

    def dear(self, model: str) -> Body:
        """What a script asks that was pointed at a dear model by mistake."""
        paper = self._draw.choice(self._papers)
        number = self._draw.randrange(10**6)
        return {
            "prompt": f"Analyse run {number} step by step and explain every cause:\n\n{paper}\n\n{paper}",
            "model": model,
            "routing_mode": "explicit",
            "tags": {"desk": "engineering", "script": "bulk-analysis"},
        }

    def _support(self) -> Body:
        draw = self._draw
        if draw.random() < 0.62:
            topic = _TOPICS[min(int(draw.expovariate(0.22)), len(_TOPICS) - 1)]
            wording = draw.choices(_WORDINGS, (6, 2, 1))[0]
            return {"prompt": wording.format(topic=topic), "system_prompt": _SUPPORT, "task_type": "faq"}
        order, product = draw.randrange(10_000, 99_999), draw.choice(_PRODUCTS)
        prompt = f"My {product} of order {order} {draw.choice(_MISHAPS)}. What happens next? {self._text(12)}"
        return {"prompt": prompt, "system_prompt": _SUPPORT, "task_type": "support"}

    def _engineering(self) -> Body:
        draw = self._draw
        asked = draw.choice(_CODE).format(module=draw.choice(_MODULES))
        body = {"prompt": f"{asked}\n\n```\n{self._text(draw.randint(60, 320))}\n```"}
        chance = draw.random()
        if chance < 0.3:
            model = draw.choice(("gpt-4-turbo", "claude-3-5-sonnet", "claude-3-5-sonnet", "claude-opus-4"))
            return {**body, "model": model, "routing_mode": "explicit"}
        if chance < 0.65:
            return {**body, "routing_mode": "guided", "quality_preference": draw.choice(("medium", "high"))}
        return body

    def _marketing(self) -> Body:
        draw, product = self._draw, self._draw.choice(_PRODUCTS)
        if draw.random() < 0.55:
            language = draw.choice(_LANGUAGES)
            text = f"The {product}: {_text_of(product, draw.randrange(6))}"
            return {"prompt": f"Translate this product text to {language}:\n\n{text}"}
        season = draw.choice(("spring", "autumn", "winter", "a rainy weekend"))
        return {
            "prompt": f"Compose a short story of 80 words about the {product} for {season}, take {draw.randrange(30)}.",
            "routing_mode": "guided",
            "quality_preference": "high",
        }

    def _legal(self) -> Body:
        draw = self._draw
        paper, kind = draw.choice(self._papers), draw.choice(_PAPERS)
        if draw.random() < 0.6:
            return {
                "prompt": f"Give me a summary of this {kind} for the board.",
                "document": paper,
                "task_type": "summarization",
            }
        return {
            "prompt": f"Extract all dates, parties and amounts of this {kind} as JSON fields.",
            "document": paper,
            "task_type": "extraction",
        }

    def _review(self) -> Body:
        product = self._draw.choice(_PRODUCTS)
        said = self._text(self._draw.randint(18, 60))
        return {
            "prompt": f"Classify the sentiment of this review of the {product} as good, mixed or bad: {said}",
            "max_tokens": 64,
            "routing_mode": "guided",
            "quality_preference": "low",
        }

    def _research(self) -> Body:
        draw = self._draw
        left, right = draw.sample(_PRODUCTS, 2)
        prompt = f"Explain why customers prefer the {left} to the {right}, and reason about the cause of returns."
        body: Body = {"prompt": prompt, "document": draw.choice(self._papers[:12]), "task_type": "reasoning"}
        body["stream"] = draw.random() < 0.5
        return body if draw.random() < 0.8 else {**body, "cache": "refresh"}

    def _text(self, words: int) -> str:
        return _sentences(self._draw, words)


def _text_of(product: str, number: int) -> str:
    return _sentences(random.Random(f"{product} {number}"), 45)


def _sentences(draw: random.Random, words: int) -> str:
    made = []
    for _ in range(max(1, words // 8)):
        one, two, three = draw.sample(_NOUNS, 3)
        made.append(f"The {one} {draw.choice(_VERBS)} the {two} of this {three} {draw.randrange(100)}.")
    return " ".join(made)
