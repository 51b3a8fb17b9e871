"""Why something is not ready: one typed cause, recorded where the failure happens.

`modelyard why` prints these; nothing searches logs. The codes that a replica can record itself are
spelled the same in `modelyard_runtime.causes`, which cannot import this module.
"""

from __future__ import annotations

from enum import StrEnum

from modelyard.domain.values import Value


class CauseCode(StrEnum):
    """What kind of thing went wrong."""

    # recorded while an image is built
    INVALID_REQUIREMENT = "invalid_requirement"
    UNKNOWN_REQUIREMENT = "unknown_requirement"
    REQUIREMENTS_CLASH = "requirements_clash"
    NO_WHEEL = "no_wheel"
    INSTALL_FAILED = "install_failed"
    BASE_UNSUITABLE = "base_unsuitable"
    STORAGE_FULL = "storage_full"
    INTERRUPTED = "interrupted"
    # recorded by the replica itself
    IMPORT_FAILED = "import_failed"
    PACKAGE_MISSING = "package_missing"
    NO_RUN_FUNCTION = "no_run_function"
    MODEL_FILE_MISSING = "model_file_missing"
    INIT_RAISED = "init_raised"
    INIT_EXITED = "init_exited"
    NETWORK_NOT_ALLOWED = "network_not_allowed"
    SAMPLE_FAILED = "sample_failed"
    NEEDS_SCRIPT = "needs_script"
    MODEL_NOT_LOADED = "model_not_loaded"
    # recorded by the supervisor, which sees limits and exit statuses
    INIT_HUNG = "init_hung"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    EXITED = "exited"
    # recorded by the agent
    PORT_TAKEN = "port_taken"
    CERTIFICATE_UNUSABLE = "certificate_unusable"
    CERTIFICATE_EXPIRES = "certificate_expires"
    IMAGE_UNAVAILABLE = "image_unavailable"
    WRONG_PLATFORM = "wrong_platform"
    SIGNATURE_INVALID = "signature_invalid"
    NO_BASE = "no_base"
    NO_ENGINE = "no_engine"
    ENGINE_FORBIDDEN = "engine_forbidden"
    ENGINE_FAILED = "engine_failed"
    EXEC_FORMAT = "exec_format"
    ENTRYPOINT_MISSING = "entrypoint_missing"
    NO_SANDBOX = "no_sandbox"
    HOST_FULL = "host_full"
    CANDIDATE_WORSE = "candidate_worse"
    STARTING = "starting"
    # recorded by the gateway
    KEY_REFUSED = "key_refused"
    CERTIFICATE_REFUSED = "certificate_refused"
    # seen by the control plane
    AGENT_GONE = "agent_gone"
    INTERNAL = "internal"


OF_THE_SCRIPT = frozenset(
    {
        CauseCode.IMPORT_FAILED,
        CauseCode.PACKAGE_MISSING,
        CauseCode.NO_RUN_FUNCTION,
        CauseCode.MODEL_FILE_MISSING,
        CauseCode.INIT_RAISED,
        CauseCode.INIT_EXITED,
        CauseCode.NETWORK_NOT_ALLOWED,
        CauseCode.INIT_HUNG,
        CauseCode.NEEDS_SCRIPT,
        CauseCode.MODEL_NOT_LOADED,
    }
)
"""Causes that lie in the script, its models or its variables: another start will not mend them."""


class Cause(Value):
    """One reason, what was seen, and what to do about it."""

    code: CauseCode
    message: str
    """One sentence: what happened, to which thing."""
    evidence: tuple[str, ...] = ()
    """What was seen: the traceback's own lines, an exit status, a measured size."""
    fix: str = ""
    """What to do next."""
