"""The model card, written by the run that made the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from classifiers.training.data import Source, sources
from classifiers.training.loop import Progress
from classifiers.training.measure import ALLOWANCES, THREATS_PER_THOUSAND, Allowance, Figure

if TYPE_CHECKING:
    from classifiers.training.release import Comparison

_COMMAND = """\
python -m classifiers.training --base intfloat/multilingual-e5-small --corpora CORPORA \\
        --work WORK --output classifiers/model --minutes {minutes}"""


def card(
    config: Mapping[str, Any],
    figures: Sequence[Figure],
    comparison: Comparison,
    progress: Progress,
    note: str,
) -> str:
    """The text of ``README.md`` in the model folder; ``note`` says what was special in this run."""
    return _TEXT.format(
        version=config["model_version"],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        vocabulary=config["vocab_size"],
        command=_COMMAND.format(minutes=f"{progress.seconds / 60:.0f}"),
        data="\n".join(map(_data_row, sources())),
        kept=", ".join(str(layer + 1) for layer in config["kept_layers"]),
        points="\n".join(map(_point_row, config["heads"]["leak"]["operating_points"].items())),
        allowances="\n".join(map(_allowance_row, ALLOWANCES.items())),
        threats=f"{THREATS_PER_THOUSAND:g}",
        posts=f"{progress.posts:,}",
        note=f"\n{note}\n" if note else "",
        minutes=f"{progress.seconds / 60:.0f}",
        heads="\n".join(_head_row(name, head) for name, head in config["heads"].items()),
        figures="\n".join(f"| {f.task} | {f.on} | {f.posts:,} | {f.result} |" for f in figures),
        compared=comparison.posts,
        sentiment=f"{100 * comparison.same_sentiment:.1f}",
        abuse=f"{100 * comparison.same_abuse:.1f}",
        leak=f"{comparison.leak_difference:.3f}",
        range="with" if comparison.reduce_range else "without",
    )


def _data_row(source: Source) -> str:
    tasks = {
        "_leak": "leak, category; sentiment and abuse in part",
        "_brand": "sentiment, abuse",
        "_threat": "abuse",
    }.get(source.read.__name__, "abuse" if source.path.startswith("abuse") else "sentiment")
    kept = f"{100 * source.dev:.0f} % / {100 * source.test:.0f} %"
    drawn = f"{source.foundation:,} | {source.per_round:,}"
    return f"| {source.name} | {tasks} | {drawn} | {kept} | {source.terms} |"


def _point_row(item: tuple[str, Mapping[str, float]]) -> str:
    name, point = item
    return (
        f"| `{name}` | {point['escalate']} | {point['review']} "
        f"| {point['escalated_per_thousand']:g} | {point['reviewed_per_thousand']:g} "
        f"| {point['recall']:.2f} | {point['recall_with_review']:.2f} |"
    )


def _allowance_row(item: tuple[str, Allowance]) -> str:
    name, allowed = item
    return (
        f"| `{name}` | {allowed.escalated_per_thousand:g} "
        f"| {allowed.escalated_per_hundred_look_alikes:g} | {allowed.reviewed_per_thousand:g} "
        f"| {allowed.reviewed_per_hundred_look_alikes:g} |"
    )


def _head_row(name: str, head: Mapping[str, Any]) -> str:
    labels = ", ".join(head["id2label"].values())
    bias = ", ".join(f"{value:g}" for value in head["bias"]) if any(head["bias"]) else "none"
    return f"| `{name}` | {labels} | {head['temperature']:.2f} | {bias} |"


_TEXT = """\
---
license: other
language: [nl, en]
pipeline_tag: text-classification
base_model: intfloat/multilingual-e5-small
---
# {version}

The model that comes with Merkwacht. It reads one public post in Dutch or English and says how it
speaks (sentiment), whether it seems to make public what the organisation must keep to itself
(leak, with a category), and whether it insults or threatens (abuse). One pass through one encoder,
on the CPU, without a network.

- Encoder: multilingual-e5-small (MIT), {layers} of its 12 layers ({kept}), 384 wide, vocabulary
  cut to {vocabulary} pieces for Dutch and English, token states averaged, one linear layer per head.
- File: ONNX, fused, int8 weights per channel, activations scaled at run time.
- Texts go through `classifiers.text.prepare` first, in training and at run time alike.

## Outputs
Logits; divide by the temperature, add the bias, then softmax (`leak`: sigmoid). Both were found on
development posts. The bias of `threat` holds it back until at most {threats} of 1,000 real posts without a
threat are called one; the others give the best mean recall of the three moods, and the best F1 of
abuse against none.

| head | labels | temperature | bias |
| --- | --- | --- | --- |
{heads}

## Leak thresholds
The model's probability and the evidence of the detectors make one score (`classifiers.leaks`).
From which score on a post is escalated or put up for review depends on the sensitivity.
Of 1,000 real ordinary posts so many were escalated or put up for review, and of leaks that were
held out this share was escalated (or at least put up for review):

| sensitivity | escalates from | reviews from | escalated of 1,000 | reviewed | recall | with review |
| --- | --- | --- | --- | --- | --- | --- |
{points}

The thresholds were chosen on development posts, so that at most so many false alarms remain there
(of 1,000 ordinary posts, of 100 that were written to look like leaks):

| sensitivity | escalated of 1,000 | of 100 look-alikes | or reviewed of 1,000 | of 100 look-alikes |
| --- | --- | --- | --- | --- |
{allowances}

## Data
Learned from {posts} posts (repetitions counted) in {minutes} minutes on two shared CPU threads, in
two stages: first the large public sets, then everything, our own posts in front. One round of a
stage draws from each set as many posts as the table says. Every post whose set has no leak label
is taken as an ordinary post, no leak. The division of posts follows a hash of their text or group.
Some of our own posts are varied at each round: other digits, lower case, joined with an ordinary
post (`classifiers/training/variations.py`).
{note}
| set | teaches | a round, first stage | second stage | kept for development / test | terms |
| --- | --- | --- | --- | --- | --- |
{data}

Never trained on: `leaks-dev`, `leaks-other` (another author, who knew nothing but the guide) and the
demonstration week of this project, HateCheck, Dutch television lines. No text of a public corpus is
part of this folder.
The weights come from public posts under the terms in the table, some of them for
research: for a use that those terms exclude, train without the set concerned.

## Figures
All by the shipped int8 graph through `classifiers.embedded`, on posts it did not learn from:
the command below writes this page. Recall and F1 in percent.

| task | on | posts | result |
| --- | --- | --- | --- |
{figures}

int8 ({range} reduced range) against fp32 on {compared} development posts: same sentiment
{sentiment} %, same abuse label {abuse} %, leak probability within {leak} for 99 of 100 posts.

To repeat:

    {command}

## Limits
- Leaks and threats in training were invented for this project, in similar ways as `leaks-dev`;
  real ones will be harder. Detectors for identifiers and keys stand beside the model.
- Threats are few in public data, and most of those it learned from are ours: read its `threat` as
  a reason to look, not as a finding.
- Irony, dialect and languages other than Dutch and English: expect less.
- A post is judged by its words alone, never by who wrote it.
"""
