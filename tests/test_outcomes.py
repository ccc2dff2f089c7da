"""What becomes of a delivery, and the policy that judges exceptions."""

from __future__ import annotations

import math

import pytest

from aioswap.outcomes import RETRY_LADDER, Ack, Outcome, Reject, Retry, RetryPolicy


@pytest.mark.parametrize(
    ("after", "step"),
    [(0, 1), (0.5, 1), (1, 1), (1.001, 5), (5, 5), (6, 30), (31, 120), (121, 600), (601, 3600), (3600, 3600)],
)
def test_a_delay_is_rounded_up_to_a_step_of_the_ladder(after: float, step: int) -> None:
    assert step == Retry(after).after


@pytest.mark.parametrize("after", [-0.001, 3600.001, math.inf, -math.inf, math.nan])
def test_a_delay_outside_the_ladder_is_refused(after: float) -> None:
    with pytest.raises(ValueError, match="0 to 3600"):
        Retry(after)


def test_outcomes_tell_why() -> None:
    assert ("retry after 30 s", 30) == (str(Retry(30)), Retry(30).after)
    assert ("pager busy", 1) == (str(Retry(reason="pager busy")), Retry(reason="pager busy").after)
    assert "never" == str(Reject("never"))


@pytest.mark.parametrize("outcome", [Ack(), Reject("why")])
@pytest.mark.parametrize("attempt", [0, 10])
def test_an_outcome_is_its_own_judgement(outcome: Outcome, attempt: int) -> None:
    assert outcome is RetryPolicy(reject=(Exception,)).judge(outcome, attempt)


def _judged(policy: RetryPolicy, raised: Exception, attempt: int) -> tuple[type[Exception], str, int | None]:
    outcome = policy.judge(raised, attempt)
    return type(outcome), str(outcome), outcome.after if isinstance(outcome, Retry) else None


def test_an_exception_is_retried_on_the_ladder_until_the_attempts_are_used_up() -> None:
    judged = [_judged(RetryPolicy(), LookupError("x"), attempt) for attempt in range(6)]

    assert [(Retry, "LookupError: x", step) for step in RETRY_LADDER[:4]] == judged[:4]
    assert [
        (Reject, "LookupError: x (attempt 5 of 5)", None),
        (Reject, "LookupError: x (attempt 6 of 5)", None),
    ] == judged[4:]


def test_the_last_delay_repeats() -> None:
    policy = RetryPolicy(attempts=10, delays=(2, 20))

    assert [5, 30, 30] == [_judged(policy, LookupError(), attempt)[2] for attempt in (0, 1, 8)]


def test_a_handlers_own_retry_keeps_its_delay_and_is_bounded_too() -> None:
    retry = Retry(600, reason="busy")

    assert retry is RetryPolicy().judge(retry, 3)
    assert (Reject, "busy (attempt 5 of 5)", None) == _judged(RetryPolicy(), retry, 4)


def test_what_no_retry_can_cure_is_rejected_at_once() -> None:
    policy = RetryPolicy(reject=(LookupError, ZeroDivisionError))

    assert (Reject, "KeyError: 'x'", None) == _judged(policy, KeyError("x"), 0)
    assert (Retry, "ValueError: x", 1) == _judged(policy, ValueError("x"), 0)


def test_a_retry_is_an_outcome_even_where_every_exception_is_rejected() -> None:
    retry = Retry(5)

    assert retry is RetryPolicy(reject=(Exception,)).judge(retry, 0)


def test_one_attempt_means_no_retry() -> None:
    assert (Reject, "LookupError: x (attempt 1 of 1)", None) == _judged(RetryPolicy(attempts=1), LookupError("x"), 0)


@pytest.mark.parametrize("values", [{"attempts": 0}, {"delays": ()}, {"delays": (1, -1)}, {"delays": (4000,)}])
def test_a_policy_that_cannot_work_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"attempts|delays|after"):
        RetryPolicy(**values)  # type: ignore[arg-type]
