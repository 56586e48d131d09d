"""Input as WebDriver and WebDriver BiDi spell it: lists of actions."""

from __future__ import annotations

from typing import Any

__all__ = ["click_at", "press", "typed"]

Actions = list[dict[str, Any]]

KEYS = {"Backspace": "\ue003", "Tab": "\ue004", "Enter": "\ue006", "Shift": "\ue008", "Escape": "\ue00c"}


def click_at(x: float, y: float) -> Actions:
    """Press the main button of a mouse at a point of the viewport."""
    steps = [
        {"type": "pointerMove", "x": round(x), "y": round(y), "origin": "viewport"},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0},
    ]
    return [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}]


def typed(text: str) -> Actions:
    """Type a text, a key for each character."""
    return _keys([step for key in text for step in _down_and_up(key)])


def press(chord: str) -> Actions:
    """Press a key by its name, `Tab` or `Shift+Tab` for example."""
    *held, key = (KEYS.get(name, name) for name in chord.split("+"))
    down = [{"type": "keyDown", "value": one} for one in held]
    up = [{"type": "keyUp", "value": one} for one in reversed(held)]
    return _keys([*down, *_down_and_up(key), *up])


def _down_and_up(key: str) -> Actions:
    return [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]


def _keys(steps: Actions) -> Actions:
    return [{"type": "key", "id": "keyboard", "actions": steps}]
