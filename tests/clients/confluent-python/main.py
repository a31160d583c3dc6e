"""The suite of confluent-kafka (librdkafka)."""

import admin  # noqa: F401
import consume  # noqa: F401
import produce  # noqa: F401
import restart  # noqa: F401
import tables  # noqa: F401
import vectors  # noqa: F401
import transact  # noqa: F401
from client import remove_all
from harness import main

main(remove_all)
