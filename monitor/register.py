"""The register of secrets of this installation: the store's shelf, as the detector asks it."""

from __future__ import annotations

from collections.abc import Sequence

from classifiers.register.detector import RegisterDetector
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.items import Item
from monitor.log import logger
from monitor.privacy import Pseudonyms
from monitor.store import Store, StoreError

_PURPOSE = "merkwacht-secret"


class StoredRegister:
    """What is registered in a store. While that cannot be read, what was read before stays."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = logger("register")

    def generation(self) -> int | None:
        """A number that grows with every change; None: it cannot be read now."""
        try:
            with self._store.read() as unit:
                return unit.register.generation()
        except StoreError as error:
            self._log.warning("register_unreadable", error=str(error))
            return None

    def items(self) -> Sequence[Item] | None:
        """All that is registered; None: it cannot be read now."""
        try:
            with self._store.read() as unit:
                return unit.register.all()
        except StoreError as error:
            self._log.warning("register_unreadable", error=str(error))
            return None


def fingerprints_of(pseudonyms: Pseudonyms) -> Fingerprints:
    """The fingerprints of an installation: their key is derived from that of the pseudonyms."""
    return Fingerprints(pseudonyms.derive(_PURPOSE))


def open_detector(store: Store, pseudonyms: Pseudonyms) -> RegisterDetector:
    """The detector of what is registered in ``store``."""
    log = logger("register")
    return RegisterDetector(
        StoredRegister(store),
        fingerprints_of(pseudonyms),
        on_unusable=lambda label: log.warning("registered_item_unusable", label=label),
    )
