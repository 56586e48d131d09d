"""All of one history at once: the machine, the store, servers one after the other or side by side, and devices."""

from __future__ import annotations

import attrs
import trio

from actors.events.conversation import Delivery, UserMessage
from actors.events.permissions import PermissionResolved
from bridgehub.protocol import messages as hub
from tests.fakes.devices import FakeDevices
from tests.simulation.agent import AgentLog
from tests.simulation.chaos import Chaos
from tests.simulation.device import SimDevice
from tests.simulation.hubs import Machine
from tests.simulation.plan import Act, Does, Fault, MessagePlan, Plan
from tests.simulation.server import SimServer
from tests.simulation.store import Life, SharedStore
from tests.simulation.wires import Wire

__all__ = ["World"]

RESTART_S = 0.3
"""How long the machine is without a server after one ended."""


@attrs.define(eq=False)
class World:
    """The world of one history."""

    chaos: Chaos
    nursery: trio.Nursery
    store: SharedStore = attrs.field(init=False)
    machine: Machine = attrs.field(init=False)
    log: AgentLog = attrs.field(init=False)
    keys: FakeDevices = attrs.field(factory=FakeDevices)
    devices: list[SimDevice] = attrs.field(factory=list)
    servers: list[SimServer] = attrs.field(factory=list)
    down_s: float = RESTART_S
    over: bool = False
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _acked: dict[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        chaos, plan = self.chaos, self.chaos.plan
        self.store = SharedStore(chaos)
        self.log = AgentLog(chaos)
        self.log.on_prompt, self.log.on_steer = self._check_prompt, self._check_steer
        self.log.on_decision = self._check_decision
        scripts = {one.message_id: one.script for one in plan.messages}
        self.machine = self._make_machine(self.log, scripts)
        chaos.strike = self.strike
        for one in plan.devices:
            self.keys.add(one.name)
            self.devices.append(SimDevice(chaos, one, self.connect, self.in_journal))

    def _make_machine(self, log: AgentLog, scripts: dict[str, tuple[Does, ...]]) -> Machine:
        return Machine(self.chaos, log, self.nursery, scripts)

    @property
    def plan(self) -> Plan:
        return self.chaos.plan

    # ---- servers ----

    async def run_servers(self) -> None:
        """Run one server after the other, until all is over."""
        while True:
            server = self.make_server()
            await server.run()
            await trio.sleep(self.down_s)
            self.down_s = RESTART_S
            while running := [one for one in self.servers if one.is_running]:
                await running[0].ended.wait()
            if self.over:
                return

    def make_server(self) -> SimServer:
        life = Life(len(self.servers))
        server = SimServer(self.chaos, self.store, self.machine, self.keys, life)
        self.servers.append(server)
        return server

    async def run_rival(self, seconds: float) -> None:
        """Start a second server beside the first, which lives on for a while: no device reaches it, its hubs do."""
        rival = self.make_server()
        earlier = [one for one in self.servers if one is not rival and not one.life.dead]
        for one in earlier:
            one.shut_out()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rival.run)
            await trio.sleep(seconds)
            for one in earlier:
                one.kill()

    def open_servers(self) -> list[SimServer]:
        """Return the servers that take connections."""
        return [one for one in self.servers if one.is_open]

    def connect(self, name: str) -> Wire | None:
        """Connect a device to the newest server that serves."""
        found = self.open_servers()
        return self._wire_to(found[-1], name) if found else None

    def _wire_to(self, server: SimServer, name: str) -> Wire:
        most_s = self.plan.knobs.device_delay_s
        wire = Wire(lambda: self.chaos.delay(most_s), self.chaos.tick)
        server.take(wire, f"key-of-{name}")
        return wire

    def unrest(self) -> list[str]:
        """Return what is not yet at rest beside sessions and devices."""
        return []

    # ---- what goes wrong ----

    def strike(self, fault: Fault) -> None:
        """Let a fault happen, now."""
        self.chaos.note(f"fault {fault.kind} {fault.amount}")
        self.chaos.struck.append(fault.kind)
        now, store, machine = trio.current_time(), self.store, self.machine
        match fault.kind:
            case "storage_down":
                store.down_until = now + fault.amount
            case "storage_gone":
                store.gone_until = now + fault.amount
            case "append_fails" | "append_unknown_before" | "append_unknown_after":
                store.fates.append(fault.kind)
            case "fail_start":
                machine.fail_starts += 1
            case "slow_start":
                machine.slow_start_s = fault.amount
            case "refuse_links":
                machine.refuse_until = now + fault.amount
                self._cut(machine.wires())
            case "clock_jump":
                self.chaos.clock_ahead_ms += int((fault.amount - 1.0) * 3_600_000)
            case "kill_hub":
                if living := machine.living():
                    self.chaos.chance.choice(living).kill()
            case "cut_link" | "stall_link":
                self._hurt_link(fault)
            case "cut_device" | "stall_device" | "vanish_device":
                self._hurt_device(fault)
            case _:
                self._hurt_server(fault)

    def _hurt_server(self, fault: Fault) -> None:
        living = [one for one in self.servers if not one.life.dead and one.supervisor is not None]
        if fault.kind == "second_server":
            self.nursery.start_soon(self.run_rival, fault.amount)
            return
        if fault.kind == "power_cut":
            for process in self.machine.living():
                process.kill()
                process.hub.spool.file = b""
            for server in [one for one in self.servers if not one.life.dead]:
                server.kill()
            self.store.cut_power()
            return
        if not living:
            return
        server = self.chaos.chance.choice(living)
        self.down_s = max(RESTART_S, fault.amount)
        if fault.kind == "kill_server":
            server.kill()
        else:
            server.stop(stop_hubs=fault.kind == "stop_all")

    def _hurt_link(self, fault: Fault) -> None:
        wires = self.machine.wires()
        if not wires:
            return
        wire = self.chaos.chance.choice(wires)
        if fault.kind == "cut_link":
            self._cut([wire])
        else:
            wire.stall(fault.amount)

    def _hurt_device(self, fault: Fault) -> None:
        wires = [one.wire for one in self.devices if one.wire is not None]
        if not wires:
            return
        wire = self.chaos.chance.choice(wires)
        if fault.kind == "cut_device":
            self._cut([wire])
        elif fault.kind == "stall_device":
            wire.stall(fault.amount)
        else:
            wire.vanish()

    def _cut(self, wires: list[Wire]) -> None:
        for wire in wires:
            wire.cut(lambda count: self.chaos.chance.randint(0, count))

    def heal(self) -> None:
        """End all that is wrong; from here on everything must come to rest."""
        self.chaos.healed = True
        self.chaos.note("healed")
        # Those that vanished notice it, and come back.
        self._cut([one.wire for one in self.devices if one.wire is not None and not one.wire.is_whole])
        for device in self.devices:
            device.closing = True

    # ---- what is held against the journal in the very moment ----

    def in_journal(self, session_id: str, message_id: str) -> bool:
        """Tell whether a message is in the journal now."""
        for item in self.store.items(session_id):
            if isinstance(item.event, UserMessage) and item.event.message_id == message_id:
                return True
        return False

    def _has(self, session_id: str, turn_id: str, message_id: str) -> bool:
        wanted = Delivery(message_id, "handed")
        found = self.store.items(session_id)
        return any(item.turn_id == turn_id and item.event == wanted for item in found)

    def _check_prompt(self, session_id: str, prompt: hub.Prompt) -> None:
        if not self._has(session_id, prompt.turn_id, prompt.message_id):
            self.chaos.complain(f"{prompt.message_id} reached an agent before `handed` was in the journal")

    def _check_steer(self, session_id: str, steer: hub.Steer) -> None:
        if not self._has(session_id, steer.turn_id, steer.message_id):
            self.chaos.complain(f"{steer.message_id} was steered before `handed` was in the journal")

    def _check_decision(self, session_id: str, turn_id: str, decided: hub.Decided) -> None:
        if decided.decision == "cancelled":
            return
        for item in self.store.items(session_id):
            event = item.event
            if isinstance(event, PermissionResolved) and event.request_id == decided.request_id:
                if (event.decision, event.mode) != (decided.decision, decided.mode):
                    self.chaos.complain(f"the agent was told {decided}, the journal says {event}")
                return
        granted = decided.decision == "allow_session"
        if not granted:
            self.chaos.complain(f"{decided} reached an agent before it was in the journal")

    # ---- the course of it ----

    async def follow_plan(self) -> None:
        """Do what the plan says, in its time, and return when all of it was tried."""
        async with trio.open_nursery() as nursery:
            for message in self.plan.messages:
                nursery.start_soon(self._send, message)
            for act in self.plan.acts:
                nursery.start_soon(self._act, act)
            for fault in self.plan.faults:
                if not fault.at_tick:
                    nursery.start_soon(self._strike_at, fault)

    async def _send(self, message: MessagePlan) -> None:
        await trio.sleep(message.at_s)
        await self.devices[message.device].send_message(message)

    async def _act(self, act: Act) -> None:
        await trio.sleep(act.at_s)
        await self.devices[act.device].act(act)

    async def _strike_at(self, fault: Fault) -> None:
        await trio.sleep(fault.at_s)
        self.strike(fault)

    async def nudge(self) -> None:
        """Be the person whom something may wait for: decide, and stop what would run for ever."""
        device = self.devices[0]
        for session_id, view in device.views.items():
            for request_id in list(view.pending):
                await device.decide(session_id, request_id, 0)
            if self._hangs(session_id):
                await device.act(Act(0, 0, session_id, "interrupt"))

    def _hangs(self, session_id: str) -> bool:
        """Tell whether the session's turn is one that its agent never ends."""
        started = [one.turn_id for one in self.store.items(session_id) if one.event.kind == "turn_started"]
        taken = self.log.turns.get(started[-1] or "") if started else None
        script = self.machine.scripts.get(taken.message_id, ()) if taken is not None else ()
        return bool(script) and script[-1][0] in ("hang", "deaf")
