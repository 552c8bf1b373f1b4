"""1. What a run starts from: the resolved configuration, and the base model and data it names, pinned."""

import json
import logging
import shlex
from collections.abc import Mapping
from typing import Any

from metaflow import current

from packages.chat_data.src.sources import PinnedSource, pin_source
from packages.qwen_ft.src.base_model import BaseModelPin, resolve_base_model
from packages.qwen_ft.src.base_model_shape import read_shape
from packages.qwen_ft.src.config import RunConfig, resolve
from packages.qwen_ft.src.config_checks import check_against_model, warnings_of
from packages.qwen_ft.src.logs import set_up_logging
from packages.qwen_ft.src.version import VERSION

log = logging.getLogger(__name__)


def pin_inputs(
    settings: Mapping[str, Any],
    data: str = "",
    base_model: str = "",
    overrides: str = "",
) -> tuple[RunConfig, BaseModelPin, PinnedSource]:
    """The configuration with its overrides, and exactly which weights and bytes it means.

    Args:
        settings: the parsed configuration file.
        data: replaces `data.source` unless empty; all of it is read, whatever `data.max_documents`
            says in the file.
        base_model: replaces `model.name` unless empty; its revision is then looked up again.
        overrides: `section.key=value`, separated by white space.

    Raises:
        UserError: a wrong setting or model name (78), no such folder or data (66), the hub or S3 cannot be
            asked (69), no permission (77).
    """
    changes = []
    if data:  # a limit of the file was meant for the file's data
        changes += [f"data.source={json.dumps(data)}", "data.max_documents=null"]
    if base_model:
        changes += [f"model.name={json.dumps(base_model)}", "model.revision=null"]
    config = resolve(settings, changes + shlex.split(overrides))
    set_up_logging(config.logging)
    base = resolve_base_model(config.model)
    check_against_model(config, *read_shape(base))
    for warning in warnings_of(config):
        log.warning(warning)
    source = pin_source(config.data.source)
    if current.is_running_flow:
        current.run.add_tag(f"qwen_ft:{VERSION}")
    log.info(
        "qwen_ft %s, config %s, base model %s@%s, data %s: %d objects, sha256 %s",
        VERSION,
        config.digest()[:12],
        base.name,
        base.revision[:12],
        source.uri,
        len(source.objects),
        source.data_sha256[:12],
    )
    return config, base, source
