"""The plugin: light to import, in nobody's way, and the same fixtures for every runner."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aioswap import testing
from aioswap.testing import BrokerClock, Bus, Factory, ManualClock, plugin
from tests.testing.kit import phases

pytest_plugins = ["pytester"]

HEAVY = {"aio_pika", "aiormq", "anyio", "asyncio", "click", "pydantic", "pydantic_core", "rich", "sqlite3", "ssl"}


def imported(code: str) -> set[str]:
    """Return which modules `code` loads, beyond pytest's own."""
    program = f"import sys, pytest\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_plugin_imports_nothing_but_three_light_modules() -> None:
    assert {"aioswap", "aioswap.testing", "aioswap.testing.plugin"} == imported("import aioswap.testing.plugin")


def test_a_run_that_uses_no_fixture_of_ours_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"import sys\n\n\ndef test_light():\n    assert not {HEAVY!r} & sys.modules.keys()\n")
    off = [argument for name in ("anyio", "asyncio", "hypothesispytest", "timeout") for argument in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess("-W", "error", *off)

    result.assert_outcomes(passed=1)


def test_the_fixtures_are_listed_with_what_they_are(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures")

    result.stdout.fnmatch_lines(["*aioswap_bus*", "*A bus of the test's own*"])
    result.stdout.fnmatch_lines(["*aioswap_clock*", "*The clock of the test's bus*"])
    result.stdout.fnmatch_lines(["*aioswap_factory*", "*Makes instances*"])


def test_fixtures_of_one_test_belong_together(aioswap_bus: Bus, aioswap_clock: ManualClock, aioswap_factory: Factory) -> None:
    assert aioswap_clock is aioswap_bus.clock
    assert aioswap_factory is aioswap_bus.factory
    assert aioswap_clock.utcnow() == aioswap_factory.notification().timestamp


def test_a_bus_fixture_can_be_opened_by_a_fixture_of_the_user(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")
    pytester.makepyfile("""
        import pytest
        from aioswap import Emitter, volume_swap

        @pytest.fixture
        async def bus(aioswap_bus):
            async with aioswap_bus as bus:
                yield bus

        @pytest.fixture
        async def emitter(bus):
            async with Emitter(bus.transport, host="compute-1") as emitter:
                yield emitter

        async def test_both(bus, emitter, aioswap_factory):
            await emitter.emit(volume_swap.end, aioswap_factory.payload())
            await bus.wait_for(volume_swap.end)
    """)
    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1)


def test_a_url_that_cannot_be_read_is_a_usage_error_without_the_password(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--aioswap-url", "http://user:geheim@host/")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["ERROR: --aioswap-url: give a URL that begins with *amqp://*"])
    assert "geheim" not in result.stderr.str() + result.stdout.str()


def test_the_header_names_the_broker_without_the_password(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing():\n    pass\n")
    result = pytester.runpytest_subprocess("--aioswap-url", "amqp://user:geheim@host/cell1")

    result.stdout.fnmatch_lines(["aioswap: the tests' bus is amqp://user@host:5672/cell1"])
    assert "geheim" not in result.stdout.str()


class Configured:
    """A pytest configuration with one option."""

    def __init__(self, url: str | None) -> None:
        self.url = url

    def getoption(self, name: str) -> str | None:
        assert "--aioswap-url" == name
        return self.url


def test_without_a_url_there_is_no_header() -> None:
    config = Configured(None)
    plugin.pytest_configure(config)  # type: ignore[arg-type]

    assert plugin.pytest_report_header(config) is None  # type: ignore[arg-type]


def test_with_a_url_there_is_a_header_and_another_clock(pytester: pytest.Pytester) -> None:
    config = Configured("amqp://host/")
    plugin.pytest_configure(config)  # type: ignore[arg-type]
    with pytest.raises(pytest.UsageError, match="--aioswap-url: "):
        plugin.pytest_configure(Configured("http://host/"))  # type: ignore[arg-type]

    assert "aioswap: the tests' bus is amqp://guest@host:5672/%2F" == plugin.pytest_report_header(config)  # type: ignore[arg-type]
    assert isinstance(Bus(url="amqp://host/").clock, BrokerClock)


async def test_names_are_loaded_when_they_are_used() -> None:
    assert set(testing.__all__) == testing._HOMES.keys()
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match=r"'aioswap\.testing' has no attribute 'nonsense'"):
        getattr(testing, "nonsense")  # noqa: B009 - mypy knows that it is not there


async def test_a_swap_of_nova_is_one_attempt(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        swap = bus.nova_swap(host="compute-7", version="1.4", display_name="web")
        start = await swap.start()
        end = await swap.end(display_name="other")
        await bus.settled()

    assert ["start", "end"] == phases(bus.notifications())
    assert (swap.instance, swap.old_volume_id, swap.new_volume_id) == (
        end.payload.uuid,
        end.payload.old_volume_id,
        end.payload.new_volume_id,
    )
    assert swap.context.request_id == start.context["request_id"] == end.context["request_id"]
    assert ("nova-compute:compute-7", "1.4") == (start.publisher_id, start.payload.object_version)
    assert ("web", "other") == (start.payload.display_name, end.payload.display_name)
