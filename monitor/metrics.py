"""Every metric of the daemon, declared in one place on a registry that is passed in.

Labels come from closed sets only: kinds, reasons, and the names of sources, brands and channels in
the configuration. Text, authors and addresses never become labels.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from alerts.base import DeliveryFault, Reason, SignalKind
from alerts.clocks import ClockState, Milestone
from classifiers.base import LeakBand, SentimentLabel
from classifiers.second_opinion import Unanswered
from connectors.base import Darkness, SourceFault

_LATENCY = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 86400)
_WORK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_PROMISES = (60, 300, 600, 900, 1800, 2880, 3600, 7200, 14400, 28800, 86400, 172800, 432000)
"""Seconds; 30 and 48 minutes are when a crisis clock reminds."""

OK = "ok"
ERROR = "error"


class CostMetrics:
    """What sources cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.spent = Counter(
            "merkwacht_source_spent",
            "What a source billed or took off a quota, by unit: post, user, media, request, search, unit.",
            ["source", "unit"],
            registry=registry,
        )
        self.left = Gauge(
            "merkwacht_source_budget_left_ratio",
            "Part of a source's money that is left of the day or month; 0: spent.",
            ["source", "period"],
            registry=registry,
        )


class Metrics:
    """All metrics, named ``merkwacht_*``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        # coming in
        self.polls = Counter(
            "merkwacht_polls",
            "Polls of a source by outcome.",
            ["source", "outcome"],
            registry=registry,
        )
        self.poll_lateness = Histogram(
            "merkwacht_poll_lateness_seconds",
            "How long after its due time a poll began.",
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
            registry=registry,
        )
        self.poll_seconds = Histogram(
            "merkwacht_poll_duration_seconds",
            "Time a poll took.",
            ["source"],
            buckets=_WORK,
            registry=registry,
        )
        self.posts_fetched = Counter(
            "merkwacht_posts_fetched", "Posts a source delivered.", ["source"], registry=registry
        )
        self.posts_matched = Counter(
            "merkwacht_posts_matched",
            "Posts that matched a brand, repeats included.",
            ["brand"],
            registry=registry,
        )
        self.mentions_stored = Counter(
            "merkwacht_mentions_stored",
            "Mentions stored for the first time.",
            ["brand"],
            registry=registry,
        )
        self.rejects = Counter(
            "merkwacht_rejects",
            "Items that could not become a post.",
            ["source"],
            registry=registry,
        )
        self.last_success = Gauge(
            "merkwacht_source_last_success_timestamp_seconds",
            "When a source was last polled without a fault; 0: never.",
            ["source"],
            registry=registry,
        )
        self.source_failures = Gauge(
            "merkwacht_source_consecutive_failures",
            "Failed polls of a source since the last good one.",
            ["source"],
            registry=registry,
        )
        self.pushes = Counter(
            "merkwacht_pushes",
            "What was pushed to a source: stored, repeated, refused, too_many.",
            ["source", "outcome"],
            registry=registry,
        )
        self.pushes_waiting = Gauge(
            "merkwacht_pushes_waiting",
            "Pushes to a source that its next poll will read.",
            ["source"],
            registry=registry,
        )
        self.mentions_doubled = Counter(
            "merkwacht_mentions_doubled_total",
            "Articles that another source had brought already, by the source that came second.",
            ["source"],
            registry=registry,
        )
        self.source_dark = Gauge(
            "merkwacht_source_dark",
            "1 for the reason why a source is not heard at present, 0 for the others.",
            ["source", "reason"],
            registry=registry,
        )
        self.costs = CostMetrics(registry)
        # meaning
        self.assessed = Counter(
            "merkwacht_mentions_assessed",
            "Mentions assessed by sentiment.",
            ["brand", "sentiment"],
            registry=registry,
        )
        self.leak_verdicts = Counter(
            "merkwacht_leak_verdicts",
            "Mentions assessed, by what is to be done about a leak in them.",
            ["brand", "band"],
            registry=registry,
        )
        self.review_waiting = Gauge(
            "merkwacht_review_waiting_mentions",
            "Mentions in the band of review that nobody has judged.",
            ["brand"],
            registry=registry,
        )
        self.assess_failures = Counter(
            "merkwacht_assess_failures",
            "Mentions that could not be assessed, even alone.",
            registry=registry,
        )
        self.pictures = Counter(
            "merkwacht_pictures",
            "Pictures of mentions by what came of them: text, nothing, put_off, given_up.",
            ["outcome"],
            registry=registry,
        )
        self.model_seconds = Histogram(
            "merkwacht_model_duration_seconds",
            "Time the classifiers took for a batch.",
            buckets=_WORK,
            registry=registry,
        )
        self.opinions_asked = Counter(
            "merkwacht_second_opinions_asked",
            "Questions sent about doubtful leaks.",
            registry=registry,
        )
        self.opinions_raised = Counter(
            "merkwacht_second_opinions_raised",
            "Doubtful leaks that a second opinion escalated.",
            registry=registry,
        )
        self.opinion_failures = Counter(
            "merkwacht_second_opinion_failures",
            "Doubtful leaks without a second opinion, by reason.",
            ["reason"],
            registry=registry,
        )
        self.opinion_seconds = Histogram(
            "merkwacht_second_opinion_duration_seconds",
            "Time the second opinions on a batch took.",
            buckets=_WORK,
            registry=registry,
        )
        self.queue = Gauge(
            "merkwacht_assess_queue_mentions",
            "Mentions that wait for an assessment.",
            registry=registry,
        )
        self.latency = Histogram(
            "merkwacht_mention_latency_seconds",
            "From publication of a mention to its assessment.",
            buckets=_LATENCY,
            registry=registry,
        )
        # the crowd: what the search for spikes sees, in the newest full five minutes
        self.crowd_seen = Gauge(
            "merkwacht_crowd_seen",
            "Mentions, negative mentions or authors in the newest full five minutes.",
            ["brand", "counted"],
            registry=registry,
        )
        self.crowd_usual = Gauge(
            "merkwacht_crowd_usual",
            "How many are usual in five minutes of this hour and weekday.",
            ["brand", "counted"],
            registry=registry,
        )
        self.crowd_upper = Gauge(
            "merkwacht_crowd_upper",
            "The most that is ordinary: one in a thousand is above.",
            ["brand", "counted"],
            registry=registry,
        )
        # alerting
        self.signals = Counter(
            "merkwacht_signals", "Signals found.", ["brand", "kind"], registry=registry
        )
        self.incidents_opened = Counter(
            "merkwacht_incidents_opened", "Incidents opened.", ["kind"], registry=registry
        )
        self.incidents_burning = Gauge(
            "merkwacht_incidents_burning",
            "Incidents open or acknowledged; of sources and channels: without a brand.",
            ["brand", "kind"],
            registry=registry,
        )
        self.decisions = Counter(
            "merkwacht_routing_decisions",
            "Decisions to tell or not to tell a receiver, by reason.",
            ["sent", "reason"],
            registry=registry,
        )
        self.milestone_seconds = Histogram(
            "merkwacht_clock_milestone_seconds",
            "From the start of a clock until somebody took the incident, until the first statement, "
            "the answer, the end.",
            ["clock", "milestone"],
            buckets=_PROMISES,
            registry=registry,
        )
        self.clock_outcomes = Counter(
            "merkwacht_clock_outcomes",
            "Clocks that have stopped, by how.",
            ["clock", "outcome"],
            registry=registry,
        )
        self.clocks = Gauge(
            "merkwacht_clocks",
            "Clocks of incidents that are not over, by how they stand.",
            ["clock", "state"],
            registry=registry,
        )
        self.news_waiting = Gauge(
            "merkwacht_news_waiting",
            "News that waits for its like or for the end of quiet hours.",
            registry=registry,
        )
        self.deliveries = Counter(
            "merkwacht_deliveries",
            "Attempts to deliver a notification by outcome.",
            ["channel", "outcome"],
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "merkwacht_delivery_duration_seconds",
            "Time an attempt took.",
            ["channel"],
            buckets=_WORK,
            registry=registry,
        )
        self.outbox = Gauge(
            "merkwacht_outbox_notifications", "Notifications that wait.", registry=registry
        )
        self.outbox_oldest = Gauge(
            "merkwacht_outbox_oldest_age_seconds",
            "Age of the oldest that waits.",
            registry=registry,
        )
        self.dead_letters = Gauge(
            "merkwacht_dead_letters", "Notifications given up.", registry=registry
        )
        self.heartbeats = Counter(
            "merkwacht_heartbeats",
            "Heartbeats by outcome; withheld: a step was stale.",
            ["outcome"],
            registry=registry,
        )
        self.daily_lines = Counter(
            "merkwacht_daily_lines",
            "Attempts to tell the line a day by outcome.",
            ["channel", "outcome"],
            registry=registry,
        )
        # people and platforms
        self.actions = Counter(
            "merkwacht_incident_actions",
            "What people did with incidents by link or button, by what came of it.",
            ["way", "action", "outcome"],
            registry=registry,
        )
        self.slack_connected = Gauge(
            "merkwacht_slack_socket_connected",
            "1 while buttons in Slack are heard, through Socket Mode.",
            ["channel"],
            registry=registry,
        )
        self.web_requests = Counter(
            "merkwacht_web_requests",
            "Requests at the public address by route and class of status.",
            ["route", "status"],
            registry=registry,
        )
        self._declare_own(registry)

    def _declare_own(self, registry: CollectorRegistry) -> None:
        """What is measured of the daemon itself."""
        self.step_seconds = Histogram(
            "merkwacht_step_duration_seconds",
            "Time a step took.",
            ["step"],
            buckets=_WORK,
            registry=registry,
        )
        self.step_failures = Counter(
            "merkwacht_step_failures",
            "Steps that ended with an error.",
            ["step"],
            registry=registry,
        )
        self.step_ended = Gauge(
            "merkwacht_step_last_end_timestamp_seconds",
            "When a step last came to a good end; 0: never since the start.",
            ["step"],
            registry=registry,
        )
        self.reloads = Counter(
            "merkwacht_reloads", "Configuration reloads by outcome.", ["outcome"], registry=registry
        )
        self.ready = Gauge("merkwacht_ready", "1 when every step is fresh.", registry=registry)
        self.database_bytes = Gauge(
            "merkwacht_database_size_bytes", "Size of the database file.", registry=registry
        )
        self.disk_free = Gauge(
            "merkwacht_disk_free_bytes",
            "What is left where the database lies.",
            registry=registry,
        )
        ProcessCollector(registry=registry)  # memory, processor, file descriptors, start
        self.build = Info("merkwacht_build", "Versions of program and model.", registry=registry)

    def expect(
        self,
        *,
        sources: Iterable[str],
        brands: Iterable[str],
        channels: Iterable[str],
        steps: Iterable[str],
        clocks: Iterable[str] = (),
    ) -> None:
        """Set every label combination to zero, so that rates work from the first event on."""
        # A budget that was taken out of the configuration is not one that nobody spends.
        self.costs.left.clear()
        for source in sources:
            self._expect_source(source)
        for brand in brands:
            self._expect_brand(brand)
        self._expect_alerting()
        for channel in channels:
            for outcome in (OK, *(fault.value for fault in DeliveryFault)):
                self.deliveries.labels(channel, outcome)
                self.daily_lines.labels(channel, outcome)
        for outcome in (OK, "withheld", *(fault.value for fault in DeliveryFault)):
            self.heartbeats.labels(outcome)
        for clock in clocks:
            self._expect_clock(clock)
        for step in steps:
            self.step_failures.labels(step)
            self.step_ended.labels(step)
        for why in (*Unanswered, ERROR):
            self.opinion_failures.labels(why)
        for outcome in ("text", "nothing", "put_off", "given_up"):
            self.pictures.labels(outcome)
        for outcome in (OK, "refused"):
            self.reloads.labels(outcome)

    def _expect_alerting(self) -> None:
        for kind in SignalKind:
            self.incidents_opened.labels(kind.value)
            self.incidents_burning.labels("", kind.value)
        for reason in Reason:
            for sent in ("yes", "no"):
                self.decisions.labels(sent, reason.value)

    def _expect_clock(self, clock: str) -> None:
        for state in ClockState:
            self.clocks.labels(clock, state.value)
            if state is not ClockState.RUNNING:
                self.clock_outcomes.labels(clock, state.value)
        for milestone in Milestone:
            self.milestone_seconds.labels(clock, milestone.value)

    def _expect_source(self, source: str) -> None:
        for outcome in (OK, *(fault.value for fault in SourceFault)):
            self.polls.labels(source, outcome)
        self.posts_fetched.labels(source)
        self.rejects.labels(source)
        self.last_success.labels(source)
        self.source_failures.labels(source)
        self.mentions_doubled.labels(source)
        self.darken(source, None)

    def darken(self, source: str, why: Darkness | None) -> None:
        """Say why a source is not heard at present; None: it is."""
        for reason in Darkness:
            self.source_dark.labels(source, reason.value).set(reason is why)

    def _expect_brand(self, brand: str) -> None:
        self.posts_matched.labels(brand)
        self.mentions_stored.labels(brand)
        for sentiment in SentimentLabel:
            self.assessed.labels(brand, sentiment.value)
        for band in LeakBand:
            self.leak_verdicts.labels(brand, band.value)
        self.review_waiting.labels(brand)
        for kind in SignalKind:
            self.signals.labels(brand, kind.value)
            self.incidents_burning.labels(brand, kind.value)
