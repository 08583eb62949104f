"""What a request is told that is not answered: problem details (RFC 9457), which say what to do."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

JSON = "application/problem+json"


class Problem(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: int, kind: str, detail: str, *, retry_after: int | None = None, **more: Any) -> None:
        """`kind` names the problem for programs; `detail` says what is wrong and what to do; `more` are further
        members."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.more = more

    def members(self) -> dict[str, Any]:
        """The members of the problem document."""
        named = {"type": f"urn:quarry:problem:{self.kind}", "title": HTTPStatus(self.status).phrase}
        return named | {"status": self.status, "detail": self.detail} | self.more

    def response(self, request_id: str) -> Response:
        """The answer to the request of this id."""
        headers = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="quarry"'
        members = self.members() | {"instance": f"urn:quarry:request:{request_id}"}
        return Response(json.dumps(members), self.status, headers, JSON)
