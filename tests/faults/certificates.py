"""Certificates that nobody should trust, and servers that show them."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["forge", "tls_server"]

_CA = """[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
rand_serial = yes
[any]
commonName = supplied
"""


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, timeout=60, check=True)


def forge(folder: Path, certificates: Path) -> None:
    """Write into `folder` keys and certificates for 127.0.0.1: `stranger` (of another CA), `other` (of the right CA, for
    another host), `expired` (of the right CA, valid in 2020).

    Args:
        folder: an empty one.
        certificates: where the right CA is.
    """
    (folder / "ca.conf").write_text(_CA)
    (folder / "index.txt").write_text("")
    request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
    _openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nobody", *_out("nobody"))
    authorities = {"stranger": (folder / "nobody.pem", folder / "nobody.key")}
    for name, host in (("stranger", "IP:127.0.0.1"), ("other", "DNS:other.example"), ("expired", "IP:127.0.0.1")):
        pem, key = authorities.get(name, (certificates / "ca.pem", certificates / "ca.key"))
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        _openssl(folder, *request, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        until = "20200102000000Z" if name == "expired" else "20491231000000Z"
        signing = ("ca", "-batch", "-config", "ca.conf", "-cert", str(pem), "-keyfile", str(key), "-extfile", f"{name}.ext")
        _openssl(
            folder, *signing, "-startdate", "20200101000000Z", "-enddate", until, "-in", f"{name}.csr", "-out", f"{name}.pem"
        )


def _out(name: str) -> tuple[str, ...]:
    return "-keyout", f"{name}.key", "-out", f"{name}.pem"


@asynccontextmanager
async def tls_server(pem: Path, key: Path, *, newest: ssl.TLSVersion | None = None) -> AsyncGenerator[tuple[int, bytearray]]:
    """Give the port of a TLS server, and what clients have told it: nothing, if they verify.

    Args:
        pem: its certificate.
        key: its key.
        newest: the newest version of TLS that it speaks.
    """
    heard = bytearray()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    if newest is not None:
        with warnings.catch_warnings(action="ignore"):  # it is outdated on purpose
            context.minimum_version = newest
            context.maximum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                heard.extend(data)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()
