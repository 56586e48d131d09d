"""How much one run of the bench does."""

from __future__ import annotations

import attrs

__all__ = ["Plan"]


@attrs.frozen
class Plan:
    """The sizes of all measurements; the defaults are those that docs/internals/performance.md speaks of.

    Attributes:
        pairs: alternated runs of yardstick and server, after one of each that does not count.
        clock_pieces: pieces of a latency run.
        clock_pause_ms: between two of them.
        words: pieces of a throughput run.
        turn_pairs: alternated warm turns of a real agent, bare and ours.
        turn_words: of each of their answers.
        big_characters: the one piece whose arrival is timed.
        sessions: on disk when the boot is timed.
        turns: of each of them; a turn is two messages.
        idle_sessions: attached when memory is weighed.
        hubs: living at once when they are weighed.
        crowd_densities: sessions a core that speak at once; the first has the target.
        crowd_s: how long they are looked at.
        crowd_pairs: alternated runs of each density, after one that does not count.
        cold_pairs: fresh sessions of a real agent, bare, ours, and ours after `warm`.
        typing_s: from `warm` to the message: a short sentence on a phone takes longer.
        history: messages of the conversation that the terminal client shows.
        idle_s: the terminal client rests so long.
        appends_s: how long durable appends are counted.
        failovers: databases that fail, one after the other.
        rest_s: after a long answer, until what the server gives back has been given back.
        run_limit_s: each single run is given up after this.
    """

    pairs: int = 5
    clock_pieces: int = 500
    clock_pause_ms: float = 10.0
    words: int = 20_000
    turn_pairs: int = 25
    turn_words: int = 20
    big_characters: int = 1_000_000
    sessions: int = 2_000
    turns: int = 10
    idle_sessions: int = 500
    hubs: int = 10
    crowd_densities: tuple[int, ...] = (25, 50)
    crowd_s: float = 4.0
    crowd_pairs: int = 3
    cold_pairs: int = 5
    typing_s: float = 1.5
    history: int = 10_000
    idle_s: float = 20.0
    appends_s: float = 2.0
    failovers: int = 3
    rest_s: float = 5.0
    run_limit_s: float = 60.0

    @classmethod
    def quick(cls) -> Plan:
        """Return a plan of seconds, to see whether everything works; its figures mean little."""
        return cls(
            pairs=1,
            clock_pieces=50,
            words=4_000,
            turn_pairs=3,
            big_characters=300_000,
            sessions=50,
            idle_sessions=20,
            hubs=2,
            crowd_densities=(2,),
            crowd_s=0.5,
            crowd_pairs=1,
            cold_pairs=1,
            typing_s=0.1,
            history=400,
            idle_s=0.5,
            appends_s=0.3,
            failovers=1,
            rest_s=0.1,
        )
