"""Serves channels and open pages: opens what sends, and runs consumer and courier. Loaded when there is one of them."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from storage.tables.notifications.channels import Channel
from transport.push.consumer import AlertConsumer
from transport.push.courier import Courier
from transport.push.notifier import Notifier, has_packages
from transport.push.senders.command import CommandSender
from transport.push.senders.endpoints import Allowed, origin_parts
from transport.push.senders.sending import Card, Sender, ServiceAnswer
from transport.push.world import Surroundings

if TYPE_CHECKING:
    from transport.ports import Deps
    from transport.push.senders.services import Services

__all__ = ["PushEngine", "run_engine"]

MAX_SECRET_BYTES: Final = 64 * 1024

logger = logging.getLogger("builderos.transport")


@attrs.frozen
class PushEngine:
    """The two tasks, and the senders that the test button uses too."""

    consumer: AlertConsumer
    courier: Courier

    def wake(self) -> None:
        """Look at what is due."""
        self.consumer.wake()
        self.courier.wake()

    async def send_test(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Send one card now, whatever the ladder says; return the service's answer."""
        sender = self.courier.senders.get(channel.kind)
        if sender is None:
            return ServiceAnswer(None, "this server is not set up for this kind of device")
        return await sender.send(channel, card)


async def run_engine(notifier: Notifier, deps: Deps, *, sends: bool) -> None:
    """Serve the channels until cancelled. Without `sends` there are none: serve open pages until there is one."""
    async with AsyncExitStack() as stack:
        senders = await _senders(notifier, stack) if sends else {}
        around = Surroundings(
            deps,
            notifier.tables,
            notifier.devices,
            notifier.settings,
            notifier.attention,
            notifier.clock,
            notifier.new_id,
            frozenset(senders),
        )
        courier = Courier(around, senders)
        engine = PushEngine(AlertConsumer(around, courier.wake), courier)
        if sends:
            notifier.began(engine)
            logger.info("notifications: serving channels of these kinds: %s", ", ".join(sorted(senders)))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.consumer.run, name="alerts")
                nursery.start_soon(courier.run, name="courier")
                if not sends:
                    await notifier.wait_channel()
                    nursery.cancel_scope.cancel(reason="a channel needs what sends")
        finally:
            notifier.ended()


async def _senders(notifier: Notifier, stack: AsyncExitStack) -> dict[str, Sender]:
    settings = notifier.settings
    senders: dict[str, Sender] = {}
    if settings.command:
        senders["command"] = CommandSender(settings.command, notifier.environment)
    if not has_packages():
        return senders
    for name in ("services", "web_push"):  # they take 80 ms
        await trio.to_thread.run_sync(import_module, f"transport.push.senders.{name}")
    from transport.push.senders.services import open_services
    from transport.push.senders.web_push import WebPush, key_of

    services = await stack.enter_async_context(open_services(_reachable(notifier)))
    senders["web"] = WebPush(services, key_of(await notifier.secret()), notifier.clock, settings.contact)
    await _add_apns(notifier, services, senders)
    if settings.ntfy:
        from transport.push.senders.ntfy import Buttons, Ntfy, Topic

        origin = settings.origin
        buttons = None if origin is None else Buttons(origin, await notifier.secret(), notifier.clock)
        topics = {}
        for name, topic in settings.ntfy.items():
            token = None if topic.token_file is None else await _read(topic.token_file)
            topics[name] = Topic(topic, None if token is None else token.decode("ascii", "replace").strip())
        senders["ntfy"] = Ntfy(services, topics, buttons)
    return senders


async def _add_apns(notifier: Notifier, services: Services, senders: dict[str, Sender]) -> None:
    settings = notifier.settings
    if settings.apns is None:
        return
    from transport.push.senders.apns import Apns, read_key

    pem = await _read(settings.apns.key_file)
    try:
        if pem is not None:
            senders["apns"] = Apns(services, settings.apns, read_key(pem), notifier.clock)
    except ValueError as error:
        logger.warning("push.apns.key_file: is not a key of Apple's: %s", error)


async def _read(path: Path) -> bytes | None:
    try:
        async with await trio.open_file(path, "rb") as file:
            content = await file.read(MAX_SECRET_BYTES)
    except OSError as error:
        logger.warning("notifications: %s cannot be read: %s", path, error.strerror)
        return None
    return bytes(content)


def _reachable(notifier: Notifier) -> Allowed:
    """Return the addresses that the config names: those of its own channels too."""
    settings = notifier.settings
    named = [*settings.hosts, *(one.url.rpartition("/")[0] for one in settings.ntfy.values())]
    if settings.apns is not None:
        named += settings.apns.hosts
    return Allowed(frozenset(parts for parts in map(origin_parts, named) if parts is not None))
