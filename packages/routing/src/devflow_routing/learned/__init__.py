"""Expects what models will score and cost, from recorded answers of this user's own traffic."""

from devflow_routing.learned.expectation import LearnedExpectation
from devflow_routing.learned.folder import LearnedFolder
from devflow_routing.learned.ratings import Ratings
from devflow_routing.learned.table import LearnedTable

__all__ = ["LearnedExpectation", "LearnedFolder", "LearnedTable", "Ratings"]
