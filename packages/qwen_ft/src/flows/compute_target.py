"""Sends the `@batch` steps to AWS Batch where there is one, and runs them here elsewhere."""

from metaflow import FlowMutator
from metaflow.datastore import FlowDataStore


class compute_target(FlowMutator):  # noqa: N801, used as a decorator
    """Keeps `@batch` when the datastore is S3; otherwise makes it `@resources`.

    Metaflow refuses `@batch` on a local datastore, and `--with batch` would send the
    local steps to Batch too. `@retry` goes with `@batch`: it is for machines that
    vanish, and on a laptop it would only repeat a mistake five times.
    """

    def pre_mutate(self, mutable_flow):
        storage = FlowDataStore.default_storage_impl
        if storage is not None and storage.TYPE == "s3":
            return
        for _, step in mutable_flow.steps:
            for _, _, args, settings in list(step.get_decorator_specs("batch")):
                step.remove_decorator("batch", deco_args=args, deco_kwargs=settings)
                asked = {
                    name: settings[name]
                    for name in ("cpu", "gpu", "memory")
                    if settings.get(name)
                }
                step.add_decorator("resources", deco_kwargs=asked)
            for _, _, args, settings in list(step.get_decorator_specs("retry")):
                step.remove_decorator("retry", deco_args=args, deco_kwargs=settings)
