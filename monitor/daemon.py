"""The loop: six small steps, one main thread that writes, and an orderly end.

``tick()`` does one full pass and returns; tests, the demo and ``run --once`` use it under a clock of
their own. ``run()`` lets APScheduler say when each step is due and pumps the inbox until told to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from apscheduler.schedulers.background import BackgroundScheduler

from monitor.announcing import Announcement
from monitor.assessing import AssessStep
from monitor.config import ConfigError
from monitor.database import StoreError
from monitor.delivering import DeliverStep
from monitor.detecting import DetectStep
from monitor.following import FollowStep
from monitor.inbox import Inbox
from monitor.log import logger, tell_repeats
from monitor.metrics import OK, Metrics
from monitor.picturing import PictureStep
from monitor.polling import PollStep
from monitor.systemd import Notifier
from monitor.tending import TendStep
from monitor.vouching import VouchStep

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from monitor.site import SiteServer

PERIODS: Mapping[str, float] = {
    "poll": 1,
    "assess": 2,
    "picture": 5,
    "detect": 60,
    "deliver": 1,
    "tend": 30,
    "follow": 1,
    "vouch": 10,
}
"""Seconds between two turns of a step. Steps with nothing to do cost a query on an index."""

DRAIN_SECONDS = 8.0
"""Work in hand may take this long after SIGTERM; with the rest it ends within ten seconds."""

_BEAT_SECONDS = 5.0
_STALE_SECONDS = 120.0
"""A step that has not come to an end for this long beyond its period: the loop is not healthy."""
_LONG_TICK_SECONDS = 600.0


class Listener(Protocol):
    """Hears from people while the daemon runs, in threads of its own; writes through the inbox."""

    def start(self) -> None:
        """Begin to listen. Returns at once; what goes wrong later is its own to mend."""
        ...

    def close(self) -> None:
        """Hear no more. Returns within a few seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one configuration, and by which ways it is spoken to."""

    poll: PollStep
    assess: AssessStep
    detect: DetectStep
    deliver: DeliverStep
    tend: TendStep
    follow: FollowStep
    vouch: VouchStep
    close: Callable[[], None]
    """Lets go of connectors and channels."""
    picture: PictureStep | None = None
    """Where pictures are read."""
    routes: Sequence[BaseRoute] = ()
    """What the public address answers."""
    listeners: Sequence[Listener] = ()


@dataclass(slots=True)
class Tick:
    """What one full pass did."""

    polled: int = 0
    assessed: int = 0
    sent: int = 0
    """Notifications that the other side took."""
    waiting: int = 0
    """Notifications left in the outbox."""
    announcements: list[Announcement] = field(default_factory=list)


class Daemon:
    """Runs the steps. All methods belong to the main thread, save ``stop``, ``reload`` and ``health``."""

    def __init__(
        self,
        *,
        steps: Steps,
        rebuild: Callable[[], Steps],
        inbox: Inbox,
        pools: Sequence[ThreadPoolExecutor],
        metrics: Metrics,
        notifier: Notifier,
        site: SiteServer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = steps
        self._rebuild = rebuild
        self._next: Steps | None = None
        self._inbox = inbox
        self._pools = pools
        self._metrics = metrics
        self._notifier = notifier
        self._site = site
        self._monotonic = monotonic
        self._stopping = False
        self._ticking = False
        self._log = logger("daemon")
        self._fresh: dict[str, float] = {}
        self._announced: list[Announcement] = []

    # -- one pass ------------------------------------------------------------------------------

    def tick(self) -> Tick:
        """One full pass: poll what is due, assess all of it, detect, tend, follow, deliver what is due.

        Raises whatever a step raises: a caller that drives the passes itself wants to know.
        """
        self._ticking = True
        try:
            return self._pass()
        finally:
            self._ticking = False

    def _pass(self) -> Tick:
        done = Tick()
        self._announced.clear()
        done.polled = self.steps.poll.run()
        self._pump_while(lambda: self.steps.poll.in_flight)
        while count := self._assess():
            done.assessed += count
        while self._picture():
            self._pump_while(lambda: self._looking)
            while self._assess():  # anew, with what was read
                pass
        self._announced += self.steps.detect.run()[1]
        self._announced += self.steps.tend.run()[1]
        # Whoever drives the passes sees for himself that they come to an end.
        self._fresh = dict.fromkeys(PERIODS, self._monotonic())
        self._announced += self.steps.vouch.run()
        self._pump_while(lambda: self.steps.vouch.in_flight)
        while self._follow():
            pass
        done.sent = self.hand_over()
        done.waiting = self.steps.deliver.waiting()
        done.announcements = list(self._announced)
        return done

    def hand_over(self) -> int:
        """Deliver what is due. Returns how many notifications the other side took."""
        before = self.steps.deliver.sent
        while self.steps.deliver.run():
            self._pump_while(lambda: self.steps.deliver.in_flight)
        return self.steps.deliver.sent - before

    def _pump_while(self, busy: Callable[[], int]) -> None:
        deadline = self._monotonic() + _LONG_TICK_SECONDS
        while busy():
            if self._monotonic() > deadline:
                raise TimeoutError(f"a worker has not come back for {_LONG_TICK_SECONDS:.0f} s")
            self._inbox.pump(0.2)

    def _assess(self) -> int:
        count, announcements = self.steps.assess.run()
        self._announced += announcements
        return count

    def _picture(self) -> int:
        return 0 if self.steps.picture is None else self.steps.picture.run()

    @property
    def _looking(self) -> int:
        return 0 if self.steps.picture is None else self.steps.picture.in_flight

    def _follow(self) -> int:
        count, announcements = self.steps.follow.run()
        self._announced += announcements
        return count

    # -- for ever ------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until :meth:`stop`, then drain."""
        scheduler = BackgroundScheduler(timezone="UTC", daemon=True)
        for name, seconds in PERIODS.items():
            scheduler.add_job(
                self._inbox.post_once,
                "interval",
                args=(name, partial(self._turn, name)),
                seconds=seconds,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        scheduler.add_job(
            self._inbox.post_once, "interval", args=("beat", self._beat), seconds=_BEAT_SECONDS
        )
        for name in PERIODS:
            self._inbox.post_once(name, partial(self._turn, name))
        scheduler.start()
        self._listen()
        self._metrics.ready.set(1)
        self._notifier.ready("watching")
        self._log.info("ready", sources=len(self.steps.poll.sources))
        try:
            while not self._stopping:
                self._pump()
                self._swap_when_idle()
        finally:
            scheduler.shutdown(wait=False)
            self._drain()

    def _listen(self) -> None:
        """Be spoken to by the ways of the present steps."""
        for listener in self.steps.listeners:
            listener.start()
        if self._site is not None:
            self._site.show(self.steps.routes)
            self._site.start()

    def _unlisten(self) -> None:
        for listener in self.steps.listeners:
            listener.close()

    def _pump(self, seconds: float = 0.5) -> None:
        try:
            self._inbox.pump(seconds)
        except Exception:  # noqa: BLE001 - a worker's report must not end the loop, whatever is wrong with it
            self._log.exception("job_failed")

    def stop(self) -> None:
        """Ask the loop to end. Safe in a signal handler."""
        self._inbox.post(self._stop)

    def reload(self) -> None:
        """Ask the loop to read its configuration anew. Safe in a signal handler."""
        self._inbox.post(self._reload)

    def _stop(self) -> None:
        self._stopping = True

    def _turn(self, name: str) -> None:
        """One turn of one step: the border at which no failure goes further."""
        began = self._monotonic()
        try:
            more = self._do(name)
        except StoreError as error:
            # Nothing was written, nothing moved on: the same turn comes again.
            self._metrics.step_failures.labels(name).inc()
            self._log.error("step_failed", step=name, error=str(error))
            self._fresh[name] = self._monotonic()
            return
        except Exception:  # noqa: BLE001 - one step's defect must not end the others; no beat follows
            self._metrics.step_failures.labels(name).inc()
            self._log.exception("step_failed", step=name)
            return
        self._fresh[name] = self._monotonic()
        self._metrics.step_seconds.labels(name).observe(self._monotonic() - began)
        self._metrics.step_ended.labels(name).set_to_current_time()
        self._log.debug("step_ended", step=name, seconds=round(self._monotonic() - began, 3))
        if more:
            self._inbox.post_once(name, partial(self._turn, name))

    def _do(self, name: str) -> bool:
        """Run a step. True when it has more to do at once."""
        if self._next is not None and name in ("poll", "deliver", "picture"):
            return False
        self._announced.clear()
        more = told = False
        match name:
            case "poll":
                self.steps.poll.run()
            case "assess":
                more = self._assess() > 0
            case "picture":
                self._picture()
            case "detect":
                self._announced += self.steps.detect.run()[1]
            case "deliver":
                self.steps.deliver.run()
            case "tend":
                cleared, announcements = self.steps.tend.run()
                self._announced += announcements
                more = cleared > 0
            case "follow":
                more = told = self._follow() > 0
            case "vouch":
                self._announced += self.steps.vouch.run()
        if self._announced or told:
            self._inbox.post_once("deliver", partial(self._turn, "deliver"))
        return more

    def poke(self) -> None:
        """Mentions were stored: do not wait for the next turn to assess them."""
        if not self._ticking:
            self._inbox.post_once("assess", partial(self._turn, "assess"))

    def acted(self) -> None:
        """Somebody did something with an incident: do not wait for the next turn to say so."""
        if not self._ticking and not self._stopping:
            self._inbox.post_once("follow", partial(self._turn, "follow"))

    def delivered(self) -> None:
        """A message is out: the next of its lane need not wait for the next turn."""
        if not self._ticking and not self._stopping:
            self._inbox.post_once("deliver", partial(self._turn, "deliver"))

    # -- health --------------------------------------------------------------------------------

    def health(self) -> dict[str, float]:
        """The steps that have not come to an end lately, with seconds since; empty: healthy."""
        now = self._monotonic()
        stale = {}
        for name, period in PERIODS.items():
            age = now - self._fresh.get(name, now - period)
            if age > period + _STALE_SECONDS or name not in self._fresh:
                stale[name] = round(age, 1)
        return stale

    def _beat(self) -> None:
        tell_repeats()
        stale = self.health()
        self._metrics.ready.set(0 if stale else 1)
        if not stale:
            self._notifier.beat("watching")
        else:
            self._log.error("stale_steps", **stale)

    # -- changes -------------------------------------------------------------------------------

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            self._next = self._rebuild()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("reload_refused", key=problem.path, error=problem.message)
            self._metrics.reloads.labels("refused").inc()
            self._notifier.ready("watching; the new configuration was refused")
        except Exception:  # noqa: BLE001 - a configuration that cannot be built must not end the old one
            self._log.exception("reload_refused")
            self._metrics.reloads.labels("refused").inc()
            self._notifier.ready("watching; the new configuration was refused")

    def _swap_when_idle(self) -> None:
        """Take the new steps once nothing of the old ones is under way."""
        if self._next is None or self.steps.poll.in_flight or self.steps.deliver.in_flight:
            return
        try:
            self._next.poll.begin()
        except StoreError as error:
            self._log.warning("reload_waits", error=str(error))
            return
        self._unlisten()
        self.steps.close()
        self.steps, self._next = self._next, None
        self._listen()
        self._metrics.reloads.labels(OK).inc()
        self._notifier.ready("watching")
        self._log.info("reloaded", sources=len(self.steps.poll.sources))

    def _drain(self) -> None:
        self._notifier.stopping()
        self._log.info(
            "draining", polls=self.steps.poll.in_flight, deliveries=self.steps.deliver.in_flight
        )
        deadline = self._monotonic() + DRAIN_SECONDS
        self._unlisten()
        if self._site is not None:
            self._site.stop()
        while self.busy and self._monotonic() < deadline:
            self._pump(0.1)
        if self.busy:
            self._log.warning("given_up", workers=self.busy, why="repeated at the next start")
        self.close()
        tell_repeats(all_of_them=True)
        self._log.info("stopped")

    @property
    def busy(self) -> int:
        """How many workers are under way."""
        return (
            self.steps.poll.in_flight
            + self.steps.deliver.in_flight
            + self._looking
            + (0 if self._site is None else self._site.busy)
        )

    def close(self) -> None:
        """Let workers go that wait for us, and close what they use."""
        self._inbox.close()
        if self._site is not None:
            self._site.close()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        self.steps.close()
