"""The harness of `make scale` runs, and finds out when a notification is lost. Nothing here says anything about speed."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aioswap.transports.topology import pool_queue
from benchmarks.bus import depth
from benchmarks.crews import GROUPS, Crew, Figures
from benchmarks.peers.journal import Entry, Journal, entries, key_of, written
from benchmarks.scale import attempt, measure, table
from benchmarks.stage import Stage, Worker, busy_seconds, cpu_seconds, until
from benchmarks.tally import Failed, latencies, once_each, percentile, rate_together, shares
from tests.broker import Node

ID = "0000000a-0000-4000-8000-000000000001"


def journal(*moments: float, first: int = 0) -> list[Entry]:
    return [Entry(first + number, moment) for number, moment in enumerate(moments)]


def run_of(node: Node, folder: Path, group: str, row: int, count: int) -> Figures:
    chosen = GROUPS[group]
    return chosen.run(Stage([node], folder), replace(chosen.rows[row], count=count))


def test_a_journal_gives_back_what_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    noted = Journal(path, 2)

    assert 0 == written(path)

    noted.note(ID, 1.5)
    noted.note("0000000b" + ID[8:])

    kept = entries(path)
    assert 2 == written(path) == len(kept)
    assert Entry(0xA00004000, 1.5) == kept[0]
    assert key_of("0000000b" + ID[8:]) == kept[1].key
    assert kept[1].when > 0


def test_a_journal_takes_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    noted = Journal(tmp_path / "journal", 1)
    noted.note(ID)

    with pytest.raises(struct.error):
        noted.note(ID)


def test_each_notification_may_be_handled_by_any_process() -> None:
    once_each([0, 1, 2], [journal(1.0, 2.0), [], journal(1.5, first=2)])


@pytest.mark.parametrize(
    ("expected", "journals", "said"),
    [
        ([0, 1, 2], [journal(1.0), journal(1.0, first=1)], "1 were not handled, 0 again, and 0 others"),
        ([0, 1], [journal(1.0, 2.0), journal(1.0, first=1)], "0 were not handled, 1 again, and 0 others"),
        ([0], [journal(1.0, 2.0)], "0 were not handled, 0 again, and 1 others"),
        ([0, 0], [journal(1.0)], "0 were not handled, 0 again, and 0 others"),
    ],
)
def test_a_run_fails_where_not_each_was_handled_once(
    expected: Sequence[int], journals: Sequence[Sequence[Entry]], said: str
) -> None:
    with pytest.raises(Failed, match=said):
        once_each(expected, journals)


def test_the_rate_counts_while_all_processes_work() -> None:
    early, late = journal(0.0, 1.0, 2.0, 3.0, 4.0), journal(2.0, 2.5, 3.0, 3.5, 4.0, 4.5, first=5)

    assert (2 + 4) / (4.0 - 2.0) == rate_together([early, late])


def test_processes_that_hardly_worked_together_have_no_rate() -> None:
    with pytest.raises(Failed, match="only 1 notifications"):
        rate_together([journal(0.0, 1.0, 2.0), journal(1.5, 2.5, 3.5, first=3)])
    with pytest.raises(Failed, match="nothing"):
        rate_together([journal(0.0, 1.0), []])


def test_shares_are_told_of_what_would_be_even() -> None:
    assert (0.5, 1.5) == shares([journal(1.0), journal(1.0, 2.0, 3.0)])


def test_a_latency_is_told_where_both_ends_are_known() -> None:
    took = latencies(journal(1.0, 2.0, first=1), journal(0.5, 3.0, 2.5, first=0))

    assert [0.5, 2.0] == took
    assert (0.5, 2.0) == (percentile(took, 0.49), percentile(took, 1.0))


def test_cpu_time_is_read_behind_the_name_of_the_process() -> None:
    stat = f"7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 {150} {50} 0 0 20 0 1 0 99"

    assert 200 / os.sysconf("SC_CLK_TCK") == cpu_seconds(stat)


def test_what_keeps_the_machine_busy_is_neither_idle_nor_waiting() -> None:
    stat = "cpu  100 20 30 99999 9999 4 5 1 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"

    assert 160 / os.sysconf("SC_CLK_TCK") == busy_seconds(stat)


def test_what_does_not_come_fails() -> None:
    with pytest.raises(Failed, match="a thing: not within 0 s"):
        until(lambda: False, "a thing", 0.0)


def test_a_process_that_ends_too_early_fails_with_what_it_said(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", "juggle", url="amqp://127.0.0.1:1/", count=1)
    try:
        with pytest.raises(Failed, match=r"(?s)juggle: it should be ready, and says ''.*invalid choice"):
            worker.ready()
    finally:
        worker.close()


def test_a_run_that_fails_is_told_and_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lose(stage: Stage, crew: Crew) -> Figures:
        raise Failed("one was lost")

    assert attempt(Stage([], tmp_path), replace(GROUPS["pools"], run=lose), GROUPS["pools"].rows[0]) is None
    assert "pools, 1 pool: one was lost" in capsys.readouterr().err


def test_each_row_runs_once_in_each_round(tmp_path: Path) -> None:
    asked: list[str] = []

    def run(stage: Stage, crew: Crew) -> Figures:
        asked.append(crew.name)
        return {"count": crew.count}

    results = measure(Stage([], tmp_path), [replace(GROUPS["pools"], run=run)], rounds=2, scale=0.5)

    assert ["1 pool", "2 pools", "4 pools", "2 pools", "4 pools", "1 pool"] == asked
    assert {"1 pool", "2 pools", "4 pools"} == results["pools"].keys()
    assert [5_000, 5_000] == [figures["count"] for figures in results["pools"]["1 pool"] if figures]


def test_the_table_has_ratios_within_each_round_and_says_what_failed() -> None:
    slow, fast = (
        {"rate": 100.0, "cpu": 20.0, "broker": 5.0, "cores": 1.0},
        {"rate": 300.0, "cpu": 10.0, "broker": 5.0, "cores": 2.0},
    )

    lines = list(table(GROUPS["pools"], {"pools": {"1 pool": [slow, slow], "2 pools": [fast, fast], "4 pools": [fast, None]}}))

    assert "3.00 (3.00-3.00)" in lines[4]
    assert "10.0 (10.0-10.0)" in lines[4]
    assert "failed in 1 of 2 rounds" in lines[5]


def test_every_group_shows_what_it_measures() -> None:
    assert {name: group.name for name, group in GROUPS.items()} == {name: name for name in GROUPS}
    assert all(len(group.rows) == len({crew.name for crew in group.rows}) for group in GROUPS.values())


@pytest.mark.broker
def test_a_consumer_empties_its_queue(node: Node, tmp_path: Path) -> None:
    figures = run_of(node, tmp_path, "consumers", 0, 200)

    assert {"rate", "cpu", "broker", "cores", "fewest", "most"} == figures.keys()


@pytest.mark.broker
def test_emitters_fill_one_queue_and_nothing_is_left_behind(node: Node, tmp_path: Path) -> None:
    figures = run_of(node, tmp_path, "emitters", 1, 200)

    assert {"rate", "cpu", "broker", "cores"} == figures.keys()
    with pytest.raises(Exception, match="no queue"):
        asyncio.run(depth(node.url, pool_queue("scale")))


@pytest.mark.broker
def test_each_pool_gets_everything(node: Node, tmp_path: Path) -> None:
    figures = run_of(node, tmp_path, "pools", 1, 200)

    assert {"rate", "cpu", "broker", "cores"} == figures.keys()


@pytest.mark.broker
def test_who_stands_by_takes_over(node: Node, tmp_path: Path) -> None:
    figures = run_of(node, tmp_path, "failover", 0, 90)

    assert {"gap", "again"} == figures.keys()


@pytest.mark.broker
def test_a_queue_of_replicas_is_measured(node: Node, tmp_path: Path) -> None:
    figures = run_of(node, tmp_path, "cluster", 1, 100)

    assert {"rate", "cpu", "broker", "cores", "p50", "p99"} == figures.keys()
