"""An optimizer that keeps float32 masters of low-precision parameters.

A bfloat16 weight has 8 bits of mantissa: updates below 1/256 of it would be lost. The masters take
the updates, the parameters are their rounded copies. Invariant: with float32 parameters every step
equals that of the wrapped optimizer.
"""

from collections.abc import Callable
from typing import Any

import torch

ParamGroups = list[dict[str, Any]]


class MasterWeights(torch.optim.Optimizer):
    """Steps `inner` on float32 copies of the parameters, then copies them back.

    Args:
        groups: parameter groups as torch.optim takes them.
        build: makes the inner optimizer from groups of masters.
    """

    def __init__(
        self, groups: ParamGroups, build: Callable[[ParamGroups], torch.optim.Optimizer]
    ) -> None:
        masters = [
            {**group, "params": [p.detach().clone().float() for p in group["params"]]}
            for group in groups
        ]
        self.inner = build(masters)
        super().__init__(groups, dict(self.inner.defaults))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients of the parameters; `closure` is not supported."""
        if closure is not None:
            raise ValueError(
                "MasterWeights takes no closure. Compute gradients before the step."
            )
        for group, inner in zip(
            self.param_groups, self.inner.param_groups, strict=True
        ):
            inner.update(
                {key: value for key, value in group.items() if key != "params"}
            )
            for parameter, master in zip(group["params"], inner["params"], strict=True):
                master.grad = None if parameter.grad is None else parameter.grad.float()
        self.inner.step()
        for group, inner in zip(
            self.param_groups, self.inner.param_groups, strict=True
        ):
            for parameter, master in zip(group["params"], inner["params"], strict=True):
                parameter.copy_(master)
                master.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The inner state, and the masters, which a resumed run needs to the last bit."""
        masters = [
            p.detach().clone() for g in self.inner.param_groups for p in g["params"]
        ]
        own = super().state_dict()
        return {**own, "inner": self.inner.state_dict(), "masters": masters}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = {key: state_dict[key] for key in ("state", "param_groups")}
        super().load_state_dict(own)
        self.inner.load_state_dict(state_dict["inner"])
        targets = [p for g in self.inner.param_groups for p in g["params"]]
        for target, saved in zip(targets, state_dict["masters"], strict=True):
            target.data.copy_(saved)
