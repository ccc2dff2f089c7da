"""What the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aioswap.settings import Settings, read_urls

_VARIABLES = ("URL", "URL_FILE", "EXCHANGE", "TOPIC", "MANAGEMENT_URL", "SERVE_TOKEN")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"AIOSWAP_{name}" for name in _VARIABLES), "RABBITMQ_URL", "AMQP_URL"):
        monkeypatch.delenv(name, raising=False)


def test_an_empty_environment_says_nothing() -> None:
    settings = Settings()

    assert ((), None, ()) == (settings.urls(), settings.exchange, settings.topics)


def test_everything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOSWAP_URL", "amqp://a/ rabbit://b,c/")
    monkeypatch.setenv("AIOSWAP_EXCHANGE", "nova-west")
    monkeypatch.setenv("AIOSWAP_TOPIC", "versioned_notifications, billing,")
    monkeypatch.setenv("AIOSWAP_MANAGEMENT_URL", "https://m/")
    monkeypatch.setenv("AIOSWAP_SERVE_TOKEN", "sesame")
    settings = Settings()

    assert ("amqp://a/", "rabbit://b,c/") == settings.urls()
    assert ("nova-west", ("versioned_notifications", "billing")) == (settings.exchange, settings.topics)
    assert settings.management_url is not None
    assert "https://m/" == settings.management_url.get_secret_value()
    assert settings.serve_token is not None
    assert "sesame" == settings.serve_token.get_secret_value()


def test_nothing_secret_is_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIOSWAP_URL", "AMQP_URL", "AIOSWAP_MANAGEMENT_URL", "AIOSWAP_SERVE_TOKEN"):
        monkeypatch.setenv(name, "amqp://user:secret@host/")

    assert "secret" not in repr(Settings())


def test_the_own_variable_comes_first_then_its_file_then_those_of_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[str] = []
    file = tmp_path / "urls"
    file.write_text("amqp://file/\n")
    for name, value in (
        ("AMQP_URL", "amqp://amqp/"),
        ("RABBITMQ_URL", "amqp://rabbitmq/"),
        ("AIOSWAP_URL_FILE", str(file)),
        ("AIOSWAP_URL", "amqp://own/"),
    ):
        monkeypatch.setenv(name, value)
        found += Settings().urls()

    assert ["amqp://amqp/", "amqp://rabbitmq/", "amqp://file/", "amqp://own/"] == found


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOSWAP_URL", "")
    monkeypatch.setenv("AMQP_URL", "amqp://a/")

    assert ("amqp://a/",) == Settings().urls()


def test_topics_may_be_given_in_python_too() -> None:
    assert ("a",) == Settings(AIOSWAP_TOPIC=("a",)).topics  # type: ignore[call-arg]


def test_a_file_holds_a_url_a_line(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("# cell 1\n\n amqp://a/ \namqp://b/")

    assert ("amqp://a/", "amqp://b/") == read_urls(file)


@pytest.mark.parametrize(("content", "reason"), [(b"# none\n", "holds no URL"), (b"amqp://\xff", "no text")])
def test_a_file_without_a_url_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_bytes(content)

    with pytest.raises(ValueError, match=reason):
        read_urls(file)
