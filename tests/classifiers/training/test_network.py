"""The network that is trained: needs the extra ``train``."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from transformers import BertConfig, BertModel  # noqa: E402 - only with torch

from classifiers.training.network import Network, SharedDropout, pad  # noqa: E402

IDS = ([0, 5, 9, 2], [0, 7, 2])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small encoder of four layers."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(1)
    settings = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=32, pad_token_id=1,
    )  # fmt: skip
    BertModel(settings, add_pooling_layer=False).save_pretrained(folder)
    return folder


def answers(network):
    with torch.no_grad():
        return [head.numpy() for head in network.eval()(*pad(IDS))]


def test_a_student_of_all_layers_starts_where_its_teacher_is(base):
    teacher, student = Network(base, layers=range(4)), Network(base, layers=range(4))
    before = answers(student)
    student.adopt(teacher)
    for mine, theirs, old in zip(answers(student), answers(teacher), before, strict=True):
        assert mine == pytest.approx(theirs)
        assert mine != pytest.approx(old)


def test_a_student_takes_the_layers_it_has_by_their_place_in_the_base(base):
    teacher = Network(base, layers=[0, 1, 3])
    with torch.no_grad():
        for number, layer in zip(teacher.layers, teacher.encoder.encoder.layer, strict=True):
            layer.output.dense.bias.fill_(float(number))
    student = Network(base, layers=[1, 3])
    student.adopt(teacher)
    assert [layer.output.dense.bias[0].item() for layer in student.encoder.encoder.layer] == [1, 3]


def test_a_teacher_without_one_of_the_layers_is_refused(base):
    with pytest.raises(ValueError, match="the teacher has no layer 2"):
        Network(base, layers=[0, 2]).adopt(Network(base, layers=[0, 1]))


def test_dropout_drops_whole_columns_of_a_post_and_keeps_the_mean():
    drop = SharedDropout(0.25).train()
    torch.manual_seed(2)
    dropped = drop(torch.ones(50, 7, 200))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(dropped), dropped)


def test_lower_precision_changes_answers_only_a_little(base):
    exact = Network(base, layers=range(4))
    coarse = Network(base, layers=range(4), precision=torch.bfloat16)
    coarse.load_state_dict(exact.state_dict())
    for one, other in zip(answers(exact), answers(coarse), strict=True):
        assert other == pytest.approx(one, abs=0.03)
        assert other.dtype == one.dtype
