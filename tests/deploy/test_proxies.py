"""The configurations of proxies in docs/deploy.md, as the proxies themselves read them, where they are installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "deploy.md"


def _block(kind: str) -> str:
    (block,) = re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(block)


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    _need("nginx", "openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=models.example.org", "-days", "1",
         "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    block = re.sub(
        r"/etc/\S+fullchain.pem", str(certificate), re.sub(r"/etc/\S+privkey.pem", str(key), _block("nginx"))
    )
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {block} }}")
    done = subprocess.run(["nginx", "-t", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_caddy_takes_its_configuration(tmp_path: Path) -> None:
    _need("caddy")
    file = tmp_path / "Caddyfile"
    file.write_text(_block("caddyfile"))
    words = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(file)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "PATH": "/usr/bin"}
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr
