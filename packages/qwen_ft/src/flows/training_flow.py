"""Fine-tune Qwen with QLoRA; register the adapter only if it passes the gate.

start -> tokenize -> train (one branch per trial) -> select -> evaluate -> end
local    local       Batch GPU                       local     Batch GPU   local
"""

from metaflow import Config, FlowSpec, Parameter, batch, card, retry, step

from packages.qwen_ft.src.config import STARTER_CONFIG, read_run_config
from packages.qwen_ft.src.flow_outcome import run_flow
from packages.qwen_ft.src.flows.compute_target import compute_target
from packages.qwen_ft.src.flows.import_root import share_import_root_with_steps


@compute_target()  # drops @batch where there is no Batch to run on
class TrainingFlow(FlowSpec):
    """Raw text to a registered adapter: `run --data FOLDER --base-model MODEL`."""

    run_config = Config(
        "run_config", default=str(STARTER_CONFIG), parser=read_run_config
    )
    data = Parameter("data", default="", help="Overrides data.source.")
    base_model = Parameter("base-model", default="", help="Overrides model.name.")
    overrides = Parameter(
        "set", default="", help="More overrides: 'lora.r=8 training.seed=1'."
    )

    @step
    def start(self):
        """Fix what decides the result: configuration, base model and data, each pinned."""
        from packages.qwen_ft.src.champion import pin_champion
        from packages.qwen_ft.src.inputs import pin_inputs

        self.config, self.base, self.source = pin_inputs(
            self.run_config, self.data, self.base_model, self.overrides
        )
        self.production = pin_champion(self.config.registry)
        self.next(self.tokenize)

    @step
    def tokenize(self):
        """Check, split and tokenize the documents; keep them as content-addressed shards."""
        from packages.qwen_ft.src.dataset import prepare_tokens

        self.tokens = prepare_tokens(self.config, self.base, self.source)
        self.trials = self.config.trials
        self.next(self.train, foreach="trials")

    @card(type="blank", id="training", refresh_interval=5)
    @batch(gpu=1, cpu=4, memory=15_000)
    @retry(times=4, minutes_between_retries=1)
    @step
    def train(self):
        """Fine-tune the adapter of one trial; the hold-out documents are not read."""
        from packages.qwen_ft.src.trial import train_trial

        self.adapter = train_trial(self.config, self.base, self.tokens, self.input)
        self.next(self.select)

    @step
    def select(self, inputs):
        """Keep the trial with the lowest validation perplexity."""
        from packages.qwen_ft.src.trial import best_trial

        self.trained = [branch.adapter for branch in inputs]
        self.adapter = best_trial(self.trained)
        self.merge_artifacts(
            inputs, include=["config", "base", "source", "tokens", "production"]
        )
        self.next(self.evaluate)

    @batch(gpu=1, cpu=4, memory=15_000)
    @retry(times=4, minutes_between_retries=1)
    @step
    def evaluate(self):
        """Score the base, the tuned model and the one in production on the hold-out tokens."""
        from packages.qwen_ft.src.champion import champion_on_hold_out
        from packages.qwen_ft.src.trial import evaluate_trial

        self.report = evaluate_trial(self.config, self.base, self.tokens, self.adapter)
        self.metrics = self.report.metrics()
        self.champion = champion_on_hold_out(
            self.production, self.config, self.base, self.tokens
        )
        self.next(self.end)

    @card(type="blank", id="run")
    @step
    def end(self):
        """Decide once; register what passed; tag the run last; show all of it."""
        from packages.qwen_ft.src.finished_run import finish
        from packages.qwen_ft.src.publish import publish
        from packages.qwen_ft.src.show_run import show_run

        run = finish(
            self.config, self.base, self.source, self.tokens, self.trained, self.adapter,
            self.report, self.champion,
        )  # fmt: skip
        self.verdict, self.registered = run.verdict, publish(run)
        show_run(run, self.registered)


if __name__ == "__main__":
    share_import_root_with_steps()
    run_flow(TrainingFlow)
