"""How the server says no."""

from __future__ import annotations

from ..shared import messages, wire
from ..shared.errors import DasError, UsageError

NO_SESSION = messages.Refused(
    kind="no_session", message="The backend does not know this client any more.", fix="Connect again."
)
BUSY = messages.Refused(kind="busy", message="The client sends faster than the backend works.", fix="Wait a little.")


def too_large(length: int, most: int) -> UsageError:
    """A job of more bytes than are taken."""
    return UsageError(
        f"The job has {length / 1e9:.1f} GB, and this backend takes {most / 1e9:.1f} GB at most.",
        "Generate fewer frames, or at a smaller size.",
    )


def refused(error: DasError, to: str = "", job: str = "") -> messages.Refused:
    """A message ``to`` (its type) was not acted on."""
    return messages.Refused(to=to, job=job, kind=error.kind, message=error.message, fix=error.fix)


def internal(error: Exception, to: str, job: str) -> messages.Refused:
    """A defect of ours."""
    return messages.Refused(
        to=to,
        job=job,
        kind="internal",
        message=f"The backend met an error of its own: {type(error).__name__}: {error}.",
        fix="Report it with logs/backend.log of the DAS_HOME folder.",
    )


def other_protocol(hello: messages.Hello) -> messages.Refused:
    """The client is of another version."""
    return messages.Refused(
        to="hello",
        kind="protocol_version",
        message=f"The backend speaks protocol {messages.PROTOCOL_VERSION} and the client {hello.protocol}.",
        fix=wire.OTHER_PROTOCOL_FIX,
    )

