"""Turns what Codex asks during a turn into a question for a person, and the answer into Codex's form.

No I/O. A grant is what Codex itself remembers for the session after such an answer: this exact command in this folder,
changes of these exact files, this tool of an MCP server.
"""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.agents.codex.translate.items import CodexToolCall, diff_of
from bridgehub.agents.json_rpc.messages import Fields, ServerRequest
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.agents.text import clean_text, cut_json
from bridgehub.protocol.messages import Decided

__all__ = ["CodexQuestion", "answer_of", "question_of"]

MAX_GRANT_CHARS = 2000
"""Code points of a grant. A person could not read a longer one, so such a call can be allowed only once."""

_COMMAND = "item/commandExecution/requestApproval"
_FILES = "item/fileChange/requestApproval"
_RIGHTS = "item/permissions/requestApproval"
_INPUT = "item/tool/requestUserInput"


@attrs.frozen
class CodexQuestion:
    """What a person is asked (`Sink.ask`). `item_id`: the tool call that waits, empty if none is named."""

    tool: str
    tool_input: Any
    item_id: str = ""
    questions: list[dict[str, Any]] | None = None
    grant: str | None = None
    diff: list[dict[str, Any]] | None = None

    @property
    def words(self) -> RequestWords:
        """What a person reads of the question."""
        return attrs.evolve(plain_words(self.tool, self.tool_input, self.questions), diff=self.diff)


def question_of(request: ServerRequest, running: tuple[CodexToolCall, ...]) -> CodexQuestion | None:
    """Return the question. None for a request that no person can answer.

    Args:
        request: what Codex asks.
        running: the running tool calls, oldest first. Some requests only refer to one.
    """
    params = request.params
    item_id = params.text("itemId")
    tool = next((tool for tool in running if tool.item_id == item_id), None)
    match request.method:
        case "item/commandExecution/requestApproval":
            return _about_command(params, item_id)
        case "item/fileChange/requestApproval":
            return _about_files(params, item_id, tool)
        case "item/permissions/requestApproval":
            wanted = {
                "permissions": params.value("permissions"),
                "reason": params.maybe_text("reason"),
                "lasts": "until this turn ends",  # Codex has no shorter grant
            }
            return CodexQuestion("permissions", _shown(wanted), item_id)
        case "item/tool/requestUserInput":
            return CodexQuestion("request_user_input", {}, item_id, _user_questions(params))
        case "mcpServer/elicitation/request":
            return _about_mcp(params, running)
    return None


def answer_of(request: ServerRequest, question: CodexQuestion, decided: Decided) -> dict[str, Any]:
    """Return the result that answers `request`. A decision `cancelled` counts as no."""
    allowed = decided.decision in {"allow", "allow_session"}
    lasting = decided.decision == "allow_session" and question.grant is not None
    if request.method in {_COMMAND, _FILES}:
        if not allowed:
            return {"decision": "decline"}
        return {"decision": "acceptForSession" if lasting else "accept"}
    if request.method == _RIGHTS:
        wanted = request.params.value("permissions") if allowed else {}
        return {"permissions": wanted, "scope": "session" if lasting else "turn"}
    answers = decided.answers if isinstance(decided.answers, dict) else {}
    if request.method == _INPUT:
        return {"answers": _user_answers(request.params, answers) if allowed else {}}
    if not allowed:
        return {"action": "decline", "content": None, "_meta": None}
    content = _form_content(request.params.inner("requestedSchema"), answers)
    return {"action": "accept", "content": content, "_meta": {"persist": "session"} if lasting else None}


# ---- commands and files ----


def _about_command(params: Fields, item_id: str) -> CodexQuestion:
    shown = {
        "command": params.maybe_text("command"),
        "cwd": params.maybe_text("cwd"),
        "reason": params.maybe_text("reason"),
    }
    network = params.inner("networkApprovalContext")
    if network.raw:
        shown["host"] = network.maybe_text("host")
        return CodexQuestion("network", _shown(shown), item_id, grant=_grant(f"reach {shown['host']}"))
    if params.maybe_text("approvalId") is not None or not shown["command"]:
        return CodexQuestion("shell", _shown(shown), item_id)
    return CodexQuestion(
        "shell", _shown(shown), item_id, grant=_grant(f"run {shown['command']} in {shown['cwd']}")
    )


def _about_files(params: Fields, item_id: str, tool: CodexToolCall | None) -> CodexQuestion:
    shown = dict(tool.input) if tool is not None and isinstance(tool.input, dict) else {}
    paths = ", ".join(sorted(str(change["path"]) for change in shown.get("changes", ())))
    diff = diff_of(shown.get("changes"))
    shown["reason"] = params.maybe_text("reason")
    shown["grant_root"] = params.maybe_text("grantRoot")
    if shown["grant_root"]:
        # A yes here covers the whole folder, not only the files that are shown.
        return CodexQuestion(
            "apply_patch",
            _shown(shown),
            item_id,
            grant=_grant(f"change all files below {shown['grant_root']}"),
            diff=diff,
        )
    grant = _grant(f"change {paths}") if paths else None
    return CodexQuestion("apply_patch", _shown(shown), item_id, grant=grant, diff=diff)


def _shown(value: dict[str, Any]) -> Any:
    return cut_json({name: part for name, part in value.items() if part is not None}).value


def _grant(text: str) -> str | None:
    return clean_text(text) if len(text) <= MAX_GRANT_CHARS else None


# ---- questions to the person ----


def _user_questions(params: Fields) -> list[dict[str, Any]]:
    return [
        {
            "question": clean_text(asked.text("question")),
            "header": clean_text(asked.text("header")),
            "options": [
                {"label": option.text("label"), "description": option.text("description")}
                for option in asked.objects("options")
            ],
            "multiSelect": False,
        }
        for asked in params.objects("questions")
    ]


def _user_answers(params: Fields, answers: dict[str, Any]) -> dict[str, Any]:
    given = {}
    for asked in params.objects("questions"):
        answer = answers.get(clean_text(asked.text("question")))
        if answer is not None:
            parts = answer if isinstance(answer, list) else [answer]
            given[asked.text("id")] = {"answers": [str(part) for part in parts]}
    return given


# ---- MCP servers ----


def _about_mcp(params: Fields, running: tuple[CodexToolCall, ...]) -> CodexQuestion:
    server, meta = params.text("serverName"), params.inner("_meta")
    shown: dict[str, Any] = {"message": params.maybe_text("message"), "url": params.maybe_text("url")}
    if meta.text("codex_approval_kind") != "mcp_tool_call":
        fields = _form_questions(params.inner("requestedSchema"))
        return CodexQuestion(f"mcp__{server}", _shown(shown), questions=fields or None)
    shown["arguments"] = meta.value("tool_params")
    prefix = f"mcp__{server}__"
    tool = next(
        (
            tool
            for tool in running
            if tool.name.startswith(prefix) and (tool.input or {}) == (shown["arguments"] or {})
        ),
        None,
    )
    if tool is None:
        return CodexQuestion(f"mcp__{server}", _shown(shown))
    lasting = "session" in meta.each("persist")
    grant = _grant(f"use {tool.name}") if lasting else None
    return CodexQuestion(tool.name, _shown(shown), tool.item_id, grant=grant)


def _form_questions(schema: Fields) -> list[dict[str, Any]]:
    return [
        {
            "question": _field_title(name, Fields(field)),
            "header": name,
            "options": [{"label": str(value), "description": ""} for value in Fields(field).each("enum")],
            "multiSelect": False,
        }
        for name, field in schema.inner("properties").raw.items()
        if isinstance(field, dict)
    ]


def _form_content(schema: Fields, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the person's answers as the form's fields, in the types that its schema names."""
    content: dict[str, Any] = {}
    for name, field in schema.inner("properties").raw.items():
        if isinstance(field, dict):
            answer = answers.get(_field_title(name, Fields(field)))
            if answer is not None:
                content[name] = _typed(answer, Fields(field).text("type"))
    return content


def _field_title(name: str, field: Fields) -> str:
    return clean_text(field.text("description") or field.text("title") or name)


def _typed(answer: Any, kind: str) -> Any:
    text = str(answer)
    match kind:
        case "boolean":
            return text.strip().lower() in {"true", "yes", "1"}
        case "integer" | "number":
            try:
                return int(text) if kind == "integer" else float(text)
            except ValueError:
                return answer
    return answer if isinstance(answer, list) else text
