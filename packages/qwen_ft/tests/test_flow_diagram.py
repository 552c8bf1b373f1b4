"""The diagram against Metaflow's own graph of the real flow."""

from packages.qwen_ft.src.flow_diagram import flow_diagram, read_steps
from packages.qwen_ft.src.flows.training_flow import TrainingFlow


def test_steps_and_arrows_are_those_of_the_real_graph():
    graph = TrainingFlow._graph

    found = {step.name: list(step.leads_to) for step in read_steps(TrainingFlow)}

    assert found == {node.name: node.out_funcs for node in graph}


def test_every_artifact_is_produced_before_it_is_consumed():
    produced = {"run_config", "data", "base_model", "overrides"}
    for step in read_steps(TrainingFlow):
        assert set(step.consumes) <= produced, step.name
        produced |= set(step.produces)


def test_only_train_and_evaluate_go_to_batch():
    steps = read_steps(TrainingFlow)

    assert [step.name for step in steps if step.on_batch] == ["train", "evaluate"]


def test_the_hold_out_is_not_among_what_train_may_read_alone():
    # train gets the token manifest; test_evaluate.py shows that training never opens the hold-out split.
    (train,) = (step for step in read_steps(TrainingFlow) if step.name == "train")

    assert train.consumes == ("base", "config", "tokens", "trials")


def test_the_diagram_names_each_step_and_artifact():
    diagram = flow_diagram(TrainingFlow)

    assert 'train["train (Batch)"]' in diagram
    assert "tokenize --> a_tokens" in diagram and "a_tokens --> train" in diagram
