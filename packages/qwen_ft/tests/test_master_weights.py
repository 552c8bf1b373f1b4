import torch

from packages.qwen_ft.src.master_weights import MasterWeights


def _build(groups):
    return torch.optim.AdamW(groups, lr=0.01)


def _parameter(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.Parameter(torch.randn(5, 3).to(dtype))


def _step(optimizer, parameter, seed):
    gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    parameter.grad = gradient.to(parameter.dtype)
    optimizer.step()


def test_float32_parameters_step_as_without_masters():
    plain, wrapped = _parameter(), _parameter()
    reference = _build([{"params": [plain]}])
    masters = MasterWeights([{"params": [wrapped]}], _build)
    for seed in range(5):
        for group in (*reference.param_groups, *masters.param_groups):
            group["lr"] = 0.01 / (seed + 1)  # as a scheduler sets it
        _step(reference, plain, seed)
        _step(masters, wrapped, seed)
    assert torch.equal(plain, wrapped)


def test_small_updates_to_bfloat16_are_not_lost():
    # By hand: 1 + 100 * 0.001 = 1.1, but 1 + 0.001 rounds back to 1 in bfloat16 each time.
    def sgd(groups):
        return torch.optim.SGD(groups, lr=0.001)

    direct = torch.nn.Parameter(torch.ones(1).bfloat16())
    mastered = torch.nn.Parameter(torch.ones(1).bfloat16())
    plain = sgd([{"params": [direct]}])
    masters = MasterWeights([{"params": [mastered]}], sgd)
    for _ in range(100):
        for optimizer, parameter in ((plain, direct), (masters, mastered)):
            parameter.grad = -torch.ones(1).bfloat16()
            optimizer.step()
    assert direct.item() == 1.0
    assert abs(mastered.item() - 1.1) < 0.005


def test_a_reloaded_state_goes_on_to_the_last_bit():
    whole, first = _parameter(torch.bfloat16), _parameter(torch.bfloat16)
    undisturbed = MasterWeights([{"params": [whole]}], _build)
    before = MasterWeights([{"params": [first]}], _build)
    for seed in range(3):
        _step(undisturbed, whole, seed)
        _step(before, first, seed)
    second = torch.nn.Parameter(first.detach().clone())
    after = MasterWeights([{"params": [second]}], _build)
    after.load_state_dict(before.state_dict())
    for seed in range(3, 6):
        _step(undisturbed, whole, seed)
        _step(after, second, seed)
    assert torch.equal(whole, second)
