"""A second look: a vision-language model judges the first hits, and their order is fused with what it says."""

from scot.rerank.config import RerankConfig
from scot.rerank.judge import Judge, OpenAIJudge, Question, Unanswered, Verdict, load_judge
from scot.rerank.reranker import Reranker, Reranking, fused, load_reranker

__all__ = [
    "Judge",
    "OpenAIJudge",
    "Question",
    "RerankConfig",
    "Reranker",
    "Reranking",
    "Unanswered",
    "Verdict",
    "fused",
    "load_judge",
    "load_reranker",
]
