"""What a model name means on the Hugging Face hub; imports no torch."""

import difflib

from packages.cloud.src.exit_codes import EX_CONFIG, EX_UNAVAILABLE, UserError

STARTER_NAME = "starter://tiny-qwen2"
# Offered as near names; any other causal model on the hub works too.
KNOWN_NAMES = (
    STARTER_NAME,
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-3B-Instruct",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-14B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "Qwen/Qwen2.5-72B",
    "Qwen/Qwen2.5-72B-Instruct",
)
HUB_TIMEOUT_S = 10.0


def hub_commit(name: str, revision: str | None) -> str:
    """The 40 hexadecimal digits of the commit that `name` at `revision` (None: newest) is now.

    A commit that is already in the local cache is not asked for again.

    Raises:
        UserError: no such model or revision (78), or the hub cannot be asked (69).
    """
    import huggingface_hub as hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        if revision and isinstance(
            hub.try_to_load_from_cache(name, "config.json", revision=revision), str
        ):
            return revision
        found = (
            hub.HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT_S).sha
        )
    except HFValidationError as error:
        raise unknown_model(name, "it is no folder and no valid hub id") from error
    except GatedRepoError as error:
        raise UserError(
            f"The hub has {name}, but not for this account. Accept its terms on its page, then "
            "set HF_TOKEN.",
            EX_UNAVAILABLE,
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"The hub has {name}, but no revision {revision}. Give a commit of that model, or "
            "remove model.revision to take the newest.",
            EX_CONFIG,
        ) from error
    except RepositoryNotFoundError as error:
        raise unknown_model(
            name, "the hub has no such model, or it is private"
        ) from error
    except OfflineModeIsEnabled as error:
        raise _hub_unreachable(name, "HF_HUB_OFFLINE is set") from error
    except HfHubHTTPError as error:
        raise _hub_unreachable(name, _first_line(error)) from error
    except Exception as error:
        # The transport errors of the hub's HTTP client have no base class that hub itself exports.
        if type(error).__module__.split(".")[0] not in (
            "httpx2",
            "httpx",
            "httpcore2",
            "httpcore",
        ):
            raise
        raise _hub_unreachable(name, _first_line(error)) from error
    if found is None:
        raise _hub_unreachable(name, "its answer names no commit")
    return str(found)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def unknown_model(name: str, why: str) -> UserError:
    """The error for a name that means nothing, with the nearest names that do."""
    lowered = {known.lower(): known for known in KNOWN_NAMES}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    offer = [lowered[key] for key in near] or [STARTER_NAME, "Qwen/Qwen2.5-0.5B"]
    return UserError(
        f"model.name is {name!r}: {why}. Did you mean {' or '.join(offer)}? A folder with "
        "config.json and *.safetensors works as well.",
        EX_CONFIG,
    )


def _hub_unreachable(name: str, why: str) -> UserError:
    return UserError(
        f"Cannot ask the Hugging Face hub for {name}: {why}. Check the network (or HF_ENDPOINT) "
        f"and try again, give a folder that holds the model, or use {STARTER_NAME}, which needs "
        "no network.",
        EX_UNAVAILABLE,
    )
