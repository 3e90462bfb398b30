"""Keeps what was decided about releases in one Airflow Variable a model, where people can see and mend it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from pydantic import ValidationError

from model_refresh.domain.decisions import Decision, Decisions, Outcome
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.hooks.clients import clients
from model_refresh.names import decisions_variable

log = logging.getLogger(__name__)


class DecisionsHook:
    """The record of one model.

    Only one run of a model's DAG writes at a time (``max_active_runs=1``), so that reading, adding and writing
    back loses nothing.
    """

    def __init__(self, model: str) -> None:
        self._key = decisions_variable(model)

    def read(self) -> Decisions:
        """All decisions; none for a new model.

        Raises:
            RefreshError: ``BadConfig`` when somebody edited the Variable into something else. An empty record
                instead would offer a rejected release again.
        """
        text = clients().variable(self._key)
        if not text:
            return Decisions()
        try:
            return Decisions.model_validate_json(text)
        except ValidationError as error:
            raise RefreshError(
                Reason.BAD_CONFIG,
                f"Airflow Variable {self._key} is not a record of decisions: {error}",
                mend="Put back its former value; deleting it forgets every rejection.",
            ) from error

    def add(
        self, outcome: Outcome, *, release_id: str, digest: str, run_id: str, by: str = "", note: str = ""
    ) -> Decision:
        """Write one decision down, now."""
        decision = Decision(
            release_id=release_id,
            digest=digest,
            outcome=outcome,
            by=by,
            at=datetime.now(UTC),
            run_id=run_id,
            note=note,
        )
        clients().set_variable(self._key, self.read().add(decision).model_dump_json())
        log.info("Release %s is recorded as %s%s.", release_id, outcome, f" by {by}" if by else "")
        return decision
