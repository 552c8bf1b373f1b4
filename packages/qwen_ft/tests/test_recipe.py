from packages.qwen_ft.src.document_attention import ATTENTION_NAME
from packages.qwen_ft.src.recipe import FAST, PLAIN, prepare_base
from packages.qwen_ft.tests.tiny_qwen import tiny_qwen


def test_the_plain_recipe_changes_nothing():
    model = tiny_qwen()
    assert not prepare_base(model, PLAIN)
    assert model.config._attn_implementation == "sdpa"
    assert "forward" not in vars(model.model.norm)


def test_the_fast_recipe_lays_rows_flat():
    model = tiny_qwen()
    assert prepare_base(model, FAST)
    assert model.config._attn_implementation == ATTENTION_NAME


def test_a_configured_kernel_is_left_alone():
    model = tiny_qwen()
    assert not prepare_base(model, FAST, attn_implementation="sdpa")
    assert model.config._attn_implementation == "sdpa"


def test_a_family_with_other_heads_keeps_the_plain_path():
    model = tiny_qwen()
    model.config.model_type = "gemma2"
    assert not prepare_base(model, FAST)


def test_recomputed_blocks_see_inputs_with_gradients():
    model = tiny_qwen()
    prepare_base(model, FAST, gradient_checkpointing=True)
    for parameter in model.parameters():
        parameter.requires_grad = False
    assert model.get_input_embeddings()(
        model.dummy_inputs["input_ids"] % 259
    ).requires_grad
