"""Upstream 4.4.6, the last release before the fix: a SIGSEGV is never retried. The known-bad control of every gate."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.dialects import upstream_4_5
from harness.wire.codes import CODES, Code, CodeRow, Status

DIALECT: Final = msgspec.structs.replace(
    upstream_4_5.DIALECT,
    name="upstream-4.4",
    stands_for="trigger.dev 4.4.6",
    published="4.4.6",
    like=None,  # what is expected after the fix is not what is expected before it
    rows={
        **CODES,
        Code.TASK_PROCESS_SIGSEGV: CodeRow(retriable=False, lookup=True, status=Status.CRASHED),
        Code.TASK_MIDDLEWARE_ERROR: CodeRow(retriable=True, lookup=False, status=Status.COMPLETED_WITH_ERRORS),
    },
)
