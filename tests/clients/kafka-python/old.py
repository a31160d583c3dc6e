"""The suite of kafka-python 2.0.2: old protocol versions, and connections without ApiVersions."""

import consume  # noqa: F401
import old_admin  # noqa: F401
import produce  # noqa: F401
import restart  # noqa: F401
from client import remove_all
from harness import main

main(remove_all, prefix="old-")
