"""Every program answers --version (grown with the programs)."""
import os
import subprocess
import pathlib

BUILD = pathlib.Path(os.environ.get("BUILD", "build"))


def test_library_is_built():
    assert (BUILD / "libtimeshare.a").exists()
