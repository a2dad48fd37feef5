"""What a request is about: its kind, how hard it is, and the words that say so."""

from __future__ import annotations

import re
from collections import Counter

from devflow_core.chat import ChatRequest
from devflow_core.routing import Complexity, Task, TaskType

from devflow_openrouter.models.ask import human_ask

_RULES: dict[TaskType, str] = {
    "coding": r"code|function|bug|test\w*|python|javascript|typescript|rust|sql|refactor|compil\w+|"
    r"stack ?trace|exception|api|regex|class|git|commit|docker|script|implement\w*|debug\w*",
    "math": r"equation|integral|derivative|prove|theorem|probability|solve|sum of|polynomial|"
    r"triangle|algebra|geometry|calculate|how many",
    "reasoning": r"puzzle|riddle|logic\w*|deduce|infer|who is|which of the following|step by step",
    "creative": r"poem|story|novel|lyrics|haiku|slogan|screenplay|fiction|character|blog post",
    "knowledge": r"what is|who was|when did|where is|capital of|define|history of|meaning of",
    "text_ops": r"summari[sz]e|translate|rewrite|paraphrase|proofread|extract|convert|format\w*|"
    r"grammar|shorten|classify",
    "planning": r"plan|schedule|itinerary|roadmap|steps to|organi[sz]e|milestones?|strategy",
    "analysis": r"analy[sz]e|compare|evaluate|review|assess|pros and cons|critique|trade-?offs?",
}
_PATTERN = re.compile(
    "|".join(rf"(?P<{kind}>\b(?:{words})\b)" for kind, words in _RULES.items()), re.IGNORECASE
)
_HARD = re.compile(
    r"\b(?:prove|architecture|concurren\w+|distributed|optimi[sz]e|security|migrat\w+|why|race|"
    r"deadlock|theorem|rigorous\w*|trade-?offs?)\b",
    re.IGNORECASE,
)


class TaskClassifier:
    """Says what a request is about, from the human's own words in the whole conversation."""

    def classify(self, request: ChatRequest, /) -> Task:
        """The task. Pure; microseconds."""
        text = human_ask(request)
        hits = [(match.lastgroup or "", match.group().lower()) for match in _PATTERN.finditer(text)]
        counts = Counter(kind for kind, _ in hits)
        kind, confidence = self._kind(counts, is_agentic=bool(request.tools))
        words = dict.fromkeys(word for found, word in hits if found == kind)
        reasons = tuple(f"“{word}” speaks for {kind}" for word in list(words)[:3])
        criteria = request.criteria
        return Task(
            type=(criteria and criteria.task_type) or kind,
            complexity=(criteria and criteria.complexity) or _complexity(text),
            confidence=1.0 if criteria and criteria.task_type else confidence,
            reasons=reasons or ("no telling words",),
            text=text,
        )

    def _kind(self, counts: Counter[str], *, is_agentic: bool) -> tuple[TaskType, float]:
        if not counts:
            return ("coding", 0.4) if is_agentic else ("knowledge", 0.25)
        found, most = counts.most_common(1)[0]
        kinds: list[TaskType] = [one for one in _RULES if one == found]
        return kinds[0], most / (sum(counts.values()) + 1)


def _complexity(text: str) -> Complexity:
    weight = len(text) / 500 + len(_HARD.findall(text))
    return "low" if weight < 0.5 else "medium" if weight < 2 else "high"
