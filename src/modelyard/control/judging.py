"""What drift and quality say of a service, as findings of its alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

from modelyard.control.drift import Drift, Window
from modelyard.control.quality import Qualities
from modelyard.domain.alert_findings import Finding, find_drift, find_quality
from modelyard.domain.alert_rules import QUALITY, Rule, Signal
from modelyard.domain.principal import Principal, Role
from modelyard.domain.service import Service


class Judge(Protocol):
    """Works a signal out from captured records; that may take a while."""

    def find(self, service: Service, rule: Rule, now: datetime) -> Finding:
        """What is to be said of a service.

        Raises:
            ModelyardError: Nothing can be said, and why.
        """
        ...


class DriftJudge:
    """Says whether features have drifted."""

    def __init__(self, drift: Drift) -> None:
        self._drift = drift

    def find(self, service: Service, rule: Rule, now: datetime) -> Finding:
        """What drift there is."""
        window = Window(now - rule.span, now)
        return find_drift(rule, self._drift.report(_watcher(service), service.name, window))


class QualityJudge:
    """Says how good answers were."""

    def __init__(self, qualities: Qualities) -> None:
        self._qualities = qualities

    def find(self, service: Service, rule: Rule, now: datetime) -> Finding:
        """How good they were."""
        since = now - rule.span
        quality = self._qualities.of_window(_watcher(service), service.name, since, now)
        serving = {one.image for one in service.deployments if one.weight}
        return find_quality(rule, quality, serving)


def judges(drift: Drift, qualities: Qualities) -> Mapping[Signal, Judge]:
    """Who works out what."""
    quality = QualityJudge(qualities)
    return {Signal.DRIFT: DriftJudge(drift), **dict.fromkeys(QUALITY, quality)}


def _watcher(service: Service) -> Principal:
    """In whose name the server looks at a service by itself."""
    return Principal(id=UUID(int=0), workspace=service.workspace, name="modelyard", role=Role.OWNER)
