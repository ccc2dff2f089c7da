"""The harness of the benchmarks runs and judges. Nothing here says anything about speed."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.bars import BARS, Bar, Figure
from benchmarks.bench import main
from benchmarks.notifications import foreign, mixed, swaps
from benchmarks.plot import plot
from benchmarks.scenarios import QUICK, SCENARIOS


def test_a_scenario_without_broker_is_measured_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scenario", "codec", "--rounds", "1", "--scale", "0.001", "--output", str(tmp_path)])

    (file,) = tmp_path.iterdir()
    told = json.loads(file.read_text())
    rounds = told["results"]["codec"]
    assert [row.name for row in SCENARIOS["codec"].rows] == list(rounds)
    assert all(measured["count"] == 128 and measured["cpu"] > 0 for (measured,) in rounds.values())
    assert [4, 4] == [bar["bar"]["number"] for bar in told["bars"]]
    assert "json.dumps twice" in capsys.readouterr().out


def test_ratios_are_taken_within_each_round() -> None:
    bar = Bar(1, "", Figure("emit", "aioswap"), Figure("emit", "peer"), 0.5)
    slow, fast = {"count": 10, "wall": 1.0, "cpu": 2.0}, {"count": 10, "wall": 1.0, "cpu": 1.0}

    verdict = bar.judge({"emit": {"aioswap": [fast, slow, fast], "peer": [slow, slow, None]}})

    assert (0.75, 0.5, 1.0) == (verdict.middle, verdict.least, verdict.most)
    assert verdict.met is False


def test_a_bar_without_figures_is_neither_met_nor_missed() -> None:
    verdicts = [bar.judge({"emit": {"aioswap": [None]}}) for bar in BARS]

    assert {None} == {verdict.met for verdict in verdicts}


def test_every_bar_is_about_rows_that_exist() -> None:
    named = {(scenario.name, row.name) for scenario in SCENARIOS.values() for row in scenario.rows}
    figures = [figure for bar in BARS for figure in (bar.this, bar.other) if figure is not None]

    assert named >= {(figure.scenario, figure.row) for figure in figures}
    assert set(QUICK) <= set(SCENARIOS)


def test_no_two_bodies_are_alike() -> None:
    made = [*swaps(50), *foreign(50), *mixed(50, 0.9)]

    assert 50 == len(set(swaps(50)))
    assert 52 == len(set(made[50:102]))
    assert b"instance.volume_swap." in made[-50]
    assert b"instance.volume_swap." in made[-1]


def test_the_picture_shows_what_was_measured() -> None:
    measured = {"count": 10.0, "wall": 1.0, "cpu": 0.001}

    picture = ElementTree.fromstring(plot({"emit": {"aioswap": [measured], "C & co": [measured, None], "absent": [None]}}))

    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"aioswap", "C & co", "100", "Emit, confirmed"} <= set(texts)
    assert "absent" not in texts
