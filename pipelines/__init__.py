"""What is done to the data, as Apache Beam jobs."""

import logging

# Beam says on import that a Google library is absent which nothing here uses (apache/beam PR 40082).
logging.getLogger().addFilter(lambda record: not str(record.msg).startswith("apitools not found"))
