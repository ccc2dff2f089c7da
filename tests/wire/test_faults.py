from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioswap.wire.faults import FAULT_BYTES, fault_payload, mask, masking, traceback_of
from aioswap.wire.payloads import ExceptionPayload

S = "hunter2X"

SECRETS = [
    f"amqp://guest:{S}@host/",
    f"rabbit://u:{S}@h1:5672,v:{S}@h2/vhost?ssl=1",
    f"https://{S}@example.org/x",
    f"mysql+pymysql://nova:{S}/w@db/nova",
    f"'amqp://u:{S}@h'",
    f"amqp://u:a,{S}@h/",
    f"amqp://:{S}@h",
    f"password={S}",
    f"password = {S}",
    f"password\t:\t{S}",
    f"PASSWORD: {S}",
    f"OS_PASSWORD={S}",
    f"db_password={S}&x=1",
    f'{{"password": "{S}"}}',
    f'"password":"{S}"',
    f"{{'password' : '{S}'}}",
    f"{{'admin_pass': '{S}', 'a': 1}}",
    f'{{"adminPass": "{S}"}}',
    f"user_pass={S}",
    f"pwd={S}",
    f"passwd={S}",
    f"pass={S}",
    f"passphrase={S}",
    f"auth_token={S}",
    f"X-Auth-Token: {S}",
    f"'X-Auth-Token': '{S}'",
    f"('X-Auth-Token', '{S}')",
    f"X-Subject-Token: {S}",
    f"['--password', '{S}']",
    f"--password {S}",
    f"--debug --os-auth-token '{S}'",
    f"--os-password={S}",
    f"{{b'password': b'{S}'}}",
    f"password=b'{S}'",
    f"password=u'{S}'",
    f'password=b"{S}"',
    f'password="""{S}"""',
    f"password='a''{S}'",
    f'password="it\'s {S}"',
    f"password='{S}",
    f"password={S},{S}",
    f"password=x){S}",
    f"Authorization: Basic {S}",
    f"Authorization: Bearer {S}.{S}",
    f"'Authorization': 'Bearer {S}'",
    f"Cookie: a=b; session={S}",
    f"Set-Cookie: {S}; path=/",
    f"bearer {S}",
    f"api_key={S}",
    f"apikey: {S}",
    f"api-key: {S}",
    f"access_key:{S}",
    f"private_key={S}",
    f"client_secret='{S}'",
    f"secret_key = {S}",
    f"secret => {S}",
    f"credentials={{'k': '{S}'}}",
    f"passwords=['a', '{S}']",
    f"password=('{S}',)",
    f'{{\\"password\\": \\"{S}\\"}}',
    f'{{\\\\\\"password\\\\\\": \\\\\\"{S}\\\\\\"}}',
    f"<password>{S}</password>",
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\\n{S}",
]
HARMLESS = [
    "",
    "Volume 38c800a0-3dbb-42e0-b58f-35d78a1177d6 could not be found.",
    "bypass: yes",
    "compass=5",
    "unexpected token '}'",
    "http://host:8080/a/b?c=d",
    "user@host",
    "10 passes done",
    "KeyError: 'volume_id'",
    "--debug --verbose yes",
    'File "nova/virt/driver.py", line 5, in swap_volume\n    self._swap(context, old)\n',
]
HOSTILE = [
    *("a", "password", "password=", 'password="', "password='", 'password=\\"', "\\", "://", "://a@", "--", "--password "),
    *("--pass-", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "A ", "bearer ", " ", "password ", "authorization: ", "token=["),
    *("pass", "api", "secret-", "\n", '"', "'", ",a", "pass>", "password='''", 'password="""', "password\\t"),
]


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def size(fault: ExceptionPayload) -> int:
    """Return what the fault adds to a body if every letter that can be escaped is escaped."""
    return len(json.dumps(json.dumps(fault.to_wire()))) - len(json.dumps(json.dumps(None)))


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_masked(text: str) -> None:
    for masked in (mask(text), mask(f"before {text} after"), mask(repr(text)), mask(json.dumps(text))):
        assert S not in masked
        assert "***" in masked


def test_escaped_quotes_belong_to_the_secret() -> None:
    assert "password=***" == mask(f'password="a\\" {S}"')
    assert "password=***" == mask(f"password='a\\' {S}'")


@pytest.mark.parametrize("text", SECRETS)
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(text) == mask(mask(text))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert text == mask(text)


def test_what_is_around_a_secret_stays() -> None:
    assert "amqp://nova:***@host/vhost is away" == mask(f"amqp://nova:{S}@host/vhost is away")
    assert "https://***@host/" == mask(f"https://{S}@host/")
    assert "login(user='me', password=***, host='h')" == mask(f"login(user='me', password='{S}', host='h')")


@pytest.mark.parametrize("part", HOSTILE)
def test_masking_ends_for_hostile_texts(part: str) -> None:
    assert mask(part * (100_000 // len(part)) + f" password={S}").find(S) == -1


def test_a_fault_tells_what_was_raised_and_where() -> None:
    fault = fault_payload(raised(ValueError("no such volume")))

    assert ("ValueError", "no such volume", "raised") == (fault.exception, fault.exception_message, fault.function_name)
    assert __name__ == fault.module_name
    assert fault.traceback.startswith("Traceback (most recent call last):\n,  File")
    assert fault.traceback.endswith(",ValueError: no such volume\n")
    assert "1.1" == fault.object_version


def test_version_1_0_has_no_traceback() -> None:
    wire = fault_payload(raised(ValueError("no")), version="1.0").to_wire()

    assert "1.0" == wire["nova_object.version"]
    assert ["module_name", "function_name", "exception", "exception_message"] == list(wire["nova_object.data"])


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version '1\.2'"):
        fault_payload(ValueError(), version="1.2")


def test_what_was_never_raised_has_no_place() -> None:
    fault = fault_payload(KeyboardInterrupt())

    assert ("unknown", "unknown", "KeyboardInterrupt", "") == (
        fault.module_name,
        fault.function_name,
        fault.exception,
        fault.exception_message,
    )


def test_a_module_without_a_name_is_unknown() -> None:
    names: dict[str, Any] = {}
    exec("def fail():\n    raise ValueError('no')", names)
    try:
        names["fail"]()
    except ValueError as error:
        fault = fault_payload(error)

    assert ("unknown", "fail") == (fault.module_name, fault.function_name)


def test_the_innermost_frame_counts() -> None:
    def inner() -> None:
        raise LookupError("deep")

    try:
        inner()
    except LookupError as error:
        fault = fault_payload(error)

    assert "inner" == fault.function_name


def test_message_and_traceback_are_masked() -> None:
    fault = fault_payload(raised(ValueError(f"cannot log in to amqp://u:{S}@host with password={S}")))

    assert "cannot log in to amqp://u:***@host with password=***" == fault.exception_message
    assert S not in fault.traceback


def test_causes_are_told_and_masked() -> None:
    try:
        try:
            raise OSError(f"token={S}")
        except OSError as cause:
            raise ValueError("second") from cause
    except ValueError as error:
        fault = fault_payload(error)

    assert "OSError: token=***" in fault.traceback
    assert "direct cause" in fault.traceback


def test_an_error_that_cannot_be_told_does_no_harm() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    fault = fault_payload(raised(Mute()))

    assert "(not available: RuntimeError)" == fault.exception_message
    assert "Mute" in fault.traceback


def test_a_message_that_is_too_large_keeps_head_and_tail() -> None:
    message = fault_payload(ValueError("begin " + "x " * 25_000 + "end")).exception_message

    assert message.startswith("begin x x")
    assert message.endswith("x x end")
    assert " [... shortened, 50009 characters in all ...] " in message
    assert 4000 < len(message) <= 4096


def test_a_traceback_that_is_too_large_keeps_head_and_tail() -> None:
    def deep(left: int) -> None:
        if left:
            exec(f"deep({left - 1})", {"deep": deep})
        else:
            raise ValueError("at the end")

    try:
        deep(100)
    except ValueError as error:
        fault = fault_payload(error)

    assert fault.traceback.startswith("Traceback (most recent call last):")
    assert fault.traceback.endswith("ValueError: at the end\n")
    assert "shortened" in fault.traceback


@pytest.mark.parametrize("filler", ["x", "\x00", '"', "\\", "\n", "é", "😀", "\ud800", "\x7f", "'", " "])
@pytest.mark.parametrize("length", [1, 1000, 40_000, 200_000])
def test_a_fault_is_never_larger_than_its_bound(filler: str, length: int) -> None:
    strange = type("E" + "x" * length, (Exception,), {})

    assert size(fault_payload(raised(strange(filler * length)))) <= FAULT_BYTES


@pytest.mark.parametrize("at", range(16_370, 16_400, 3))
def test_a_secret_at_a_cut_is_left_out(at: int) -> None:
    head = fault_payload(ValueError("." * (at - 1) + f" amqp://u:{S}@host " + "." * 50_000)).exception_message
    tail = fault_payload(ValueError("." * 50_000 + f" amqp://u:{S}@host " + "." * (at - 1))).exception_message

    assert S not in head + tail


def test_a_long_secret_does_not_bring_the_cut_nearer() -> None:
    text = "password=" + "x" * 16_370 + f" {S}"

    assert S[:4] not in fault_payload(ValueError(text[: 16 << 10] + S + "y" * 50_000)).exception_message


def test_control_characters_survive() -> None:
    assert "a\x00\x1b[31m\r\nb" == fault_payload(ValueError("a\x00\x1b[31m\r\nb")).exception_message


def test_a_frame_with_a_strange_module_name_is_told_as_text() -> None:
    names: dict[str, Any] = {"__name__": SimpleNamespace()}
    exec("def fail():\n    raise ValueError('no')", names)
    try:
        names["fail"]()
    except ValueError as error:
        fault = fault_payload(error)

    assert "namespace()" == fault.module_name


@given(st.text(), st.text(alphabet="abcxyz", min_size=4))
@settings(deadline=None)
def test_any_message_makes_a_fault(text: str, secret: str) -> None:
    fault = fault_payload(ValueError(f"{text} password='{secret}'"))

    assert fault.exception_message.rstrip().endswith("***")
    assert size(fault) <= FAULT_BYTES


def test_an_own_mask_comes_after_the_other_one() -> None:
    own = masking(lambda text: text.replace("sesame", "?").replace("***", "?"))

    assert "a ?, password=?" == own("a sesame, password=other")
    assert "a ?" == fault_payload(ValueError("a sesame"), masked=own).exception_message
    assert traceback_of(ValueError("a sesame"), own).endswith("ValueError: a ?")


def test_what_an_own_mask_fails_at_is_left_out() -> None:
    def fail(text: str) -> str:
        raise LookupError(text)

    assert "(not shown: the mask failed with LookupError)" == masking(fail)("a sesame")


def test_without_an_own_mask_there_is_the_usual_one() -> None:
    assert mask is masking(None)


def test_a_traceback_for_a_log_is_masked_and_has_lines() -> None:
    told = traceback_of(raised(ValueError(f"password={S}"))).splitlines()

    assert ["Traceback (most recent call last):", "ValueError: password=***"] == [told[0], told[-1]]


@pytest.mark.parametrize("name", ["exception_message", "traceback"])
def test_a_fault_is_masked_in_its_repr_alone(name: str) -> None:
    fault = fault_payload(ValueError()).model_copy(update={name: f"password={S}"})

    assert f"{name}='password=***'" in repr(fault)
    assert S not in str(fault)
    assert f"password={S}" == getattr(fault, name)
