"""The page of the savings benchmark: complete, alone in its file, and deaf to what a prompt says."""

import json
import re
from html.parser import HTMLParser

import msgspec
import pytest
from tests.kernel.benchkit import FAST, command, lines_of, plan, registered, report  # noqa: F401

from asahi_kernel.benchmark.interval import wilson
from asahi_kernel.benchmark.page import page
from asahi_kernel.benchmark.page.charts import Bar, Range, bars, ranges
from asahi_kernel.benchmark.page.wording import dollars, percent, table
from asahi_kernel.benchmark.report import FalseHit, TierTruth
from asahi_kernel.benchmark.targets import targets
from asahi_kernel.benchmark.workload import built_in

EVIL = '<script>alert(1)</script><img src=x onerror=alert(2)>"\' onload="alert(3)&'


class Reader(HTMLParser):
    """Elements, attributes and words of a page; every element that is opened must be closed."""

    VOID = frozenset({"meta", "img", "br", "rect", "path", "link", "input"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def found():
    return report(cases=built_in(1))


def test_the_page_tells_what_the_report_tells(found):
    told = Reader(page(found)).text
    saving = found.saving
    shown = (
        f"{saving.percent:.1f} %",
        f"95 % interval {saving.percent_low:.1f} % to {saving.percent_high:.1f} %",
        f"${saving.baseline_cost:.6f}",
        f"${saving.cost:.6f}",
        f"{found.caching.hit_rate:.1%}".replace("%", " %"),
        f"0 of {found.truth.hits}",
        f"seed {found.workload.seed}",
        found.version,
        found.circumstances.machine.python,
        *(each.type for each in found.types),
        *(f"{found.baseline.latency_ms.p95:.3f}", f"{found.tier_latency_ms['1'].p99:.3f}"),
    )
    assert [each for each in shown if each not in told] == []


def test_every_bar_is_as_long_as_its_figure(found):
    widths = [float(each) for each in re.findall(r'class="asahi" x="0" y="3" width="([\d.]+)"', page(found))]
    saving = found.saving
    assert widths[0] == pytest.approx(100 * saving.cost / saving.baseline_cost, abs=0.01)
    assert widths[1] == pytest.approx(saving.percent, abs=0.01)


def test_the_page_needs_nothing_from_outside(found):
    html = page(found)
    read = Reader(html)
    assert not {"script", "link", "iframe", "object", "img", "form", "base", "use", "image"} & set(read.tags)
    assert not [each for each in read.attributes if each[1] in {"src", "href", "srcset", "xlink:href", "style"}]
    assert not [each for each in read.attributes if each[1].startswith("on")]
    assert not re.search(r"https?://|url\(|@import|//[a-z]", html)
    assert "default-src 'none'" in html


def test_it_is_made_for_small_and_for_dark_screens(found):
    html = page(found)
    assert "width=device-width" in html
    assert "prefers-color-scheme: dark" in html
    assert "max-width: 620px" in html


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_the_contrast_of_aa_and_bars_that_of_graphics(found, scheme):
    sheets = re.findall(r":root \{(.*?)\}", page(found), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", sheets[scheme]))
    full = {
        name: value if len(value) == 7 else "#" + "".join(2 * each for each in value[1:])
        for name, value in colours.items()
    }
    for ground in ("back", "card"):
        assert min(contrast(full[text], full[ground]) for text in ("text", "soft", "asahi", "loss")) >= 4.5
        assert min(contrast(full[bar], full[ground]) for bar in ("baseline", "target")) >= 3
    for badge in ("good", "bad", "mock"):
        assert contrast(full[badge], full[f"{badge}-back"]) >= 4.5


def evil(found):
    """The report after somebody put markup wherever a workload, a file name or a model can put text."""
    false = FalseHit(
        id=EVIL, tier=1, type=EVIL, prompt=EVIL, meaning=EVIL, answer=EVIL, answers=EVIL, answers_meaning=EVIL
    )
    replace = msgspec.structs.replace
    around = found.circumstances
    return replace(
        found,
        workload=replace(found.workload, source=EVIL),
        baseline_model=EVIL,
        baseline=replace(found.baseline, models={EVIL: 3}, errors={EVIL: 1}),
        types=[replace(each, type=EVIL) for each in found.types],
        truth=replace(found.truth, false_hits=1, false_hit_ids=[EVIL], told=[false]),
        circumstances=replace(
            around, command=EVIL, configuration=replace(around.configuration, source=EVIL, providers=[EVIL])
        ),
        notes=[EVIL],
    )


def test_what_a_prompt_says_is_text(found):
    plain, read = Reader(page(found)), Reader(page(evil(found)))
    assert "<script" not in page(evil(found))
    assert set(read.tags) <= {*plain.tags, "br", "code", "pre"}
    assert not [each for each in read.attributes if each[1].startswith("on") or each[1] == "src"]
    assert read.text.count(EVIL) >= 10


def test_the_false_hits_of_a_run_stand_in_its_page_escaped(asahi, monkeypatch, tmp_path):
    from tests.kernel.test_benchmark_dataset import careless

    lines = [{"prompt": f"<script>{number}</script>", "group": str(number)} for number in (10, 20)]
    file = lines_of(tmp_path, *({**each, "prompt": "<script>alert" + each["prompt"]} for each in lines))
    ran = asahi("--dataset", file, "--html", tmp_path / "page.html", config=careless(monkeypatch))
    html = (tmp_path / "page.html").read_text()
    assert ran.exit_code == 1
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert") >= 2
    assert "a check failed" in html


def test_the_page_says_how_to_do_it_again(asahi, tmp_path):
    target = tmp_path / "a page.html"
    ran = asahi("--mock", "--requests", 20, "--seed", 3, "--html", target, "--report", tmp_path / "report.json")
    assert ran.exit_code == 0
    told = json.loads((tmp_path / "report.json").read_text())["circumstances"]["command"]
    assert told == (
        f"asahi benchmark --requests 20 --seed 3 --report {tmp_path / 'report.json'} --html '{target}' --mock"
    )
    assert told in Reader(target.read_text()).text
    assert "no file, the defaults" in Reader(target.read_text()).text


def test_a_page_that_cannot_be_written_is_refused_before_the_run(asahi, tmp_path):
    ran = asahi("--mock", "--html", tmp_path / "nowhere" / "page.html")
    assert ran.exit_code == 2
    assert "there is no folder" in ran.output


def test_only_what_was_measured_is_called_so(found):
    told = Reader(page(found)).text
    assert "A goal is not a measurement" in told
    assert "Whether answers of cheaper models are good enough was not judged" in told
    assert "false hits of the semantic tier at most 1 % not measured in this run" in told


def test_the_goal_for_the_built_in_workload_is_drawn_for_no_other(found):
    load = msgspec.structs.replace(found.workload, built_in=True)
    assert "target for the built-in workload" not in Reader(page(found)).text
    assert "target for the built-in workload" in Reader(page(msgspec.structs.replace(found, workload=load))).text


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_with_next_to_nothing_has_a_page_too(count):
    tree = {**FAST, "providers": {"mock": {"latency_share": 0, "faults": [] if count else [{"status": 400}]}}}
    told = Reader(page(report(tree=tree, cases=built_in(1)[:1]))).text
    assert "nan" not in told
    assert ("Too few requests" if count else "Nothing could be compared") in told


# ---- the charts


def test_a_bar_carries_its_interval_on_the_same_scale():
    drawn = bars([Bar(name="a", value=50.0, shown="50 %", low=25.0, high=75.0)], 200.0)
    assert 'width="25.00"' in drawn
    assert "M12.50 10H37.50" in drawn


def test_a_loss_is_drawn_as_one():
    assert 'class="loss"' in bars([Bar(name="a", value=-1.0, shown="")], 2.0)


def test_ranges_stand_on_whole_decades():
    drawn = ranges([Range(name="a", points=(0.1, 1.0, 10.0), shown=""), Range(name="b", points=(), shown="")], "ms")
    assert "M0.00 10H100.00" in drawn
    assert "M50.00 3V17" in drawn
    assert "<span>0.1</span><span>1</span><span>10</span>" in drawn
    assert ranges([Range(name="a", points=(), shown="")], "ms") == ""


def test_figures_are_worded_for_people():
    assert [dollars(each) for each in (0, 0.000012, -1.5, 12_345.678)] == [
        "$0.0000",
        "$0.000012",
        "−$1.5000",
        "$12,345.68",
    ]
    assert [percent(each) for each in (None, -0.26, 12.34)] == ["–", "−0.3 %", "12.3 %"]
    assert table(("a",), [("b",)]).count("<td>b</td>") == 1


@pytest.mark.parametrize(
    ("wrong", "hits", "met"), [(0, 1_000, True), (50, 1_000, False), (0, 50, None), (8, 1_000, None)]
)
def test_a_goal_for_false_hits_is_met_or_missed_by_its_whole_interval(found, wrong, hits, met):
    low, high = wilson(wrong, hits)
    tier = TierTruth(tier=2, hits=hits, false_hits=wrong, rate=wrong / hits, rate_low=low, rate_high=high)
    truth = msgspec.structs.replace(found.truth, by_tier=[tier])
    goal = targets(msgspec.structs.replace(found, truth=truth))[0]
    assert (goal.name, goal.met) == ("false hits of the semantic tier", met)
    assert ("too few" in goal.measured) == (met is None)


@pytest.mark.parametrize(("low", "met"), [(60.0, True), (59.9, False)])
def test_the_goal_for_the_saving_is_held_against_the_low_end(found, low, met):
    load = msgspec.structs.replace(found.workload, built_in=True)
    saving = msgspec.structs.replace(found.saving, percent_low=low)
    assert targets(msgspec.structs.replace(found, workload=load, saving=saving))[0].met is met
