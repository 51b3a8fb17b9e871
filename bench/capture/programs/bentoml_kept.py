"""BentoML: two workers, its own monitoring as its documentation shows it, into files."""

import os

import bentoml

OPTIONS = {"log_path": os.environ["BENCH_RECORDS"]}


@bentoml.service(workers=2, monitoring={"enabled": True, "options": OPTIONS})
class Kept:
    """Answers with the number that it was asked about."""

    @bentoml.api
    def score(self, number: int) -> int:
        with bentoml.monitor("kept") as monitor:
            monitor.log(number, name="number", role="feature", data_type="numerical")
        return number
