"""The detector `presidio`: Microsoft's, for names, places and the identifiers of many countries, in threads of its own.

It is told by what stands around a word, so it needs whole texts, takes milliseconds for a hundred characters, and errs.
Nothing is fetched: models are installed beforehand, and the recognisers that would ask the network are left out.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asahi_guard.finding import apart
from asahi_kernel.detecting import Detected
from asahi_kernel.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from asahi_guard.config import PresidioConfig

#: Texts are looked through in pieces of this size, or so many short ones: between them it can be given up.
_PIECE, _EACH = 4_000, 40
_WORD = 128
_RUN = re.compile(rf"\S{{{_WORD + 1}}}")
_BREAKS = tuple(map(re.compile, (r"\n\s*\n", r"[.!?]\s", r"\n", r"\s")))
#: Labels of models for what is no personal data.
_OTHER = (
    "CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "PRODUCT", "EVENT", "WORK_OF_ART", "LAW", "LANGUAGE", "FAC",
    "MISC",
)  # fmt: skip
#: The built-in detector finds them, by checksum where there is one, in a time that grows as the text does. For e-mail
#: addresses Presidio looks domains up in a list that it fetches.
_BUILTIN = frozenset({"CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN"})
#: Seconds for 4,000 characters that are chosen well, and no personal data by itself.
_SLOW = frozenset({"URL"})


class Presidio:
    """One engine for all threads. At most `threads` requests are looked through at a time, in turns; the others wait,
    and all of them no longer than `timeout_ms`."""

    def __init__(self, engine: Any, config: PresidioConfig) -> None:
        self._engine = engine
        self._config = config
        self._entities = {entity.lower(): entity for entity in config.entities}
        self.marks: Mapping[str, str] = {kind: f"[{entity}_REDACTED]" for kind, entity in self._entities.items()}
        self.pool = ThreadPoolExecutor(config.threads, "presidio")

    async def find(self, texts: Sequence[str], kinds: Collection[str]) -> Sequence[Sequence[Detected]]:
        """Raises `Unavailable` once the time is over. A run of pieces at a time: who has much to be looked through does
        not keep the others waiting for all of it."""
        entities = [self._entities[kind] for kind in kinds]
        if not entities:
            return [[] for _ in texts]
        told: list[list[Detected]] = [[] for _ in texts]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._config.timeout_ms / 1e3):
                for run in _runs(
                    (number, at, piece) for number, text in enumerate(texts) for at, piece in pieces(text)
                ):
                    found = await loop.run_in_executor(self.pool, self._look, [each[2] for each in run], entities)
                    for (number, at, _), spans in zip(run, found, strict=True):
                        told[number] += (Detected(at + start, at + end, kind) for start, end, kind in spans)
        except TimeoutError:
            raise Unavailable(
                f"personal data could not be looked for within {self._config.timeout_ms} ms",
                code="detector_timeout",
                retry_after=5,
            ) from None
        return [apart(found, self.marks) for found in told]

    def _look(self, texts: list[str], entities: list[str]) -> list[list[Detected]]:
        """Read by a model together. The surest of what overlaps counts."""
        language, told = self._config.language, list[list[Detected]]()
        for text, read in self._engine.nlp_engine.process_batch(texts, language, batch_size=len(texts)):
            results = self._engine.analyze(
                text, language, entities=entities, score_threshold=self._config.threshold, nlp_artifacts=read
            )
            taken: list[Detected] = []
            for each in sorted(results, key=lambda each: (-each.score, each.start)):
                if each.end > each.start and all(each.end <= other.start or other.end <= each.start for other in taken):
                    taken.append(Detected(each.start, each.end, each.entity_type.lower()))
            told.append(taken)
        return told


def _runs(found: Iterator[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    run, size = list[tuple[int, int, str]](), 0
    for each in found:
        if run and size + len(each[2]) > _PIECE:
            yield run
            run, size = [], 0
        run.append(each)
        size += len(each[2]) + _EACH
    if run:
        yield run


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """A text in pieces, each with its place, cut where a paragraph, sentence, line or word ends. Of what has no space
    for long, a piece has `_WORD` characters at its end: taking such a thing apart costs the square of its length."""
    at = 0
    while at < len(text):
        end = _end(text, at)
        if (word := _RUN.search(text, at, end)) is not None:
            end = next(
                (cut for cut in range(word.start() + _WORD, word.start() + 1, -1) if not text[cut - 1].isalnum()), 0
            )
            end = end or word.start() + _WORD
        yield at, text[at:end]
        at = end


def _end(text: str, at: int) -> int:
    if len(text) - at <= _PIECE:
        return len(text)
    for pattern in _BREAKS:
        if ends := [found.end() for found in pattern.finditer(text, at + _PIECE // 2, at + _PIECE)]:
            return ends[-1]
    return at + _PIECE


@contextmanager
def opened(config: PresidioConfig) -> Iterator[Presidio]:
    """The engine with the recognisers that are needed; raises `ConfigError` for what is not there."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    except ImportError:
        told = "detectors.presidio: Presidio is not installed; install it by: pip install 'asahi-guard[presidio]'"
        raise ConfigError(told) from None
    for entity in config.entities:
        if entity in _BUILTIN | _SLOW:
            why = "the built-in detector finds it" if entity in _BUILTIN else "it takes seconds for some texts"
            raise ConfigError(f"detectors.presidio.entities: leave {entity} out; {why}")
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it warns of every language it leaves out
    pipeline = _pipeline(config, spacy)
    ner = NerModelConfiguration(labels_to_ignore=_OTHER)
    engine = SpacyNlpEngine(
        models=[{"lang_code": config.language, "model_name": config.model or "blank"}], ner_model_configuration=ner
    )
    engine.nlp = {config.language: pipeline}  # loaded by us: by itself it would download what is missing
    registry = RecognizerRegistry(supported_languages=[config.language])
    registry.load_predefined_recognizers(languages=[config.language], nlp_engine=engine)
    wanted = set(config.entities)
    useful = [each for each in registry.recognizers if wanted & set(each.supported_entities)]
    if config.model is None:
        useful = [each for each in useful if each.name != "SpacyRecognizer"]
    _check(config, useful)
    registry.recognizers = useful
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[config.language])
    detector = Presidio(analyzer, config)
    try:
        yield detector
    finally:
        detector.pool.shutdown(wait=False, cancel_futures=True)


def _pipeline(config: PresidioConfig, spacy: Any) -> Any:
    if config.model is None:
        pipeline = spacy.blank(config.language)
        spacy.Language.component("asahi_lemmas", func=_lemmas)
        pipeline.add_pipe("asahi_lemmas")
        return pipeline
    try:
        return spacy.load(config.model, exclude=["parser"])
    except OSError:
        told = "is no pipeline of spaCy" if Path(config.model).exists() else "is not installed"
        raise ConfigError(
            f"detectors.presidio.model: {config.model!r} {told}; install it by: python -m spacy download "
            f"{config.model}, or set model: null to look for patterns alone"
        ) from None


def _lemmas(words: Any) -> Any:
    """Without a model words stand for themselves: Presidio looks for them around what it has found."""
    for word in words:
        word.lemma_ = word.lower_
    return words


def _check(config: PresidioConfig, useful: Sequence[Any]) -> None:
    known = {entity for each in useful for entity in each.supported_entities}
    if missing := [entity for entity in config.entities if entity not in known]:
        hint = "they need a model" if config.model is None else "see Presidio's list of supported entities"
        raise ConfigError(
            f"detectors.presidio.entities: nothing finds {', '.join(missing)} in language {config.language!r}; {hint}"
        )
