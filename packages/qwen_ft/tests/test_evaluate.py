import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from packages.chat_data.src.token_shards import ShardWriter
from packages.cloud.src.exit_codes import UserError
from packages.cloud.src.object_store import open_store
from packages.qwen_ft.src import adapter, adapter_files
from packages.qwen_ft.src.base_model import load_base_model, resolve_base_model
from packages.qwen_ft.src.document_nll import score_documents
from packages.qwen_ft.src.evaluate import compare_perplexity, load_tuned, score_both
from packages.qwen_ft.src.train import train_adapter
from packages.qwen_ft.tests.tiny_documents import tiny_config, tiny_documents
from packages.qwen_ft.tests.tiny_qwen import byte_tokenizer, tiny_qwen, write_tiny_model

HOLD_OUT = tiny_documents(9, seed=5)


def _stored(store, folder, name, documents):
    folder.mkdir(exist_ok=True)
    with ShardWriter(store, folder, name) as writer:
        for index, document in enumerate(documents):
            writer.add(document, f"{name}:{index}")
        return writer.finish()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training whose tokens and adapter lie in a store, as after the train step of the flow."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(
        write_tiny_model(folder / "model"), "evaluation.sample_documents=2"
    )
    store = open_store(str(folder / "store"))
    tokens = SimpleNamespace(
        train=_stored(store, folder / "w", "train", tiny_documents(30, seed=1)),
        validation=_stored(
            store, folder / "w", "validation", tiny_documents(6, seed=2)
        ),
        hold_out=_stored(store, folder / "w", "hold_out", HOLD_OUT),
        data_sha256="d" * 64,
    )
    base = resolve_base_model(config.model)
    trained = train_adapter(config, base, tokens, store.uri, {"lora.r": 8})
    return SimpleNamespace(
        config=config, base=base, tokens=tokens, store=store, trained=trained
    )


def _compare(run, *overrides, trained=None):
    config = tiny_config(run.config.model.name, *overrides) if overrides else run.config
    return compare_perplexity(
        config, run.base, trained or run.trained, run.tokens, run.store.uri
    )


@pytest.fixture(scope="module")
def report(run):
    return _compare(run)


def test_equals_an_independent_script_with_peft_one_row_at_a_time(
    run, report, tmp_path
):
    # Independent: files by their hashes, plain peft, one softmax per row, Python sums.
    from peft import PeftModel

    folder = adapter_files.fetch_adapter(run.trained, tmp_path / "adapter")
    with pytest.warns(FutureWarning):
        model = PeftModel.from_pretrained(tiny_qwen(), str(folder)).eval()
    nats, scored = [], 0
    for document in HOLD_OUT:
        ids = torch.tensor(document.ids.astype("int64"))
        with torch.no_grad():
            logp = torch.log_softmax(model(ids[None]).logits[0].double(), 1)
        chosen = [t for t in range(1, len(ids)) if document.scored[t]]
        nats.append(math.fsum(-float(logp[t - 1, ids[t]]) for t in chosen))
        scored += len(chosen)
    assert report.tuned.nll_by_document == pytest.approx(nats, rel=1e-5)
    assert report.tuned.perplexity == pytest.approx(
        math.exp(sum(nats) / scored), rel=1e-5
    )
    bits = sum(nats) / math.log(2) / sum(d.scored_bytes for d in HOLD_OUT)
    assert report.tuned.bits_per_byte == pytest.approx(bits, rel=1e-5)
    assert report.scored_tokens == scored == sum(report.tokens_by_document)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_the_batch_size_does_not_change_the_result(run, report, batch_size):
    other = _compare(run, f"evaluation.batch_size={batch_size}")
    for ours, theirs in ((other.base, report.base), (other.tuned, report.tuned)):
        assert ours.perplexity == pytest.approx(theirs.perplexity, rel=1e-5)
        assert ours.nll_by_document == pytest.approx(theirs.nll_by_document, rel=1e-5)


def test_the_base_is_the_model_without_its_adapter(run, report):
    loaded = load_base_model(
        run.base, run.config.model, run.config.quantization, training=False
    )
    alone = score_documents(
        loaded.model, HOLD_OUT, batch_size=4, window_tokens=64, stride_tokens=32
    )
    assert report.base.nll_by_document == pytest.approx(alone.nats, rel=1e-6)


def test_the_trained_adapter_is_better_and_a_random_one_is_not(run, report, tmp_path):
    assert report.tuned.perplexity < 0.9 * report.base.perplexity
    config = run.config
    lora = config.lora.model_copy(update={"r": 8})
    new = adapter.attach_adapter(tiny_qwen(), lora, seed=99)
    adapter.save_adapter(new, byte_tokenizer(), config.model.name, "", tmp_path / "new")
    loaded, _ = load_tuned(config, run.base, tmp_path / "new")
    tuned, base = score_both(loaded, HOLD_OUT, config.evaluation)
    assert tuned.nats == base.nats  # what a bare add_adapter gives changes nothing


def test_the_report_names_what_was_measured(run, report):
    assert report.adapter_sha256 == run.trained.adapter_sha256
    assert len(report.document_keys) == len(set(report.document_keys)) == 9
    assert report.precision == "float32" and report.runtime_s > 0
    metrics = report.metrics()
    assert metrics["perplexity"] == report.tuned.perplexity
    assert metrics["loss"] == pytest.approx(math.log(report.tuned.perplexity))


def test_samples_come_from_both_models(report):
    assert len(report.samples) == 2
    for sample in report.samples:
        assert sample.prompt and sample.base.tokens <= 8 and sample.tuned.tokens <= 8


def test_the_trial_is_what_was_trained(run):
    assert run.trained.trial == (("lora.r", 8),)
    # r (inputs + outputs) over all linear layers: q, o 64x64; k, v 64x32; three MLP 64x128.
    per_layer = 2 * 128 + 2 * 96 + 3 * 192
    assert run.trained.trainable_parameters == 8 * 2 * per_layer


def test_a_missing_blob_is_named(run):
    lost = replace(run.trained.files[0], sha256="0" * 64)
    trained = replace(run.trained, files=(lost, *run.trained.files[1:]))
    with pytest.raises(UserError, match=lost.name) as caught:
        _compare(run, trained=trained)
    assert caught.value.exit_code == 66


def test_training_never_opens_the_hold_out(run, tmp_path):
    gone = replace(run.tokens.hold_out, shards=("0" * 64,))
    tokens = SimpleNamespace(**{**vars(run.tokens), "hold_out": gone})

    again = train_adapter(run.config, run.base, tokens, run.store.uri, {"lora.r": 8})

    assert again.adapter_sha256 == run.trained.adapter_sha256
