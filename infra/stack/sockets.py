"""Where unix sockets go: their path must fit into 108 bytes, a home folder's need not."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from infra.stack.files import private_folder, write_if_changed
from infra.stack.settings import Settings

LONGEST_PATH = 100  # sun_path holds 108 bytes
LONGEST_NAME = "supervisor.sock.12345678"  # supervisord binds to such a temporary name first


def socket_folder(settings: Settings) -> Path:
    """A private folder for sockets: run/, else one in the temporary folder (noted in run/socket-folder).

    The choice depends on the home only, so every command finds the same one.
    Raises PermissionError when somebody else owns that temporary folder.
    """
    if len(str(settings.run / LONGEST_NAME)) < LONGEST_PATH:
        return private_folder(settings.run)
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"kefulake-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else; choose a shorter KEFULAKE_HOME")
    write_if_changed(settings.run / "socket-folder", f"{folder}\n")
    return folder
