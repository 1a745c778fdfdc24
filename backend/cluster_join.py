"""Joining a Ray cluster. Ray may wait there for a quarter of an hour, or end the process, so another process tries it first.

Run as a module with an address it is that other process, and says in one line of JSON why it could not join.
"""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from ..shared.errors import BackendError, first_line

SECONDS_TO_JOIN = 25.0
# Without the cluster's head Ray ends this process after 60 s. A server that only has no workers any more is of more use.
SECONDS_WITHOUT_HEAD = 1_000_000


class Refusal(msgspec.Struct):
    """Why a cluster cannot be joined, and what to do."""

    message: str
    fix: str


def join(address: str, variables: dict[str, str]) -> None:
    """Join the cluster at HOST:PORT, whose workers get these environment variables. BackendError where that fails, in bounded time."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # these two are read as ray is imported
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(SECONDS_WITHOUT_HEAD))
    _try(address)
    _join(address, variables)


def _try(address: str) -> None:
    command = [sys.executable, "-m", __name__, address]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_JOIN)
    except subprocess.TimeoutExpired:
        raise _not_joined(address, f"it does not answer within {SECONDS_TO_JOIN:.0f} s") from None
    if tried.returncode == 0:
        return
    try:
        refusal = msgspec.json.decode(tried.stdout.strip().rpartition("\n")[2], type=Refusal)
    except msgspec.DecodeError:
        raise _not_joined(address, "Ray ended the process that tried to") from None
    raise BackendError(refusal.message, refusal.fix)


def _join(address: str, variables: dict[str, str]) -> None:
    try:
        import ray
    except ImportError:
        raise BackendError(
            "--cluster needs Ray, which this Python does not have.", "Install it with: pip install 'diffusion_as_shader[cluster]'."
        ) from None
    try:
        ray.init(
            address,
            namespace="diffusion_as_shader",
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": variables} if variables else None,
        )
    except ray.exceptions.AuthenticationError:
        raise BackendError(
            f"The Ray cluster at {address} cannot be joined without its token.",
            "Copy ~/.ray/auth_token from its first machine, or set RAY_AUTH_MODE=disabled where it has none.",
        ) from None
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise _not_joined(address, first_line(error) if isinstance(error, Exception) else "it does not answer") from None


def _not_joined(address: str, why: str) -> BackendError:
    return BackendError(
        f"The Ray cluster at {address} cannot be joined: {why}.",
        "See with ray status whether it runs, use the same Python, Ray and token on all its machines, and see docs/cluster.md.",
    )


def main() -> int:
    """Join and leave."""
    try:
        _join(sys.argv[1], {})
    except BackendError as error:
        print(msgspec.json.encode(Refusal(error.message, error.fix)).decode())
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Ray's own goodbye takes seconds
