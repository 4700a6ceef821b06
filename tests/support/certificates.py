"""Certificates, made by openssl for each run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Authority:
    """Signs certificates.

    Attributes:
        directory: holds its files.
    """

    directory: Path

    @property
    def ca(self) -> Path:
        """Its own certificate."""
        return self.directory / "ca.pem"

    def make(self) -> Authority:
        self.directory.mkdir()
        _openssl(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -days 30 "
            f"-keyout {self.directory}/ca.key -out {self.ca}"
        )
        return self

    def sign(self, name: str, subject: str, days: int = 30) -> tuple[Path, Path]:
        """A certificate and its key."""
        cert, key, request = (self.directory / f"{name}{end}" for end in (".pem", ".key", ".csr"))
        _openssl(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {key} -out {request}"
        )
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject}\n")
        # Of a negative number of days: it has ended before it began, which is as expired as it gets.
        _openssl(
            f"x509 -req -in {request} -CA {self.ca} -CAkey {self.directory}/ca.key -CAcreateserial -days {days} "
            f"-extfile {extensions} -out {cert}"
        )
        return cert, key


def _openssl(arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
